"""Settings: frozen pydantic models, filled from YAML, overridden by KEY=VALUE, saved as resolved."""

import copy
import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from saelab.atomic import write_bytes
from saelab.errors import ConfigError

LARGEST = 1 << 20  # bytes of a file of settings
MOST, DEEPEST = 100_000, 50  # values in it, and how deep they may be nested


class Settings(BaseModel):
    """Base of every settings model: immutable, and closed against misspelt keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


S = TypeVar("S", bound=Settings)


def settings(model: type[S], values: Mapping[str, Any], where: str) -> S:
    """Fill `model` from `values`.

    Raises ConfigError naming the place, the value and, for an unknown key, the nearest one that exists.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, model, where) for problem in error.errors())) from None


def _explain(problem: Any, model: type[BaseModel], where: str) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {path or model.__name__} = {_brief(repr(problem['input']))}: {message}"
    key = str(problem["loc"][-1])
    known = sorted(_keys_beside(model, problem["loc"]))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known settings here: {', '.join(known)}."
    return f"{where}: {path!r} is not a setting. {hint}"


def _keys_beside(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """The keys that the model at the parent of `loc` knows; union tags and list indices are stepped over."""
    models: list[type[BaseModel]] = [model]
    for part in loc[:-1]:
        inner = [m for owner in models for m in _models_in(owner, str(part))]
        models = inner or models
    return {name for owner in models for name in owner.model_fields}


def _models_in(owner: type[BaseModel], field: str) -> list[type[BaseModel]]:
    if field not in owner.model_fields:
        return []
    found: list[type[BaseModel]] = []
    pending = [owner.model_fields[field].annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(kind)
        pending.extend(getattr(kind, "__args__", ()))
    return found


class _Loader(yaml.SafeLoader):
    """YAML without objects, and without a key that is given twice, of which the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for name in (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"):
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is given twice", node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises ConfigError for object tags, another root than a mapping, broken YAML, and more than settings can be.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} has {path.stat().st_size:,} bytes; settings have at most {LARGEST:,}.")
        values = _plain(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(f"{path}: {why}.") from None
    except ValueError as error:  # of YAML, of UTF-8, of a number
        raise ConfigError(f"{path} is not plain YAML: {_brief(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, but settings are a mapping of KEY: VALUE.")
    return values


def _plain(text: str) -> Any:
    """What the YAML says, in mappings, lists, texts and numbers alone. Raises ValueError.

    An alias may stand for a value that holds aliases: nine levels of nine are 400 million values in half a kilobyte, so
    what is copied is counted.
    """
    count = 0

    def copied(value: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > MOST or depth > DEEPEST:
            raise ValueError(f"more than {MOST:,} values, or nested deeper than {DEEPEST}")
        if isinstance(value, dict):
            return {_key(key): copied(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [copied(inner, depth + 1) for inner in value]
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError(f"{value} is read as a {type(value).__name__}: write it in quotes")

    try:
        return copied(yaml.load(text, _Loader), 0)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST}") from None


def _key(key: Any) -> str:
    if not isinstance(key, str | int):
        raise ValueError(f"{key!r} cannot be the name of a setting")
    return str(key)


def _brief(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 300 else text[:300] + " …"


def override(values: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """`values` with each "a.b=VALUE" applied; VALUE is read as YAML (numbers, lists, true, null)."""
    result: dict[str, Any] = copy.deepcopy(dict(values))
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {change!r}: expected KEY=VALUE, for example --set sae.k=16")
        try:
            value = _plain(text)
        except ValueError as error:
            raise ConfigError(f"--set {change[:80]!r}: {_brief(error)}") from None
        _assign(result, key.split("."), value, change)
    return result


def _assign(values: dict[str, Any], path: list[str], value: Any, change: str) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {change!r}: {part!r} holds {inner!r}, which has no settings inside.")
        values = inner
    values[path[-1]] = value


def load_settings(model: type[S], path: Path, changes: Iterable[str] = ()) -> S:
    """Settings of `model` from the YAML at `path`, with `--set` changes applied."""
    return settings(model, override(read_yaml(path), changes), where=str(path))


def write_yaml(path: Path, values: Settings) -> None:
    """Write the settings as resolved, so that the file alone repeats the run."""
    text = yaml.safe_dump(values.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_bytes(path, text.encode())


def content_hash(values: Any) -> str:
    """16 hex digits that name these values: equal values, equal digits, on every machine."""
    plain = values.model_dump(mode="json") if isinstance(values, BaseModel) else values
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
