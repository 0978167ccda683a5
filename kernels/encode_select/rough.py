"""Upper bounds of all pre-activations from a bf16 GEMM: they rule out nearly all; the rest is computed exactly.

Rounding x and W to bf16 moves each factor by at most u = 2^-9 of itself, so with fp32 sums in the GEMM, by
Cauchy-Schwarz and for any data,

    |rough[b, i] - pre[b, i]| <= kappa[b] |W_i| + beta,    kappa[b] = |x_b| (2 u + u^2 + d 2^-24),
                                                           beta = 2 u^2 max_i |b_enc_i|

The GEMM adds that bound, the bias (in two bf16 halves; addmm takes 9 ms more) and a constant `shift[b]` as further
columns of x and rows of W_enc. Its scores less shift are then no less than the pre-activations and exceed them by at
most slack[b] = 2 (kappa[b] max_i |W_i| + beta), before the result is rounded by at most u of itself. A rule guesses a
bound that k exact values will reach, about where the k-th best score is less half of the slack; what scores below it
is ruled out for certain, what does not gets its fp32 dot product, and the k-th of those proves the guess or has it
lowered. At d = 576 twice as many candidates as needed pass (65 a row for k = 32). Two cores with AVX512-BF16 do the
bf16 GEMM in 58 ms where the fp32 GEMM takes 150 (batch 2048, d_sae 9216).

`shift` makes every floor that matters positive, where bf16 numbers are in the order of their bits as int16, and
integers take half the time. Column j G + g of the scores is feature 8 g + j: eight neighbours have one column each of
eight slabs, so their maximum is one of whole slabs (2.5 ms), and only groups whose maximum passes are looked into.
Floor and survivors take 13 ms that way, where comparing every score takes 23.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.encode_select.survivors import Survivors, kth_of_maxima, pattern_of
from saelab.kernels.workspace import workspace

U = 2.0**-9
EVERYTHING = torch.iinfo(torch.int16).min
GROUP = 8  # neighbouring features
MORE = 4  # columns that are added
LEAST_WORK = 2**28  # multiplications of a batch from which it pays


def rough_pays(x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"]) -> bool:
    """Whether the processor multiplies bf16 faster than fp32, and there is enough to multiply."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and len(x) * W_enc.numel() >= LEAST_WORK
        and has_bf16()
    )  # fmt: skip


@cache
def has_bf16() -> bool:
    """Without such instructions a bf16 GEMM is emulated, and slower."""
    return torch.cpu._is_avx512_bf16_supported()


class RoughChunk:
    """bf16 scores of some rows; those of neighbours are GROUP columns apart, see the module."""

    rounding = U

    def __init__(self, x: Tensor, W_enc: Tensor, b_enc: Tensor, scores: Tensor, bounds: "Bounds") -> None:
        self.x, self.W_enc, self.b_enc = x, W_enc, b_enc
        self.slack, self.likely, self.shift = bounds.slack, bounds.likely, bounds.shift
        self.n_rows, self.n = len(x), len(b_enc)
        self._scores = scores
        self._bits = scores.view(torch.int16)
        self._maxima = self._bits.unflatten(1, (GROUP, -1)).amax(dim=1)  # [rows, groups]

    @staticmethod
    def score_dtype(x: Tensor) -> torch.dtype:
        return torch.bfloat16

    @classmethod
    def of(cls, x: Tensor, W_enc: Tensor, b_enc: Tensor, rows: int) -> Iterator["RoughChunk"]:
        """All chunks of `rows` rows, in order; each is overwritten when the next is asked for."""
        bounds = Bounds.of(x, W_enc, b_enc)
        wide_x = widened_rows(x, [1.0, 1.0, bounds.shift_column, bounds.kappa])
        wide_W = widened_features(W_enc, b_enc, bounds.lengths)
        buffer = workspace.take(rows, len(wide_W), x.device, torch.bfloat16, "scores")
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            scores = torch.mm(wide_x[part], wide_W.t(), out=buffer[: len(x[part])])
            yield cls(x[part], W_enc, b_enc, scores, bounds.part(part))

    def reached(self, k: int) -> Float[Tensor, "rows 1"]:
        return kth_of_maxima(self._maxima, k).view(torch.bfloat16).float()

    def sample(self, every: int) -> Float[Tensor, "some columns"]:
        return self._scores[::every] - (self.shift + self.likely)[::every]

    def survivors(self, floor: Float[Tensor, "rows 1"]) -> Survivors:
        bits = floor.bfloat16().view(torch.int16)  # no bf16 number lies between the floor and its nearest
        bits = torch.where(floor > 0, bits, EVERYTHING)  # not positive: this row's slack is no number
        groups = self._maxima.shape[1]
        flat = (self._maxima >= bits).flatten().nonzero().squeeze(1)
        row, group = flat // groups, flat % groups
        found = self._bits.unflatten(1, (GROUP, groups)).transpose(1, 2)[row, group]  # [groups found, GROUP]
        entry = (found >= bits[row]).flatten().nonzero().squeeze(1)
        of = entry // GROUP
        feature = group[of] * GROUP + entry % GROUP
        place = row[of] * self.n + feature
        if self.n % GROUP:  # the last group is padded
            place = place[feature < self.n]
        pattern = pattern_of(place, self.n_rows, self.n)
        return Survivors(pattern.dots(self.x, self.W_enc.t()) + self.b_enc[pattern.index], place)


