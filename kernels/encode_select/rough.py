"""Pre-activations good enough to rule out nearly all of them, from a bf16 GEMM; the rest is computed exactly.

Rounding x and W to bf16 moves each factor by at most u = 2^-9 of itself, so with fp32 sums in the GEMM, by
Cauchy-Schwarz and for any data,

    |score[b, i] - shift[b] - pre[b, i]| <= slack[b] = |x_b| max_i |W_i| (2 u + u^2 + d 2^-24) + 2 u^2 max_i |b_enc_i|

before the result itself is rounded, by at most u of itself. A feature that scores more than twice that below the k-th
best is none of the k best: no guess, nothing to certify. At d = 576 about twice as many candidates as needed pass (65 a
row for k = 32). These get their fp32 dot product, and the rule decides on that. Two cores with AVX512-BF16 do the bf16
GEMM in 58 ms where the fp32 GEMM takes 150 (batch 2048, d_sae 9216).

Columns are added to x and rows to W_enc so that the GEMM adds the bias, in two bf16 halves (addmm takes 9 ms more), and
`shift`: it makes every floor that matters positive, where bf16 numbers are in the order of their bits as int16, and
integers take half the time. Column j G + g of the scores is feature 8 g + j: eight neighbours have one column each of
eight slabs, so their maximum is one of whole slabs (2.5 ms), and only groups whose maximum passes are looked into.
Floor and survivors take 13 ms that way, where comparing every score takes 23.
"""

from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.encode_select.survivors import Survivors, kth_of_maxima, pattern_of
from saelab.kernels.workspace import workspace

U = 2.0**-9
EVERYTHING = torch.iinfo(torch.int16).min
GROUP = 8  # neighbouring features
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

    def __init__(self, x: Tensor, W_enc: Tensor, b_enc: Tensor, scores: Tensor, slack: Tensor, shift: Tensor) -> None:
        self.x, self.W_enc, self.b_enc = x, W_enc, b_enc
        self.slack, self.shift, self.n_rows, self.n = slack, shift, len(x), len(b_enc)
        self._scores = scores
        self._bits = scores.view(torch.int16)
        self._maxima = self._bits.unflatten(1, (GROUP, -1)).amax(dim=1)  # [rows, groups]

    @staticmethod
    def score_dtype(x: Tensor) -> torch.dtype:
        return torch.bfloat16

    @classmethod
    def of(cls, x: Tensor, W_enc: Tensor, b_enc: Tensor, rows: int) -> Iterator["RoughChunk"]:
        """All chunks of `rows` rows, in order; each is overwritten when the next is asked for."""
        slack = slack_of(x, W_enc, b_enc)
        shift = (4 * slack).bfloat16()
        wide_x, wide_W = widened(x, W_enc, b_enc, shift)
        buffer = workspace.take(rows, len(wide_W), x.device, torch.bfloat16, "scores")
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            scores = torch.mm(wide_x[part], wide_W.t(), out=buffer[: len(x[part])])
            yield cls(x[part], W_enc, b_enc, scores, slack[part], shift[part].float())

    def reached(self, k: int) -> Float[Tensor, "rows 1"]:
        return kth_of_maxima(self._maxima, k).view(torch.bfloat16).float()

    def sample(self, every: int) -> Float[Tensor, "some columns"]:
        return self._scores[::every] - self.shift[::every]

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


def slack_of(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"]
) -> Float[Tensor, "batch 1"]:
    """See the module; a little for norms in fp32 is added."""
    longest = torch.stack([some.norm(dim=1).amax() for some in W_enc.t().split(512)]).amax()  # 512 stay in the cache
    share = 1.001 * (2 * U + U**2 + len(W_enc) * 2**-24)
    return x.norm(dim=1, keepdim=True) * longest * share + 2 * U**2 * b_enc.abs().amax()


def widened(x: Tensor, W_enc: Tensor, b_enc: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """[x, 1, 1, shift] and [W_enc^T, upper half of b_enc, lower half, 1] in bf16, widths a multiple of 8.

    The rows of the second are in the order of the scores' columns; what pads the last group scores below everything.
    """
    d, n = W_enc.shape
    pad = -(d + 3) % 8
    ones = torch.ones_like(shift)
    wide_x = torch.cat([x.bfloat16(), F.pad(torch.cat([ones, ones, shift], dim=1), (0, pad))], dim=1)
    groups = -(-n // GROUP)
    width = d + 3 + pad
    wide_W = workspace.take(GROUP, groups * width, x.device, torch.bfloat16, "wide").view(GROUP, groups, width)
    wide_W[:, -1], wide_W[:, -1, d] = 0, torch.finfo(torch.bfloat16).min  # what pads the last group
    by_column = wide_W.transpose(0, 1)  # [groups, GROUP, width]: features in order
    upper = b_enc.bfloat16()
    nought = torch.zeros_like(upper)
    more = torch.stack([upper, (b_enc - upper).bfloat16(), torch.ones_like(upper), *[nought] * pad], dim=1)
    for start, source in ((0, W_enc.t()), (d, more)):
        whole = n // GROUP
        target = by_column[:, :, start : start + source.shape[1]]
        target[:whole].copy_(source[: whole * GROUP].unflatten(0, (whole, GROUP)))
        target[whole:, : n - whole * GROUP].copy_(source[whole * GROUP :])
    return wide_x, wide_W.flatten(0, 1)
