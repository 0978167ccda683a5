"""BatchTopK SAE: keep the batch * k largest activations of a whole batch, so that rows share a budget of k on average.

    training:   f = BatchTopK_k(ReLU((x - b_dec) W_enc + b_enc))
    inference:  f = pre where pre > threshold, else 0

The threshold is a running mean of each batch's smallest kept value over the last tenth of the batches so far, or 100 of
them where that is fewer: it moves while the SAE learns, and what early batches kept is far off. In evaluation mode a
row's code therefore does not depend on the rows beside it. Loss and AuxK are TopK's.

Bussmann et al. 2024, "BatchTopK sparse autoencoders".
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import CheckpointError
from saelab.kernels import encode_select as select
from saelab.sae.base import SAEConfig
from saelab.sae.sparse import Sparse
from saelab.sae.variants.topk import TopK, TopKConfig

FORGET = 0.01  # weight of the newest batch in the long run
RECENT = 0.1  # share of the batches so far that a running threshold remembers, until that is 1 / FORGET of them


def newest_weight(seen: Tensor) -> Tensor:
    """Weight of the newest of `seen` batches in a running threshold."""
    return torch.clamp(1 / (RECENT * seen), min=FORGET, max=1.0)


class BatchTopKConfig(TopKConfig):
    variant: Literal["batchtopk"] = "batchtopk"  # type: ignore[assignment]


class BatchTopK(TopK):
    Config: ClassVar[type[SAEConfig]] = BatchTopKConfig
    architectures = ("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    running_threshold: Tensor  # one number
    batches_seen: Tensor

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.register_buffer("running_threshold", torch.zeros(()))
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))

    @property
    def threshold(self) -> Float[Tensor, "d_sae"]:
        """The inference threshold, the same for every feature. Raises CheckpointError before any training."""
        if self.batches_seen == 0:
            raise CheckpointError(
                "this BatchTopK SAE was never trained, so it has no inference threshold.\n"
                "  fix:   train it, or call .train() to select over the batch at hand"
            )
        return self.running_threshold.expand(self.cfg.d_sae)

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        rule = select.BatchTopK(self.cfg.k) if self.training else select.Above(self.threshold)
        return Sparse(*self.pre_activations(x, rule))

    @torch.no_grad()
    def observe(self, code: Sparse) -> None:
        super().observe(code)
        if self.training and len(code.values):
            self.batches_seen.add_(1)
            self.learn_threshold(code)

    def learn_threshold(self, code: Sparse) -> None:
        """From a batch that keeps something."""
        self.running_threshold.lerp_(code.values.min(), newest_weight(self.batches_seen).to(self.running_threshold))

    def scale_threshold(self, factor: float) -> None:
        self.running_threshold.mul_(factor)

    def exported(self) -> dict[str, Tensor]:
        return super().exported() | {"threshold": self.running_threshold.expand(self.cfg.d_sae)}

    def exported_settings(self) -> dict[str, Any]:
        return {}

    def save(self, folder: Path, metadata: dict[str, Any] | None = None) -> None:
        _ = self.threshold  # a checkpoint without one could not be read
        super().save(folder, metadata)
