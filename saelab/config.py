"""Settings: frozen pydantic models, filled from YAML, overridden by KEY=VALUE, saved as resolved."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from saelab.errors import ConfigError


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
        return f"{where}: {path or model.__name__} = {problem['input']!r}: {message}"
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


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Object tags, other roots than a mapping and broken YAML raise ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not plain YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, but settings are a mapping of KEY: VALUE.")
    return values


def override(values: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """`values` with each "a.b=VALUE" applied; VALUE is read as YAML (numbers, lists, true, null)."""
    result: dict[str, Any] = json.loads(json.dumps(values))
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {change!r}: expected KEY=VALUE, for example --set sae.k=16")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: {' '.join(str(error).split())}") from None
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
    path.write_text(text, encoding="utf-8")


def content_hash(values: Any) -> str:
    """16 hex digits that name these values: equal values, equal digits, on every machine."""
    plain = values.model_dump(mode="json") if isinstance(values, BaseModel) else values
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
