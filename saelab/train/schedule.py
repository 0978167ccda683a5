"""The learning rate over a run: up, level, down."""


def learning_rate(peak: float, step: int, steps: int, warmup: float, decay: float) -> float:
    """Rate of step `step` of `steps`: linear from peak/w to peak over the first w = warmup·steps steps, level, and
    linear towards 0 over the last n = decay·steps, of which the last one runs at peak/n.
    """
    rising, falling = round(warmup * steps), round(decay * steps)
    up = (step + 1) / rising if step < rising else 1.0
    down = (steps - step) / falling if steps - step < falling else 1.0
    return peak * min(up, down)
