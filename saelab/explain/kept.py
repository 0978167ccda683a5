"""Explanations that are kept: `explanations.json` in the index folder, beside `labels.json` and `notes.json`.

    {"12": {"text": TEXT, "model": NAME, "url": URL, "when": UTC, "weights": SHA256, "detection": FIGURES, ...}}

Each is of certain weights, and not shown of others.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saelab.atomic import write_json
from saelab.errors import EvalError
from saelab.explain.scoring import Score
from saelab.features import Index
from saelab.locks import in_turn

NAME = "explanations.json"
LONGEST = 300  # characters of an explanation that are kept
PLAIN, SCORES = ("text", "model", "url", "when", "weights"), ("detection", "fuzzing")


@dataclass(frozen=True)
class Explanation:
    """What a model says of a feature; the scores are None when it was not scored."""

    feature: int
    text: str
    model: str
    url: str
    when: str
    weights: str
    detection: Score | None = None
    fuzzing: Score | None = None

    def to_json(self) -> dict[str, Any]:
        """As the file holds it, with the figures that follow from the counts."""
        plain = {name: getattr(self, name) for name in PLAIN}
        return {**plain, **{name: _figures(getattr(self, name)) for name in SCORES}}


def _figures(found: Score | None) -> dict[str, Any] | None:
    """A score with its interval."""
    if found is None:
        return None
    more = {"balanced_accuracy": found.balanced_accuracy, "f1": found.f1, "interval": list(found.interval)}
    return {**asdict(found), **more, "chance": 0.5}


def keep_explanations(path: Path, found: Sequence[Explanation]) -> None:
    """Add explanations to those of the index in the folder `path`, in place of earlier ones of the same features."""
    with in_turn(path / NAME):
        known = read_explanations(path) | {one.feature: one for one in found}
        write_json(path / NAME, {str(feature): known[feature].to_json() for feature in sorted(known)})


def explanation_of(index: Index, feature: int) -> Explanation | None:
    """What was kept of a feature of these very weights. Raises EvalError when the file cannot be read."""
    found = read_explanations(index.path).get(feature)
    return found if found and found.weights == index.facts["weights"] else None


def read_explanations(path: Path) -> dict[int, Explanation]:
    """The explanations that are kept with the index in the folder `path`, by feature."""
    try:
        values = json.loads((path / NAME).read_text(encoding="utf-8"))
        return {int(feature): _explanation(int(feature), value) for feature, value in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EvalError(
            f"{path / NAME} cannot be read: {type(error).__name__}: {str(error)[:200]}\n  fix:   mend or delete it"
        ) from None


def _explanation(feature: int, value: dict[str, Any]) -> Explanation:
    told = {name: value[name] for name in PLAIN}
    if not all(isinstance(one, str) for one in told.values()):
        raise TypeError(f"of feature {feature} something is no text")
    cut = {name: one[:LONGEST] for name, one in told.items()}
    return Explanation(feature, **cut, detection=_score(value.get("detection")), fuzzing=_score(value.get("fuzzing")))


def _score(value: dict[str, Any] | None) -> Score | None:
    if value is None:
        return None
    hits, true, rejections, false = counts = [value[name] for name in ("hits", "true", "rejections", "false")]
    counted = all(type(one) is int for one in counts)
    if not (counted and true > 0 and false > 0 and 0 <= hits <= true and 0 <= rejections <= false):
        raise ValueError(f"{counts} are no counts of answers")
    return Score(hits, true, rejections, false)
