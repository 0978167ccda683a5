"""The kernels on this device, as its compiler built them, beside their definitions in fp64 on the processor.

Odd shapes, a feature that fires on every row, features that never fire, an empty row. Inputs are rounded to the dtype
first and the definitions get the rounded ones, so that what is compared is arithmetic alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.csc import reference as csc_reference
from saelab.kernels.decode_loss import decode_loss
from saelab.kernels.decode_loss import reference as decode_reference
from saelab.kernels.deferred import RowSum
from saelab.kernels.encode_select import Above, BatchTopK, TopK, encode_select
from saelab.kernels.latent_update import AdamStep, Moments, latent_update
from saelab.kernels.latent_update import reference as update_reference
from saelab.kernels.nested_loss import nested_loss, prefix_levels
from saelab.kernels.nested_loss import reference as nested_reference

SHAPES = [(1, 31, 40), (97, 130, 257), (130, 48, 1030), (64, 768, 2048)]  # rows, width, features
# fp32 sums of up to some hundred terms rounded by 6e-8 each. Sums are fp32 whatever the tensors hold; what is handed
# from op to op as bf16 is rounded by 2^-9 of itself.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@dataclass(frozen=True)
class Check:
    """|found - exact| / |exact|, in norms over the whole of an output."""

    op: str
    dtype: str
    shape: tuple[int, int, int]
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {**asdict(self), "passed": self.passed}


def check_kernels(device: str, dtypes: Sequence[torch.dtype] = tuple(TOLERANCE)) -> list[Check]:
    """All ops at all shapes in these dtypes."""
    return [
        Check(op, str(dtype).removeprefix("torch."), shape, error, TOLERANCE[dtype])
        for dtype in dtypes
        for shape in SHAPES
        for op, error in Case(device, dtype, shape).errors()
    ]


class Case:
    """Inputs of one shape, on the device and, the same numbers, in fp64 on the processor."""

    def __init__(self, device: str, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
        self.device, self.dtype, (self.rows, self.d, self.n) = device, dtype, shape
        self._generator = torch.Generator().manual_seed(sum(shape))
        on = torch.rand(self.rows, self.n, generator=self._generator) < 0.1
        on[:, 0], on[1:2], on[:, -1] = True, False, False
        offsets = F.pad(on.sum(dim=1).cumsum(0), (1, 0))
        self.exact = Pattern(on.nonzero()[:, 1], offsets, self.n)
        self.pattern = Pattern(self.exact.index.to(device), offsets.to(device), self.n)

    def errors(self) -> Iterator[tuple[str, float]]:
        """Each op's name and its largest relative error over its outputs."""
        for check in (self._decode, self._nested, self._sums, self._update):
            yield check()
        for rule in (TopK(7), BatchTopK(7), Above(0.5)):
            yield self._select(rule)

    def _pair(self, *shape: int) -> tuple[Tensor, Tensor]:
        """Random numbers in the dtype on the device, and the same in fp64."""
        made = torch.randn(*shape, generator=self._generator).to(self.dtype)
        return made.to(self.device), made.double()

    def _decode(self) -> tuple[str, float]:
        values, W_dec, bias, y = self._pairs((len(self.exact.index),), (self.n, self.d), (self.d,), (self.rows, self.d))
        found = decode_loss(values[0], self.pattern, W_dec[0], bias[0], y[0], 0.5)
        exact = decode_reference.decode_loss(values[1], self.exact, W_dec[1], bias[1], y[1], 0.5)
        return "decode_loss", _worst(found, exact)

    def _nested(self) -> tuple[str, float]:
        values, W_dec, bias, y = self._pairs((len(self.exact.index),), (self.n, self.d), (self.d,), (self.rows, self.d))
        weights, prefixes = self._pair(2), [self.n // 2, self.n]
        found = nested_loss(
            values[0], self.pattern, prefix_levels(self.pattern, prefixes), weights[0], W_dec[0], bias[0], y[0], 0.5
        )
        exact = nested_reference.nested_loss(
            values[1], self.exact, prefix_levels(self.exact, prefixes), weights[1], W_dec[1], bias[1], y[1], 0.5
        )
        return "nested_loss", _worst(found, exact)

    def _sums(self) -> tuple[str, float]:
        (weight, weight_exact), (rows, rows_exact) = self._pairs((len(self.exact.index),), (self.rows, self.d))
        found = self.pattern.csc.rows_by_feature(weight, rows)
        exact = csc_reference.rows_by_feature(weight_exact, rows_exact, self.exact.row, self.exact.index, self.n)
        return "csc, sums by feature", _worst([found], [exact])

    def _update(self) -> tuple[str, float]:
        """Moments after one step; where v is far above epsilon, the weights too."""
        (weight, weight_exact), (rows, rows_exact) = self._pairs((len(self.exact.index),), (self.rows, self.d))
        start = F.normalize(torch.randn(self.n, self.d, generator=self._generator, dtype=torch.float64), dim=1).float()
        adam, shape, results = AdamStep(10, 1e-3), (self.n, self.d), []
        for update, pattern, w, r, dtype, device in (
            (latent_update, self.pattern, weight, rows, torch.float32, self.device),
            (_update_reference, self.exact, weight_exact, rows_exact, torch.float64, "cpu"),
        ):
            W = start.to(device, dtype, copy=True)
            moments = Moments(*(torch.full(shape, x, device=device, dtype=dtype) for x in (0.01, 0.1)))
            update(W, moments, [RowSum(pattern.csc, w, r)], adam, unit=True)
            results.append((W, moments.first, moments.second))
        return "latent_update", _worst(*results)

    def _select(self, rule: Any) -> tuple[str, float]:
        """How much of the sum of the best values is missed: sets may differ among values that rounding makes equal."""
        (x, x_exact), (W, W_exact), (b, b_exact) = self._pairs((self.rows, self.d), (self.n, self.d), (self.n,))
        values, pattern = encode_select(x / self.d**0.5, W.t(), b, rule)
        pre = (x_exact / self.d**0.5).to(self.dtype).double() @ W_exact.t() + b_exact
        best = pre[rule.kept(pre)].sum()
        chosen = pre[pattern.row.cpu(), pattern.index.cpu()]
        missed = (best - chosen.sum()).abs() / best
        return f"encode_select, {type(rule).__name__}", max(missed.item(), _worst([values], [chosen]))

    def _pairs(self, *shapes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        return [self._pair(*shape) for shape in shapes]


def _update_reference(W: Tensor, moments: Moments, parts: Any, adam: AdamStep, unit: bool) -> None:
    update_reference.latent_update(W, moments.first, moments.second, parts, adam, unit)


def _worst(found: Sequence[Any], exact: Sequence[Any]) -> float:
    pairs = zip(found, exact, strict=True)
    return max(((a.cpu().double() - b).norm() / b.norm().clamp_min(1e-30)).item() for a, b in pairs)
