"""What changes over a run: the learning rate (up, level, down), and how many features are kept."""

from collections.abc import Iterator
from contextlib import contextmanager

from saelab.sae import SAE


def learning_rate(peak: float, step: int, steps: int, warmup: float, decay: float) -> float:
    """Rate of step `step` of `steps`: linear from peak/w to peak over the first w = warmup·steps steps, level, and
    linear towards 0 over the last n = decay·steps, of which the last one runs at peak/n.
    """
    rising, falling = round(warmup * steps), round(decay * steps)
    up = (step + 1) / rising if step < rising else 1.0
    down = (steps - step) / falling if steps - step < falling else 1.0
    return peak * min(up, down)


def annealed_k(first: int, k: int, step: int, steps: int, share: float) -> int:
    """Features kept at step `step` of `steps`: `first` at step 0, `k` from share·steps on, linear in between."""
    done = min(1.0, step / max(1.0, share * steps))
    return round(first + (k - first) * done)


@contextmanager
def keeping(sae: SAE, k: int | None) -> Iterator[None]:
    """Inside the block the SAE keeps `k` features, whatever its settings say; None: as they say."""
    whole = sae.cfg
    if k is not None:
        sae.cfg = whole.model_copy(update={"k": k})
    try:
        yield
    finally:
        sae.cfg = whole
