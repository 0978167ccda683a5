"""Which characters carry which label, and what that says about the tokens of a model."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from saelab.evals.labels.module import Span


class Marks:
    """Spans of characters by label."""

    def __init__(self, labels: Sequence[str], length: int) -> None:
        self.spans: dict[str, list[Span]] = {label: [] for label in labels}
        self._length = length

    def mark(self, label: str, start: int, stop: int) -> None:
        """Give characters [start, stop) the label."""
        if stop > start:
            self.spans[label].append((start, stop))

    def at(self, characters: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "labels n"]:
        """Whether each of these characters carries each label."""
        found = np.zeros((len(self.spans), len(characters)), dtype=bool)
        for row, spans in zip(found, self.spans.values(), strict=True):
            if spans:
                steps = np.zeros(self._length + 1, dtype=np.int32)
                np.add.at(steps, [start for start, _ in spans], 1)
                np.add.at(steps, [stop for _, stop in spans], -1)
                row[:] = steps.cumsum()[characters] > 0
        return found


def anchors(text: str, tokens: Sequence[Span]) -> Int[np.ndarray, "tokens"]:
    """The character that speaks for each token: its first that is no white space, or its first if all are.

    A token " return" is a return; a token "):" is a closing bracket; a token "\\n    " is a line break.
    """
    visible = re.compile(r"\S")
    found = []
    for start, stop in tokens:
        match = visible.search(text, start, stop)
        found.append(min(match.start() if match else start, max(0, len(text) - 1)))
    return np.array(found, dtype=np.int64)