@dataclass(frozen=True)
class Bounds:
    """What the scores of each row are off by, at most and in all likelihood, and what they carry; all [batch, 1]."""

    slack: Float[Tensor, "batch 1"]
    likely: Float[
        Tensor, "batch 1"
    ]  # by how much the k-th best score exceeds the k-th best value, at most but for luck
    shift: Float[Tensor, "batch 1"]
    shift_column: Float[Tensor, "batch 1"]
    kappa: Float[Tensor, "batch 1"]
    lengths: Float[Tensor, "d_sae"]  # |W_i|

    @classmethod
    def of(cls, x: Tensor, W_enc: Tensor, b_enc: Tensor) -> "Bounds":
        """See the module; a little is added for norms in fp32, and for rounding what is added to bf16."""
        lengths = torch.cat([some.norm(dim=1) for some in W_enc.t().split(512)])  # 512 stay in the cache
        kappa = x.norm(dim=1, keepdim=True) * (1 + 6 * U) * (2 * U + U**2 + len(W_enc) * 2**-24)
        beta = 2 * U**2 * b_enc.abs().amax()
        slack = 2 * (kappa * lengths.amax() * (1 + 2 * U) + beta)
        column = (slack / 16 + 4 * beta).bfloat16().float()
        long = lengths.kthvalue(1 + int(0.95 * (len(lengths) - 1))).values
        return cls(slack, kappa * (long + 0.2 * lengths.amax()), column - beta, column, kappa, lengths)

    def part(self, rows: slice) -> "Bounds":
        """Those of some rows."""
        return Bounds(
            self.slack[rows], self.likely[rows], self.shift[rows], self.shift_column[rows], self.kappa[rows],
            self.lengths,
        )  # fmt: skip


def width_of(d: int) -> int:
    """Columns of the GEMM: d and four more, in whole eights."""
    return -(-(d + MORE) // 8) * 8


def widened_rows(x: Float[Tensor, "batch d"], more: Sequence[float | Tensor]) -> Tensor:
    """[x, more, 0...] in bf16."""
    d = x.shape[1]
    wide = torch.zeros(len(x), width_of(d), dtype=torch.bfloat16)
    wide[:, :d] = x
    for i, column in enumerate(more):
        wide[:, d + i : d + i + 1] = column
    return wide


def widened_features(W_enc: Tensor, b_enc: Tensor, lengths: Float[Tensor, "d_sae"]) -> Tensor:
    """[W_enc^T, upper half of b_enc, lower half, 1, lengths, 0...] in bf16, in the order of the scores' columns.

    What pads the last group scores below everything.
    """
    d, n = W_enc.shape
    groups, width, whole = -(-n // GROUP), width_of(d), n // GROUP
    wide = workspace.take(GROUP, groups * width, W_enc.device, torch.bfloat16, "wide").view(GROUP, groups, width)
    wide[:, :, d + MORE :] = 0
    wide[:, -1], wide[:, -1, d] = 0, torch.finfo(torch.bfloat16).min
    upper = b_enc.bfloat16()
    more = torch.stack([upper, (b_enc - upper).bfloat16(), torch.ones_like(upper), lengths.bfloat16()], dim=1)
    by_feature = wide.transpose(0, 1)  # [groups, GROUP, width]
    for start, source in ((0, W_enc.t()), (d, more)):
        target = by_feature[:, :, start : start + source.shape[1]]
        target[:whole].copy_(source[: whole * GROUP].unflatten(0, (whole, GROUP)))
        target[whole:, : n - whole * GROUP].copy_(source[whole * GROUP :])
    return wide.flatten(0, 1)
