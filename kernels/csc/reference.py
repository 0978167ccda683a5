"""The definition: entries listed feature by feature, in row-major order within a feature, in plain Python."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sort_by_feature(index: Int[Tensor, "nz"], n: int) -> tuple[Int[Tensor, "nz"], Int[Tensor, "n_plus_1"]]:
    """Order of the entries by feature, and where each feature's begin."""
    segments = [[e for e, feature in enumerate(index.tolist()) if feature == i] for i in range(n)]
    starts = [0]
    for segment in segments:
        starts.append(starts[-1] + len(segment))
    order = [e for segment in segments for e in segment]
    return torch.tensor(order, dtype=torch.int64), torch.tensor(starts, dtype=torch.int64)


def rows_by_feature(
    weight: Float[Tensor, "nz"],
    rows: Float[Tensor, "batch d"],
    row: Int[Tensor, "nz"],
    index: Int[Tensor, "nz"],
    n: int,
) -> Float[Tensor, "n d"]:
    """out[i] = sum over the entries e of feature i of weight[e] * rows[row[e]]."""
    return rows.new_zeros(n, rows.shape[1]).index_add(0, index, weight.unsqueeze(1) * rows[row])
