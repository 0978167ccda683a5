"""How well words explain a feature: a judge who reads the words alone has to tell its examples from others.

    detection   does the feature fire in this text?            texts: in which it fires | in which it is silent
    fuzzing     does it fire on the marked tokens?              marked: tokens of at least 0.3 of its maximum |
                                                                as many tokens (ceil of the mean) on which it is zero
    score       balanced accuracy = (share of the true called true + share of the false called false) / 2

Chance is 0.5, whatever the judge prefers to say. The interval holds the true value in 95 of 100 cases (normal, one
right and one wrong answer added to either side). The texts were not shown to whoever found the words.

Bills et al. 2023 for the idea; detection and fuzzing as in Paulo et al. 2024, "Automatically interpreting millions of
features in large language models". There the wrong marks stand in texts without the feature; here in those with it, so
that the place is asked for and not the text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saelab.errors import EvalError
from saelab.features import Example

MARKED = 0.3  # of the feature's maximum
FEWEST = 5  # texts on either side


@dataclass(frozen=True)
class Question:
    """A text, the places of the tokens that are marked (none for detection), and whether the answer is yes."""

    tokens: tuple[str, ...]
    marked: tuple[int, ...]
    true: bool


Judge = Callable[[Sequence[Question]], Sequence[bool]]  # must not look at `true`


@dataclass(frozen=True)
class Score:
    """A judge's answers: `hits` of `true` texts called true, `rejections` of `false` texts called false."""

    hits: int
    true: int
    rejections: int
    false: int

    @property
    def balanced_accuracy(self) -> float:
        return (self.hits / self.true + self.rejections / self.false) / 2

    @property
    def f1(self) -> float:
        alarms = self.false - self.rejections
        return 2 * self.hits / max(1, self.true + self.hits + alarms)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the balanced accuracy, 95 %."""
        sides = [((right + 1) / (n + 2), n + 2) for right, n in ((self.hits, self.true), (self.rejections, self.false))]
        middle = sum(share for share, _ in sides) / 2
        half = 1.96 * math.sqrt(sum(share * (1 - share) / n for share, n in sides)) / 2
        return max(0.0, middle - half), min(1.0, middle + half)


def detection(firing: Sequence[Example], silent: Sequence[Example]) -> list[Question]:
    """A question per text."""
    return [Question(_words(one), (), fires) for fires, some in ((True, firing), (False, silent)) for one in some]


def fuzzing(firing: Sequence[Example], maximum: float, seed: int = 0) -> list[Question]:
    """Two questions per text in which the feature fires, but for texts with too few tokens on which it is zero."""
    random = np.random.default_rng(seed)
    right = [tuple(i for i, act in enumerate(one.activations) if act >= MARKED * maximum) for one in firing]
    marked = [(one, places) for one, places in zip(firing, right, strict=True) if places]
    if not marked:
        return []
    n = math.ceil(sum(len(places) for _, places in marked) / len(marked))
    found = [Question(_words(one), places, True) for one, places in marked]
    for one, _ in marked:
        zero = [i for i, act in enumerate(one.activations) if act == 0]
        if len(zero) >= n:
            wrong = sorted(random.choice(zero, n, replace=False).tolist())
            found.append(Question(_words(one), tuple(wrong), False))
    return found


def score(judge: Judge, questions: Sequence[Question], seed: int = 0) -> Score:
    """Put the questions in random order to a judge. Raises EvalError when there are too few on a side."""
    true = sum(one.true for one in questions)
    false = len(questions) - true
    if min(true, false) < FEWEST:
        raise EvalError(
            f"an explanation is scored on at least {FEWEST} texts of either kind; there are {true} and {false}.\n"
            "  fix:   choose a feature that fires more often, or index more text"
        )
    asked = [questions[i] for i in np.random.default_rng(seed).permutation(len(questions))]
    said = judge(asked)
    right = [one.true for one, yes in zip(asked, said, strict=True) if bool(yes) == one.true]
    return Score(sum(right), true, len(right) - sum(right), false)


def _words(example: Example) -> tuple[str, ...]:
    if example.tokens is None:
        raise EvalError("the index was built without a language model and knows no token strings.")
    return example.tokens
