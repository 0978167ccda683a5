"""The ops of a TopK training step on real rows, one at a time, and the least that each must compute and move.

Notation: B rows, d their width, n features, k kept, nz = B k entries. Numbers are fp32 (4 bytes) unless said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from saelab.contracts import Batch, Progress
from saelab.kernels.auxk import auxk_loss
from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import decode_loss
from saelab.kernels.deferred import RowSum
from saelab.kernels.encode_select import BatchTopK, TopK, encode_select
from saelab.kernels.latent_update import AdamStep, Moments, latent_update
from saelab.sae import VARIANTS, sae_config
from saelab.train import OptimiserConfig
from saelab.train.defaults import default_learning_rate
from saelab.train.optimise import Optimiser

WARM_STEPS = 50  # after which some features are hot and many rare
DEAD_SHARE = 0.05  # for AuxK


@dataclass(frozen=True)
class Op:
    """`flop` of products in `dtype`, `bytes` read and written."""

    name: str
    flop: float
    bytes: float
    dtype: str
    work: Callable[[], Any]


@dataclass(frozen=True)
class Encoded:
    """One batch, and what its step has made by then."""

    x: Tensor
    centred: Tensor
    values: Tensor
    pattern: Pattern
    error: Tensor
    d_values: Tensor


class Step:
    """An SAE after a short training, and batches encoded by it."""

    def __init__(self, batches: Sequence[Tensor], d_sae: int, k: int, progress: Progress) -> None:
        self.k, (self.rows, self.d) = k, batches[0].shape
        torch.manual_seed(0)
        cfg = sae_config({"variant": "topk", "d_in": self.d, "d_sae": d_sae, "k": k})
        self.sae = VARIANTS["topk"](cfg).to(batches[0].device)
        self._train(batches, progress)
        self.W_enc, self.W_dec = self.sae.W_enc.detach(), self.sae.W_dec.detach()
        self.b_enc, self.b_dec = self.sae.b_enc.detach(), self.sae.b_dec.detach()
        self.dead = torch.rand(d_sae, device=self.W_dec.device) < DEAD_SHARE
        self.moments = Moments(torch.zeros_like(self.W_dec), torch.ones_like(self.W_dec))
        self.encoded = [self._encode(x) for x in batches]
        self._turn = cycle(self.encoded)

    def _train(self, batches: Sequence[Tensor], progress: Progress) -> None:
        rate = default_learning_rate(len(self.sae.W_dec), 600 * self.rows)
        optimiser = Optimiser(self.sae, OptimiserConfig.model_validate({"lr": rate}))
        progress.start("warm up", WARM_STEPS, "steps")
        for step, x in zip(range(WARM_STEPS), cycle(batches), strict=False):
            with optimiser.gradients():
                torch.stack(list(self.sae.loss_terms(Batch(x, x), step).values())).sum().backward()
            optimiser.step(rate, step)
            progress.advance(1)

    def _encode(self, x: Tensor) -> Encoded:
        centred = x - self.b_dec
        values, pattern = encode_select(centred, self.W_enc, self.b_enc, TopK(self.k))
        _, error, d_values = decode_loss(values, pattern, self.W_dec, self.b_dec, x, 1 / x.numel())
        _ = pattern.csc
        return Encoded(x, centred, values, pattern, error, d_values)

    @property
    def now(self) -> Encoded:
        """The next batch in turn."""
        return next(self._turn)

    def ops(self) -> Iterator[Op]:
        """Each op, in the order of a step."""
        n, d, rows = len(self.W_dec), self.d, self.rows
        nz, weights, entries = rows * self.k, 4.0 * n * d, 4.0 * rows * self.k * d
        scored = "bfloat16"
        encode = 2.0 * rows * d * n, weights + 4.0 * rows * d + 16.0 * nz, scored
        yield Op("encode_select, topk", *encode, lambda: self._select(TopK(self.k)))
        yield Op("encode_select, batchtopk", *encode, lambda: self._select(BatchTopK(self.k)))
        yield Op("decode_loss", 4.0 * nz * d, entries + 8.0 * rows * d + 24.0 * nz, "float32", self._decode)
        yield Op("csc, sort by feature", 0.0, 64.0 * nz, "float32", self._sort)
        # weights and two moments, read and written; a row of the batch for every entry
        update = 2.0 * nz * d + 15.0 * n * d, 6 * weights + entries
        yield Op("latent_update, W_enc", *update, "float32", lambda: self._update(encoder=True))
        yield Op("latent_update, W_dec, unit rows", *update, "float32", lambda: self._update(encoder=False))
        dead = int(self.dead.sum())
        yield Op(f"auxk, {dead} dead, with gradients", 10.0 * rows * d * dead, 24.0 * rows * d, "float32", self._auxk)

    def _select(self, rule: Any) -> None:
        encode_select(self.now.centred, self.W_enc, self.b_enc, rule)

    def _decode(self) -> None:
        one = self.now
        decode_loss(one.values, one.pattern, self.W_dec, self.b_dec, one.x, 1 / one.x.numel())

    def _sort(self) -> None:
        pattern = self.now.pattern
        _ = Pattern(pattern.index, pattern.offsets, pattern.n).csc

    def _update(self, encoder: bool) -> None:
        one = self.now
        weight, rows = (one.d_values, one.centred) if encoder else (one.values, one.error)
        W = self.W_enc.t() if encoder else self.W_dec
        adam = AdamStep(10**6, 1e-9)  # so small that the SAE stays as it is
        latent_update(W, self.moments, [RowSum(one.pattern.csc, weight, rows)], adam, unit=not encoder)

    def _auxk(self) -> None:
        one = self.now
        leaves = [W.detach().requires_grad_() for W in (self.W_enc, self.b_enc, self.W_dec)]
        auxk_loss(one.x, self.b_dec, one.error, -one.error.numel() / 2, *leaves, self.dead, self.d // 2).backward()
