"""OrtSAE: parents are not absorbed by their children, and decoder rows are further apart than BatchTopK's."""

from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.fit import Fitted, fit

GAMMA = 1.0
KORZNIKOV = "Korznikov et al. 2025"


def tree(seed: int, gamma: float) -> Fitted:
    """One latent for every node, two active ones on average; gamma 0 is BatchTopK."""
    lr = (("lr", 2e-3),)
    return fit("tree", seed, steps=2000, batch=256, train=lr, variant="ortsae", d_sae=40, k=2, gamma=gamma)


def recall(seed: int) -> float:
    """Share of rows with a child on which the parent's latent fires."""
    found = tree(seed, GAMMA).scores.parent_recall
    assert found is not None
    return found


CLAIMS = (
    Claim("ortsae-recall", "ortsae", "tree", "parent recall, given a child", AtLeast(0.95), recall, KORZNIKOV),
    Claim(
        "ortsae-cosine", "ortsae", "tree", "mean largest cosine / BatchTopK's", AtMost(0.75),
        lambda seed: tree(seed, GAMMA).scores.max_cosine / tree(seed, 0.0).scores.max_cosine, KORZNIKOV,
    ),
)  # fmt: skip
