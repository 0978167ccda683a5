"""Activations of a batch as the kernels take them (a flat list and its pattern), and as Codes (padded rows)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.contracts import Codes
from saelab.kernels.csc import Pattern


@dataclass(frozen=True)
class Sparse:
    """The activation `values[e]` of entry e of `pattern`."""

    values: Float[Tensor, "nz"]
    pattern: Pattern

    @classmethod
    def of(cls, codes: Codes) -> "Sparse":
        """The same code without its padding."""
        n_rows, width = codes.idx.shape
        if codes.count is None:
            offsets = torch.arange(n_rows + 1, device=codes.idx.device) * width
            return cls(codes.val.flatten(), Pattern(codes.idx.flatten().long(), offsets, codes.n))
        offsets = torch.nn.functional.pad(codes.count.long().cumsum(0), (1, 0))
        return cls(codes.val[codes.mask], Pattern(codes.idx[codes.mask].long(), offsets, codes.n))

    def codes(self) -> Codes:
        """The same code in rows of equal length, padded where they are not."""
        pattern, counts = self.pattern, self.pattern.counts
        width = int(counts.max())
        if len(pattern.index) == pattern.n_rows * width:
            shape = (pattern.n_rows, width)
            return Codes(pattern.index.int().view(shape), self.values.view(shape), pattern.n)
        place = torch.arange(len(pattern.index), device=counts.device) - pattern.offsets[pattern.row]
        idx = torch.zeros(pattern.n_rows, width, dtype=torch.int32, device=counts.device)
        idx[pattern.row, place] = pattern.index.int()
        val = self.values.new_zeros(pattern.n_rows, width).index_put((pattern.row, place), self.values)
        return Codes(idx, val, pattern.n, counts.int())

    def dense(self) -> Float[Tensor, "batch n"]:
        """The same code as a dense tensor, which inner loops never build."""
        out = self.values.new_zeros(self.pattern.n_rows, self.pattern.n)
        return out.index_put((self.pattern.row, self.pattern.index), self.values)

    def fired(self) -> Bool[Tensor, "n"]:
        """Features above zero on any row."""
        fired = torch.zeros(self.pattern.n, dtype=torch.bool, device=self.values.device)
        fired[self.pattern.index[self.values > 0]] = True
        return fired
