"""In PyTorch ops, on whatever device the tensors are: chunks of pre-activations, and what passes a floor in them."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select.rough import RoughChunk, rough_pays
from saelab.kernels.encode_select.rules import Chunk, Rule
from saelab.kernels.encode_select.survivors import Survivors, kth_of_maxima, mask_like, places
from saelab.kernels.workspace import workspace

# Bytes of pre-activations that exist at once. Every chunk packs W_enc anew: at d=576, n=9216 a batch of 2048 takes
# 338 ms in chunks of 512 rows, 270 to 330 ms in chunks of 1024 or whole (two shared cores).
CHUNK_BYTES = 64 << 20
ROW_GROUPS = 64  # of which a floor under a feature's best rows is read off


@torch.no_grad()
def encode_select(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"], rule: Rule
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The pre-activations that `rule` keeps, and where they are."""
    rough = rule.keeps_few(len(b_enc)) and rough_pays(x, W_enc)
    kind: type[RoughChunk | ExactChunk] = RoughChunk if rough else ExactChunk
    parts = -(-len(x) * len(b_enc) * kind.score_dtype(x).itemsize // CHUNK_BYTES)

    def chunks() -> Iterator[Chunk]:
        return kind.of(x, W_enc, b_enc, rows=-(-len(x) // parts))

    return rule.select(chunks, len(x), len(b_enc))


class ExactChunk:
    """Pre-activations of some rows in the dtype of x."""

    rounding = 0.0

    def __init__(self, scores: Float[Tensor, "rows d_sae"]) -> None:
        self.n_rows, self.n = scores.shape
        self._scores = scores
        self.slack = self.likely = self.shift = scores.new_zeros(1, 1)

    @property
    def values(self) -> Float[Tensor, "rows d_sae"]:
        """All of them, for as long as the chunk lasts."""
        return self._scores

    @staticmethod
    def score_dtype(x: Tensor) -> torch.dtype:
        return x.dtype

    @classmethod
    def of(cls, x: Tensor, W_enc: Tensor, b_enc: Tensor, rows: int) -> Iterator["ExactChunk"]:
        """All chunks of `rows` rows, in order; each is overwritten when the next is asked for."""
        buffer = workspace.take(rows, len(b_enc), x.device, x.dtype, "scores")
        for part in x.split(rows):
            yield cls(torch.addmm(b_enc, part, W_enc, out=buffer[: len(part)]))

    def reached(self, k: int) -> Float[Tensor, "rows 1"]:
        size = 8 if self.n // 8 >= 8 * k else 1
        maxima = self._scores[:, : self.n // size * size].unflatten(1, (size, -1)).amax(dim=1)
        return kth_of_maxima(maxima, k)

    def reached_by_rows(self, m: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        size = max(1, self.n_rows // ROW_GROUPS)
        groups = self.n_rows // size
        maxima = self._scores[: groups * size].unflatten(0, (groups, size)).amax(dim=1)
        best = maxima.t().topk(min(groups, int(m.max().clamp_min(1))), dim=1).values  # of each feature, descending
        known = (m > 0) & (m <= best.shape[1])
        mth = best.gather(1, torch.where(known, m - 1, 0).unsqueeze(1)).squeeze(1)
        return torch.where(known, mth, 0.0).clamp_min(0)

    def sample(self, every: int) -> Float[Tensor, "some groups"]:
        return self._scores[::every, : self.n // 8 * 8].unflatten(1, (-1, 8)).amax(dim=2)

    def survivors(self, floor: Float[Tensor, "..."]) -> Survivors:
        below = torch.lt(self._scores, floor, out=mask_like(self._scores))
        place = places(below.logical_not_())  # so what is not a number passes
        return Survivors(self._scores.flatten().index_select(0, place), place)
