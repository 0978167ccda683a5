"""Upper bounds of all pre-activations from a bf16 GEMM: they rule out nearly all; the rest is computed exactly.

With x' and W' for x and W_enc rounded to bf16, |x - x'| and |W_i - W_i'| as they are found to be, fp32 sums in the
GEMM, and u = 2^-8, by Cauchy-Schwarz and for any data,

    |rough[b, i] - pre[b, i]| <= a[b] |W_i| + c[b] |W_i - W_i'| + beta,    a[b] = |x_b - x_b'| + d 2^-24 |x_b|
                                                                          c[b] = |x_b|
                                                                          beta = (u^2 + d 2^-23) max_i |b_enc_i|

up to factors of 1 + O(u). Rounding may take u of every number but takes 0.4 u of a row's length: bounds by u alone were
to be 2.4 times as wide. The GEMM adds that bound, the bias (in two bf16 halves; addmm takes 9 ms more) and a constant
`shift[b]` as further columns of x and rows of W_enc. Its scores less shift are then no less than the pre-activations
and exceed them by at most slack[b] = 2 (a[b] max_i |W_i| + c[b] max_i |W_i - W_i'| + beta), before the result is
rounded by at most u of itself. A rule guesses a bound that k exact values will reach, about where the k-th best score
is less half of the slack; what scores below it is ruled out for certain, what does not gets its fp32 dot product, and
the k-th of those proves the guess or has it lowered. Two cores with AVX512-BF16 do the bf16 GEMM in 58 ms where the
fp32 GEMM takes 150 (batch 2048, d_sae 9216, d 576).

`shift` makes every floor that matters positive, where bf16 numbers are in the order of their bits as int16, and
integers take half the time. Column j G + g of the scores is feature 8 g + j: eight neighbours have one column each of
eight slabs, so their maximum is one of whole slabs (2.5 ms), and only groups whose maximum passes are looked into.
Floor and survivors take 13 ms that way, where comparing every score takes 23.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.encode_select.rounded import GROUP, MORE, RoundedWeights, width_of
from saelab.kernels.encode_select.survivors import Survivors, kth_of_maxima, pattern_of
from saelab.kernels.workspace import workspace

U = 2.0**-8  # bf16 keeps eight binary digits: rounding moves a number by at most this share of itself
EVERYTHING = torch.iinfo(torch.int16).min
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
        wide_W = RoundedWeights.of(W_enc.t())
        wide_x, rest = rounded_rows(x)
        bounds = Bounds.of(x, rest, wide_W, b_enc)
        upper = b_enc.bfloat16()
        lower = (b_enc - upper).bfloat16()
        wide_W.add_columns(torch.stack([upper, lower, torch.ones_like(b_enc), wide_W.lengths, wide_W.rests], dim=1))
        wide_x[:, x.shape[1] : x.shape[1] + MORE] = bounds.columns()
        buffer = workspace.take(rows, len(wide_W.rows), x.device, torch.bfloat16, "scores")
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            scores = torch.mm(wide_x[part], wide_W.rows.t(), out=buffer[: len(x[part])])
            yield cls(x[part], W_enc, b_enc, scores, bounds.part(part))

    def reached(self, k: int) -> Float[Tensor, "rows 1"]:
        return kth_of_maxima(self._maxima, k).view(torch.bfloat16).float()

    def sample(self, every: int) -> Float[Tensor, "some groups"]:
        return self._maxima[::every].view(torch.bfloat16) - (self.shift + self.likely)[::every]

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
    likely: Float[Tensor, "batch 1"]  # by how much the k-th best score exceeds the k-th best value, but for luck
    shift: Float[Tensor, "batch 1"]
    shift_column: Float[Tensor, "batch 1"]
    per_length: Float[Tensor, "batch 1"]  # a
    per_rest: Float[Tensor, "batch 1"]  # c

    @classmethod
    def of(cls, x: Tensor, rest: Float[Tensor, "batch 1"], W: RoundedWeights, b_enc: Tensor) -> "Bounds":
        """See the module; a little is added for norms in fp32, and for rounding what is added to bf16."""
        length = x.norm(dim=1, keepdim=True) * (1 + 3 * U)
        per_length = rest * (1 + 3 * U) + length * W.d * 2**-24
        beta = b_enc.abs().amax() * (U**2 + width_of(W.d) * 2**-23)
        most = per_length * W.lengths.amax() + length * W.rests.amax()
        slack = 2 * (most * (1 + 2 * U) + beta)
        column = (slack / 16 + 4 * beta).bfloat16().float()
        long, coarse = (one.kthvalue(1 + int(0.95 * (W.n - 1))).values for one in (W.lengths, W.rests))
        likely = per_length * long + length * coarse + 0.1 * most
        return cls(slack, likely, column - beta, column, per_length, length)

    def columns(self) -> Float[Tensor, "batch MORE"]:
        """What stands after x, against the two halves of the bias, 1, the lengths and the rests."""
        one = torch.ones_like(self.slack)
        return torch.cat([one, one, self.shift_column, self.per_length, self.per_rest], dim=1)

    def part(self, rows: slice) -> "Bounds":
        """Those of some rows."""
        return Bounds(*(getattr(self, one.name)[rows] for one in fields(self)))


def rounded_rows(x: Float[Tensor, "batch d"]) -> tuple[Tensor, Float[Tensor, "batch 1"]]:
    """[x, room for MORE columns, 0...] in bf16, and how far rounding moved each row."""
    d = x.shape[1]
    wide = torch.zeros(len(x), width_of(d), dtype=torch.bfloat16)
    wide[:, :d] = x
    return wide, torch.linalg.vector_norm(wide[:, :d].float().sub_(x), dim=1, keepdim=True)
