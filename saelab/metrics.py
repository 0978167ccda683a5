"""Every number saelab shows, defined once. Rows of BOS, padding and special tokens are left out by the caller."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def fvu(x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> float:
    """Fraction of variance unexplained: sum |x - x_hat|^2 / sum |x - mean(x)|^2, both sums over all rows.

    0 is perfect, 1 is no better than the mean row. One ratio over the whole sample, with the whole sample's
    mean, not a mean of ratios per batch, so it does not depend on the batch size.
    """
    return Reconstruction.of(x, x_hat).fvu


class Reconstruction:
    """How well a sample is reproduced that comes in batches; the same numbers as if it came whole (fp64 sums).

    All but `explained_variance_legacy`, which is of batches by its definition.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._error = 0.0
        self._squares = 0.0
        self._cosines = 0.0
        self._reproduced = 0.0
        self._products = 0.0
        self._lengths = 0.0
        self._by_batch = 0.0
        self._sum: Tensor | None = None

    @classmethod
    def of(cls, x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> "Reconstruction":
        sample = cls()
        sample.add(x, x_hat)
        return sample

    def add(self, x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> None:
        """Count these rows in."""
        x, x_hat = x.double(), x_hat.double()
        self.rows += len(x)
        self._error += (x - x_hat).pow(2).sum().item()
        self._squares += x.pow(2).sum().item()
        self._cosines += torch.cosine_similarity(x, x_hat, dim=1).sum().item()
        self._reproduced += x_hat.pow(2).sum().item()
        self._products += (x * x_hat).sum().item()
        length = x.norm(dim=1)
        self._lengths += (x_hat.norm(dim=1) / length.where(length > 1e-4, 1)).sum().item()
        varies = (x - x.mean(dim=0)).pow(2).sum(dim=1)
        self._by_batch += ((x - x_hat).pow(2).sum(dim=1) / varies.where(varies > 0, 1)).sum().item()
        self._sum = x.sum(dim=0) + (0 if self._sum is None else self._sum)

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained; see `fvu`."""
        if self._sum is None:
            return float("nan")
        return self._error / (self._squares - self._sum.pow(2).sum().item() / self.rows)

    @property
    def mse(self) -> float:
        """Mean over rows of the squared error |x - x_hat|^2, summed over the row's width."""
        return self._error / self.rows

    @property
    def cosine(self) -> float:
        """Mean over rows of cos(x, x_hat)."""
        return self._cosines / self.rows

    @property
    def l2_ratio(self) -> float:
        """Mean over rows of |x_hat| / |x|: below 1 the SAE shrinks what it writes. A row of length 0 counts as 1."""
        return self._lengths / self.rows

    @property
    def relative_bias(self) -> float:
        """Relative reconstruction bias: sum |x_hat|^2 / sum x . x_hat, both sums over all rows.

        1 is unbiased, below 1 shrinks; nan where nothing is reproduced. Rajamanoharan et al. 2024 (Gated SAEs), eq. 10.
        """
        return self._reproduced / self._products if self._products else float("nan")

    @property
    def explained_variance(self) -> float:
        """1 - FVU."""
        return 1 - self.fvu

    @property
    def explained_variance_legacy(self) -> float:
        """Mean over rows of 1 - |x - x_hat|^2 / |x - mean of its batch|^2: what older papers print.

        Rows near the mean count for as much as all others, so it can be far below `explained_variance` and depends on
        the batch. Kept to be compared with, not to be believed.
        """
        return 1 - self._by_batch / self.rows


def recovered(clean: float, spliced: float, ablated: float) -> float:
    """Share of what ablation destroys that the SAE keeps: (ablated - spliced) / (ablated - clean).

    For cross-entropy, `clean`, `spliced` and `ablated` are mean losses in nats of the model as it is, with the
    site replaced by the reconstruction, and with the site replaced by zeros (or by its mean row). For KL,
    `clean` is 0. 1 is a perfect SAE, 0 is no better than the ablation.
    """
    return (ablated - spliced) / (ablated - clean)


def kl_divergence(clean: Float[Tensor, "*rows vocab"], other: Float[Tensor, "*rows vocab"]) -> Float[Tensor, "*rows"]:
    """KL(clean || other) in nats of the next-token distributions with these logits."""
    p, q = torch.log_softmax(clean.float(), dim=-1), torch.log_softmax(other.float(), dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def density(fired: Int[Tensor, "d_sae"], counted_tokens: int) -> Float[Tensor, "d_sae"]:
    """Share of counted tokens on which each feature is above zero."""
    return fired.double().div(max(1, counted_tokens)).float()


def dead_share(fired: Int[Tensor, "d_sae"]) -> float:
    """Share of features that fired on no counted token of the sample."""
    return (fired == 0).double().mean().item()


def hoyer_density(sums: Float[Tensor, "d_sae"], squares: Float[Tensor, "d_sae"], rows: int) -> Float[Tensor, "d_sae"]:
    """Share of the rows that a latent is spread over: (|f_j|_1 / |f_j|_2 - 1) / (sqrt(rows) - 1), norms over the rows.

    0: one row holds all of it (or it is 0 everywhere); 1: it is of equal size on all rows. Given are sum |f_j| and
    sum f_j^2 over the rows. It does not change with the unit of f; differentiable.
    """
    ratio = torch.where(squares > 0, sums / torch.where(squares > 0, squares, 1).sqrt(), 1)
    return (ratio - 1) / max(rows**0.5 - 1, 1e-12)


def eps_lbo(x: Float[Tensor, "rows d"], f: Float[Tensor, "rows active"], d_sae: int) -> float:
    """How far from orthogonal the decoder must be for codes of these lengths, at least: a lower bound of eps.

    Mean over rows of | |x|^2 - |f|^2 | / ((d_sae - 1) |f|^2). Were x = sum f_i W_dec_i with unit rows of |cos| <= eps,
    every ratio would be at most eps. x is given less b_dec, which the features are to add up to; f holds the
    activations of each row's active features, zeros count for nothing. 0: codes as long as their rows. Rows of which
    nothing is active have no ratio and are left out; nan when none is left. Lee et al. 2025 (epsilon-LBO), who keep
    b_dec in x and count |b_dec| as one more activation.
    """
    long, wide = x.double().square().sum(dim=1), f.double().square().sum(dim=1)
    active = wide > 0
    return ((long - wide).abs()[active] / ((d_sae - 1) * wide[active])).mean().item()


def max_cosine(W_dec: Float[Tensor, "d_sae d"], at_once: int = 4096) -> float:
    """Mean over features of the largest |cos| of its decoder row with another's; rows of length 0 have cosine 0."""
    rows = torch.nn.functional.normalize(W_dec, dim=1)
    largest = []
    for first in range(0, len(rows), at_once):
        near = (rows[first : first + at_once] @ rows.t()).abs()
        near.diagonal(first).zero_()
        largest.append(near.amax(dim=1))
    return torch.cat(largest).mean().item()


def f1(true_positive: float, false_positive: float, false_negative: float) -> float:
    """Harmonic mean of precision and recall; 0 when nothing was found."""
    found = 2 * true_positive
    return found / (found + false_positive + false_negative) if found else 0.0
