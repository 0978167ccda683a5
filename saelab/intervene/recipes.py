"""Steering recipes: all that decides what is generated, as one small JSON file each, beside the run.

    DIR/recipes/<name>.json   {"format": 1, "saes": {"<checkpoint>": [{"feature", "strength", ...}]}, "request": {...}}

Strengths count in units of each feature's maximum in the index of its checkpoint, so a recipe holds no maxima.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from pprint import pformat
from typing import Any

from saelab.atomic import write_json
from saelab.contracts import NAME
from saelab.errors import InterventionError
from saelab.intervene.request import SteerRequest
from saelab.intervene.steer import Steer

FORMAT = 1
LARGEST = 1_000_000  # bytes of a recipe that are read


@dataclass(frozen=True)
class SteerRecipe:
    """Checkpoints by name, each with what is done to its features, and the generation that is asked for."""

    saes: tuple[tuple[str, tuple[Steer, ...]], ...]
    request: SteerRequest

    def to_json(self) -> dict[str, Any]:
        """As the file holds it."""
        saes = {name: [asdict(one) for one in steers] for name, steers in self.saes}
        return {"format": FORMAT, "saes": saes, "request": asdict(self.request)}

    @classmethod
    def from_json(cls, values: Any, where: object) -> "SteerRecipe":
        """Checked against the types and bounds of what it holds. Raises InterventionError naming `where` it is from."""
        try:
            if values["format"] != FORMAT:
                raise InterventionError(f"it has format {values['format']!r}, this saelab reads {FORMAT}")
            saes = tuple(
                (_named(name), tuple(_made(Steer, one) for one in steers)) for name, steers in values["saes"].items()
            )
            if not saes or not all(steers for _, steers in saes):
                raise InterventionError("it steers by no feature")
            return cls(saes, _made(SteerRequest, {**values["request"], "rows": tuple(values["request"]["rows"])}))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InterventionError(f"{where} is no steering recipe: {error!r}") from None
        except InterventionError as error:
            raise InterventionError(f"{where} is no steering recipe that can be used: {error}") from None

    def snippet(self, run: Path) -> str:
        """The same generation as a Python program, for the run in the folder `run`."""
        return SNIPPET.format(run=str(run), saes=pformat(dict(self.saes), width=110), request=repr(self.request))


SNIPPET = """from pathlib import Path

from saelab.intervene import Steer, Steering, SteerRequest, steer
from saelab.runs import index_of, language_model_of
from saelab.sae import SAE

run = Path({run!r})
saes = {saes}
request = {request}

steerings = []
for name, steers in saes.items():
    maxima = index_of(run / "sae" / name).maximum([one.feature for one in steers])
    steerings.append(Steering(SAE.load(run / "sae" / name), steers, maxima))
result = steer(language_model_of(steerings[0].sae), steerings, request)
for row in result.rows:
    print(f"--- {{row.name}}\\n{{request.prompt}}{{row.text}}")
"""


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass of ours out of JSON: no key it does not have, every value of its field's type."""
    known: dict[str, Any] = {field.name: field.type for field in fields(kind)}
    for name, value in values.items():
        wanted = known[name]
        fits = (int, float) if wanted is float else (tuple if name == "rows" else wanted)
        if not isinstance(value, fits) or (isinstance(value, bool) and wanted is not bool):
            raise TypeError(f"{name} = {value!r}")
    return kind(**values)


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InterventionError(
            f"{name[:80]!r} is no name: write letters, digits, dots, dashes and underscores, a letter or digit first"
        )
    return name


def folder(run: Path) -> Path:
    """Where the recipes of a run are kept."""
    return run / "recipes"


def save_recipe(run: Path, name: str, recipe: SteerRecipe) -> Path:
    """Keep it, whole or not at all; one of the same name is replaced. Raises InterventionError for no good name."""
    path = folder(run) / f"{_named(name)}.json"
    write_json(path, recipe.to_json())
    return path


def load_recipe(run: Path, name: str) -> SteerRecipe:
    """The recipe of that name. Raises InterventionError when there is none, or when it does not make sense."""
    path = folder(run) / f"{_named(name)}.json"
    if not path.is_file():
        there = ", ".join(recipe_names(run)) or "none"
        raise InterventionError(f"there is no recipe {name!r} in {folder(run)}; there: {there}")
    if path.stat().st_size > LARGEST:
        raise InterventionError(f"{path} has {path.stat().st_size:,} bytes: no recipe is that large")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InterventionError(f"{path} is not JSON: {error}") from None
    return SteerRecipe.from_json(values, path)


def recipe_names(run: Path) -> list[str]:
    """The recipes that are kept beside a run, by name."""
    return sorted(path.stem for path in folder(run).glob("*.json") if NAME.fullmatch(path.stem))
