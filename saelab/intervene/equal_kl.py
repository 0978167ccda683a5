"""A dose curve against its controls at equal KL: how much of what it reaches is the feature's own.

Any push that moves the prediction far raises some tokens. So each dose of a control is set beside the feature at the
strength at which it moves the prediction exactly as far: the target's probability there, interpolated linearly in KL
between the feature's own doses. Strengths above zero only, where the feature is turned up.
"""

from dataclasses import dataclass

import numpy as np

from saelab.intervene.dose import WAYS, DoseCurve


@dataclass(frozen=True)
class EqualKL:
    """One dose of a control, and the feature where it reaches the same KL; None where none of its doses does."""

    way: str
    strength: float  # of the control's dose
    kl: float  # nats
    control: float  # probability of the targets
    feature: float | None

    @property
    def above(self) -> float | None:
        """The feature's probability less the control's."""
        return None if self.feature is None else self.feature - self.control


def at_equal_kl(curve: DoseCurve) -> tuple[EqualKL, ...]:
    """Every dose of both controls above strength 0, control by control, by rising strength."""
    doses = sorted((one.kl, one.target) for one in curve.of("feature") if one.strength >= 0)
    reached, targets = zip(*doses, strict=True) if doses else ((), ())

    def feature(kl: float) -> float | None:
        within = bool(reached) and reached[0] <= kl <= reached[-1]
        return float(np.interp(kl, reached, targets)) if within else None

    controls = (one for way in WAYS[1:] for one in curve.of(way) if one.strength > 0)
    return tuple(EqualKL(one.way, one.strength, one.kl, one.target, feature(one.kl)) for one in controls)


def equal_kl_table(found: tuple[EqualKL, ...]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Column names and rows."""
    columns = ("control", "strength", "KL", "target, control", "target, feature", "above")
    return columns, [(one.way, one.strength, one.kl, one.control, one.feature, one.above) for one in found]
