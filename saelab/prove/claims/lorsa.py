"""Lorsa in place of the attention that does induction: it is that layer exactly, or finds its heads from scratch."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from saelab.config import settings
from saelab.contracts import canonical_site
from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.induction import HEADS, TOKENS, Text, patterns, prefix_matching, text, toy
from saelab.sae import SAE
from saelab.sae.replacements import Lorsa
from saelab.train import TrainConfig, TrainResult, train
from saelab.train.sequences import SequenceRows

READ, Z, WRITTEN = (canonical_site(f"{kind}.1") for kind in ("attn_in", "attn_z", "attn_out"))
SEQUENCES, BATCH, STEPS = 2048, 32, 1500
D_SAE, K, TOP = 256, 16, 20
HE = "He et al. 2025"


def _heldout(seed: int) -> Text:
    return text(256, 10**9 + seed)


def _source(seed: int, lorsa: bool) -> SequenceRows:
    """What the layer reads and writes, BOS first; for an SAE, what its heads gather, without BOS."""

    def rows(drawn: Text) -> dict[str, torch.Tensor]:
        x, layer = toy(seed).read(drawn.ids), toy(seed).attention(1)
        return {READ: x, WRITTEN: layer.output(x)} if lorsa else {Z: layer.z(x)[:, 1:]}

    return SequenceRows(rows(text(SEQUENCES, 10**8 + seed)), rows(_heldout(seed)), lead=int(lorsa))


@cache
def fitted(seed: int, variant: str) -> tuple[TrainResult, SAE]:
    """Lorsa of the layer, or another variant's SAE of what its heads gather, with K active features."""
    lorsa = variant == "lorsa"
    source = _source(seed, lorsa)
    batch = BATCH * source.tokens
    values = {
        "site": READ if lorsa else Z,
        "target": WRITTEN if lorsa else None,
        "sae": {"variant": variant, "d_sae": D_SAE, "k": K, **({"qk_heads": HEADS} if lorsa else {})},
        "train": {"rows": STEPS * batch, "batch": batch, "seed": seed},
        "name": "sae",
    }
    with TemporaryDirectory(prefix="saelab-prove-") as folder:
        (result,) = train(settings(TrainConfig, {**values, "out": folder}, where="prove"), source=source)
        return result, (Lorsa if lorsa else SAE).load(Path(folder) / "sae")


def exactness(seed: int) -> float:
    """Largest difference between the layer and the Lorsa of its rank-one terms."""
    x, layer = toy(seed).read(_heldout(seed).ids), toy(seed).attention(1)
    made = Lorsa.exactly(layer, TOKENS).eval()
    with torch.inference_mode():
        return (made(x.flatten(0, 1)).unflatten(0, x.shape[:2]) - layer.output(x)).abs().max().item()


def best_head(seed: int) -> tuple[int, float]:
    """The QK head of the trained Lorsa with the highest prefix-matching score, and the score."""
    sae, drawn = fitted(seed, "lorsa")[1], _heldout(seed)
    assert isinstance(sae, Lorsa)
    with torch.inference_mode():
        pattern = patterns(toy(seed).read(drawn.ids), sae.W_Q, sae.b_Q, sae.W_K, sae.b_K)
        scores = prefix_matching(pattern, drawn.followed)
    return int(scores.argmax()), scores.max().item()


def induced(seed: int) -> float:
    """Of the TOP tokens on which one OV head of that QK head fires hardest, the share that are induction.

    It is where half of the activation comes from behind an earlier occurrence; the OV head is the one that gathers
    most from there.
    """
    sae, drawn, (head, _) = fitted(seed, "lorsa")[1], _heldout(seed), best_head(seed)
    assert isinstance(sae, Lorsa)
    x, own = toy(seed).read(drawn.ids), slice(head * D_SAE // HEADS, (head + 1) * D_SAE // HEADS)
    with torch.inference_mode():
        heads = (W[head : head + 1] for W in (sae.W_Q, sae.b_Q, sae.W_K, sae.b_K))
        behind = patterns(x, *heads)[:, 0] * drawn.followed
        gathered = (behind @ (x @ sae.W_V[own].t() + sae.b_V[own])).flatten(0, 1)
        f = sae.encode(x.flatten(0, 1))[:, own]
    chosen = gathered.clamp_min(0).sum(dim=0).argmax()
    f, gathered = f[:, chosen], gathered[:, chosen]
    tokens = f.topk(TOP).indices
    return (gathered[tokens] >= f[tokens] / 2).double().mean().item()


def beside_topk(seed: int) -> float:
    """FVU of what the layer writes, over that of a TopK SAE on what its heads read off, at equal k."""
    mine, other = fitted(seed, "lorsa")[0].fvu, fitted(seed, "topk")[0].fvu
    assert mine is not None and other is not None
    return mine / other


CLAIMS = (
    Claim(
        "lorsa-exact", "lorsa", "induction", "largest difference from the attention layer whose terms it is",
        AtMost(1e-4), exactness, HE,
    ),
    Claim(
        "lorsa-induction", "lorsa", "induction", f"best prefix-matching score of a QK head, from scratch, k = {K}",
        AtLeast(0.8), lambda seed: best_head(seed)[1], f"{HE}; score: Olsson et al. 2022", slow=True,
    ),
    Claim(
        "lorsa-examples", "lorsa", "induction", f"share of an OV head's top {TOP} tokens that are induction",
        AtLeast(0.9), induced, HE, slow=True,
    ),
    Claim(
        "lorsa-fvu", "lorsa", "induction", f"FVU over that of topk on attn_z, k = {K}", AtMost(1.3), beside_topk, HE,
        slow=True,
    ),
)  # fmt: skip
