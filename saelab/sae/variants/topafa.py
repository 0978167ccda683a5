"""top-AFA SAE: a row keeps as many features as make its code as long as the row, so that no k is set.

    f     = the k largest of ReLU((x - b_dec) W_enc + b_enc),   k = argmin over j of | sqrt(C_j) - |x - b_dec| |
    C_j   = sum of the squares of the j largest;  decoder rows have length 1, else f_i |W_dec_i| would stand for f_i
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + afa_coeff * mean (|f| - |x - b_dec|)^2 / d + aux * AuxK

Nearly orthogonal unit rows reproduce x only with |f| near |x - b_dec|: approximate feature activation. The second term
brings codes there that are too short with all that is positive. Nothing else asks for few features: where d_sae is a
few times d, many are active at first (about a quarter of d at 16 times d) and not many fewer later.

Lengths are those of training, where rows are centred and have mean length sqrt(d). The published code standardises each
row by itself, so that |x| is sqrt(d), compares |f| with |x| in the loss and with |x - b_dec| in k, and does not divide
by d: its coefficients, 1/128 to 1/16 at d = 768, are 6 to 48 here. It also never keeps all features; here a row may. A
transcoder's code belongs to what it writes, whose length is not known; sqrt(d_out / d_in) |x| stands for it. Folding
keeps k: it moves centre and scale along.

SAELens has no such kind. It is given a JumpReLU of one threshold, a running mean of what leaves some rows of each batch
as many activations as they keep: about the same L0, other codes.

Lee et al. 2025, "Evaluating and designing sparse autoencoders by approximating quasi-orthogonality", and their code.
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels.encode_select import NormMatch
from saelab.sae.base import SAEConfig
from saelab.sae.parts import centred_linear
from saelab.sae.sparse import Sparse
from saelab.sae.variants.batchtopk import newest_weight
from saelab.sae.variants.topk import AuxKConfig, TopK

SAMPLE = 32  # rows


class TopAFAConfig(AuxKConfig):
    variant: Literal["topafa"] = "topafa"
    afa_coeff: float = Field(30.0, ge=0, description="Weight of the squared difference of lengths, per d.")


class TopAFA(TopK):
    Config: ClassVar[type[SAEConfig]] = TopAFAConfig
    architectures = ("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    seeks_few = False
    cfg: TopAFAConfig  # type: ignore[assignment]  # it has no k
    input_centre: Tensor  # [d_in], of a transcoder
    input_scale: Tensor  # one number
    running_threshold: Tensor  # one number, for SAELens
    batches_seen: Tensor

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.register_buffer("input_centre", torch.zeros(cfg.d_in))
        self.register_buffer("input_scale", torch.tensor((cfg.width_out / cfg.d_in) ** 0.5))
        self.register_buffer("running_threshold", torch.zeros(()))
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def lengths(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch"]:
        """How long each row's code is to be."""
        centre = self.input_centre if self.cfg.transcoder else self.b_dec
        return self.input_scale * torch.linalg.vector_norm(x.to(self.W_enc.dtype) - centre, dim=1)

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        return Sparse(*self.pre_activations(x, NormMatch(self.lengths(x))))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code = self.sparse(batch.x)
        loss, error = self.reconstruct(code, batch)
        self.observe(code)
        self._learn_threshold(batch.x, code)
        return {
            "reconstruction": loss,
            "afa": self._afa(code, self.lengths(batch.x)),
            "aux": self._aux(batch.x, error),
        }

    def _afa(self, code: Sparse, wanted: Float[Tensor, "batch"]) -> Float[Tensor, ""]:
        squares = torch.segment_reduce(code.values.square(), "sum", offsets=code.pattern.offsets, initial=0)
        lengths = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()  # of nothing the root has no derivative
        return self.cfg.afa_coeff / self.cfg.width_out * (lengths - wanted).square().mean()

    @torch.no_grad()
    def _learn_threshold(self, x: Float[Tensor, "batch d_in"], code: Sparse) -> None:
        """From some rows, all features: above it are as many activations as those rows keep."""
        every = -(-len(x) // SAMPLE)
        kept = int(code.pattern.counts[::every].sum())
        if self.training and kept:
            self.batches_seen.add_(1)
            pre = centred_linear(x[::every].to(self.W_enc.dtype), self.centre, self.W_enc, self.b_enc)
            threshold = pre.flatten().topk(kept, sorted=False).values.amin().clamp_min(0)
            self.running_threshold.lerp_(threshold, newest_weight(self.batches_seen).to(threshold))

    def fold_encoder(self, c: Float[Tensor, "d_in"] | None, scale: float, s_y: float) -> None:
        super().fold_encoder(c, scale, s_y)
        self.input_scale.mul_(scale)
        if c is not None:
            self.input_centre.copy_(c)

    def scale_threshold(self, factor: float) -> None:
        self.running_threshold.mul_(factor)

    def exported(self) -> dict[str, Tensor]:
        return super().exported() | {"threshold": self.running_threshold.expand(self.cfg.d_sae)}

    def exported_settings(self) -> dict[str, Any]:
        return {}
