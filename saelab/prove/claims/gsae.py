"""Gradient SAE: with beta = 0 it is TopK; else what a model behind the rows reads is better kept."""

import torch

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit
from saelab.synthetic.beds.readout import Readout

STEPS, K, D_SAE = 1000, 4, 128
SOURCE = "Olmo et al. 2024"


def readout(seed: int, variant: str, beta: float | None = None) -> Fitted:
    """Half as many latents as features, of which half fire that may be kept: what to leave out is the question."""
    own = {} if beta is None else {"beta": beta}
    return fit("readout", seed, steps=STEPS, variant=variant, d_sae=D_SAE, k=K, **own)


def increase(fitted: Fitted) -> float:
    """What the loss rises by with x_hat in place of x, on held-out rows; no gradient selects there."""
    assert isinstance(fitted.bed, Readout)
    x = fitted.bed.draw(8192, 1).x
    with torch.no_grad():
        return fitted.bed.increase(x, fitted.sae(x))


def apart(seed: int) -> float:
    """Largest difference between the weights of TopK and of g-SAE with beta = 0, after the same run."""
    one, other = readout(seed, "topk"), readout(seed, "gsae", beta=0.0)
    pairs = zip(one.sae.parameters(), other.sae.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


CLAIMS = (
    Claim(
        "gsae-identity", "gsae", "readout", "largest difference of a weight from TopK's at beta = 0", AtMost(0.0),
        apart, "definition",
    ),
    Claim(
        "gsae-loss", "gsae", "readout", "rise of the loss with x_hat in place of x, beside TopK's", AtMost(0.9),
        lambda seed: increase(readout(seed, "gsae")) / increase(readout(seed, "topk")), SOURCE,
    ),
    Claim(
        "gsae-fvu", "gsae", "readout", "FVU beside TopK's", AtMost(1.05),
        lambda seed: readout(seed, "gsae").scores.fvu / readout(seed, "topk").scores.fvu, SOURCE,
    ),
)  # fmt: skip
