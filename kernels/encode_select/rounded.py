"""W_enc in bf16, laid out for the GEMM of rough scores, and by how much that rounding moved each feature.

A training step changes all of W_enc, so the copy is made anew in each; made right where `latent_update` has some
features in the cache it costs half of what a pass of its own costs. See `Derived` in kernels/deferred.py.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.deferred import current
from saelab.kernels.workspace import workspace

GROUP = 8  # neighbouring features
MORE = 5  # columns that are added
PASS = 512  # features that stay in the cache


class RoundedWeights:
    """[W_enc^T, more columns, 0...] in bf16, in the order of the scores' columns, with lengths.

    Row j G + g is feature 8 g + j; what pads the last group scores below everything. The product's factors are `rows`
    and something as wide.
    """

    def __init__(self, W: Float[Tensor, "n d"], memory: Tensor | None = None) -> None:
        """Nothing of W is taken yet."""
        self.n, self.d = W.shape
        shape = (GROUP, -(-self.n // GROUP), width_of(self.d))
        slabs = torch.empty(shape, dtype=torch.bfloat16) if memory is None else memory.view(shape)
        slabs[:, :, self.d + MORE :] = 0
        slabs[:, -1], slabs[:, -1, self.d] = 0, torch.finfo(torch.bfloat16).min
        self.rows = slabs.flatten(0, 1)
        self._by_feature = slabs.transpose(0, 1)  # [groups, GROUP, width]
        self.lengths = W.new_empty(self.n)  # |W_i|
        self.rests = W.new_empty(self.n)  # |W_i - rounded W_i|
        self._version = -1

    @classmethod
    def of(cls, W: Float[Tensor, "n d"]) -> "RoundedWeights":
        """Of these weights now: what the step before has kept true, if it did."""
        deferred = current()
        if deferred is None:
            made = cls(W, workspace.take(1, size_of(*W.shape), W.device, torch.bfloat16, "rounded"))
            made.follow(0, W)
            return made
        kept = deferred.derived.get(W.data_ptr())
        if not isinstance(kept, RoundedWeights) or (kept.n, kept.d) != W.shape:
            kept = cls(W)
            deferred.derived[W.data_ptr()] = kept
        if not kept.is_of(W):
            kept.follow(0, W)
            kept.followed(W)
        return kept

    def is_of(self, W: Float[Tensor, "n d"]) -> bool:
        """Whether nothing has changed since `followed`."""
        return self._version == W._version

    def followed(self, W: Float[Tensor, "n d"]) -> None:
        """All of W as it is now has been followed."""
        self._version = W._version

    @torch.no_grad()
    def follow(self, start: int, W: Float[Tensor, "some d"]) -> None:
        """Features start, start + 1, ... have these weights now; `start` is a multiple of GROUP."""
        for first in range(start, start + len(W), PASS):
            self._take(first, W[first - start : first - start + PASS])

    def _take(self, start: int, W: Float[Tensor, "some d"]) -> None:
        part = slice(start, start + len(W))
        rounded = W.bfloat16()
        self._put(part, 0, rounded)
        torch.linalg.vector_norm(W, dim=1, out=self.lengths[part])
        torch.linalg.vector_norm(rounded.to(W.dtype).sub_(W), dim=1, out=self.rests[part])

    def add_columns(self, columns: Float[Tensor, "n MORE"]) -> None:
        """Fill the columns after the weights."""
        self._put(slice(0, self.n), self.d, columns)

    def _put(self, features: slice, column: int, values: Tensor) -> None:
        whole = len(values) // GROUP
        first = features.start // GROUP
        target = self._by_feature[first:, :, column : column + values.shape[1]]
        target[:whole].copy_(values[: whole * GROUP].unflatten(0, (whole, GROUP)))
        if rest := len(values) - whole * GROUP:
            target[whole, :rest].copy_(values[whole * GROUP :])


def width_of(d: int) -> int:
    """Columns of the GEMM: d and what is added, in whole eights."""
    return -(-(d + MORE) // 8) * 8


def size_of(n: int, d: int) -> int:
    """Numbers that the copy holds."""
    return -(-n // GROUP) * GROUP * width_of(d)
