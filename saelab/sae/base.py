"""What every SAE is: four parameters, a sparse code, and loss terms the trainer adds up.

    f     = activation((x - b_dec) W_enc + b_enc)
    x_hat = f W_dec + b_dec (+ x W_skip^T)

Training sees rows that were centred and scaled to a mean length of sqrt(d), so that a coordinate is about 1, loss terms
and defaults do not depend on the site, and the reconstruction term is about the fraction of variance unexplained.
`fold` then moves centre and scale into the weights: a checkpoint reads and writes raw activations.

b_dec is subtracted from what is read unless `apply_b_dec_to_input` is off, as it must be for a transcoder.
"""

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from saelab.contracts import Batch, Codes
from saelab.errors import CheckpointError, ConfigError
from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import Reconstruction
from saelab.kernels.encode_select import Rule
from saelab.kernels.latent_update import normalise_rows_, remove_parallel_
from saelab.kernels.sparse_decode import sparse_decode
from saelab.kernels.sparse_encode import sparse_encode
from saelab.sae.base_config import SAEConfig
from saelab.sae.parts import Normalisation, unit_rows
from saelab.sae.sparse import Sparse


class SAE(nn.Module, ABC):
    """Base of every variant, which says how it encodes (`sparse`) and what it minimises (`loss_terms`).

    The trainer sets `total_steps` (for warm-ups given as a share; None: no warm-up) and `dead_after`, the number of
    tokens without firing after which a feature counts as dead; on a GPU also `products`, the dtype to which a training
    step may round the factors of the encoder's product.
    """

    Config: ClassVar[type[SAEConfig]]
    # What SAELens calls this: an autoencoder, a transcoder, a transcoder with a skip connection.
    architectures: ClassVar[tuple[str, str, str]]
    # Whether W_enc and b_enc are parameters; False: they are views for others to read, and `fold_encoder` is its own.
    has_encoder: ClassVar[bool] = True
    # Whether there is an x_hat. False (bilinear: products of a row with itself): there are no W_dec and b_dec, it can
    # be no transcoder, its code is dense and signed, and `own_figures` says how good it is.
    reproduces_rows: ClassVar[bool] = True
    # Whether something asks for few active features. False (top-AFA): as many as the rows' lengths happen to ask for.
    seeks_few: ClassVar[bool] = True

    W_enc: nn.Parameter  # [d_in, d_sae], a feature's weights contiguous (strides 1, d_in): see kernels/csc
    W_dec: nn.Parameter  # [d_sae, d_out]
    b_enc: nn.Parameter
    b_dec: nn.Parameter
    W_skip: nn.Parameter | None  # [d_out, d_in]
    tokens_since_fired: Tensor  # int64 [d_sae]

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.metadata: dict[str, Any] = {}
        self.total_steps: int | None = None
        self.dead_after = 10_000_000
        self.products: torch.dtype | None = None
        self.make_weights(generator)
        self.register_buffer("tokens_since_fired", torch.zeros(cfg.d_sae, dtype=torch.int64))

    def make_weights(self, generator: torch.Generator | None) -> None:
        """Random unit rows in W_dec, W_enc its transpose (other random rows for a transcoder), biases 0."""
        cfg = self.cfg
        decoder = unit_rows(torch.randn(cfg.d_sae, cfg.width_out, generator=generator))
        encoder = (
            unit_rows(torch.randn(cfg.d_sae, cfg.d_in, generator=generator)) if cfg.transcoder else decoder.clone()
        )
        if self.has_encoder:
            self.W_enc = nn.Parameter(encoder.t())
            self.b_enc = nn.Parameter(torch.zeros(cfg.d_sae))
        self.W_dec = nn.Parameter(decoder)
        self.b_dec = nn.Parameter(torch.zeros(cfg.width_out))
        self.W_skip = nn.Parameter(torch.zeros(cfg.width_out, cfg.d_in)) if cfg.skip else None

    @abstractmethod
    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        """The active features of each row; differentiable."""

    @abstractmethod
    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted terms whose sum is minimised. While training this also counts which features fired."""

    @property
    def rows_apart(self) -> bool:
        """Whether a step's loss is the mean of what each of its rows costs by itself, AuxK apart.

        A step can then be taken in pieces. False: something is chosen, weighed or learnt over the whole batch.
        """
        return False

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Activations of all features, dense."""
        return self.sparse(x).dense()

    def encode_sparse(self, x: Float[Tensor, "batch d_in"]) -> Codes:
        """The same activations, active ones only."""
        return self.sparse(x).codes()

    def decode(
        self, f: Float[Tensor, "batch d_sae"], x: Float[Tensor, "batch d_in"] | None = None
    ) -> Float[Tensor, "batch d_out"]:
        """The reproduction from dense activations; a skip connection also needs the input."""
        return self._with_bias(f @ self.W_dec, x)

    def decode_sparse(self, codes: Codes, x: Float[Tensor, "batch d_in"] | None = None) -> Float[Tensor, "batch d_out"]:
        """The reproduction from a sparse code; a skip connection also needs the input."""
        return self.reproduce(Sparse.of(codes), x)

    def reproduce(self, code: Sparse, x: Float[Tensor, "batch d_in"] | None = None) -> Float[Tensor, "batch d_out"]:
        """The reproduction from the kernels' form of a code."""
        return self._with_bias(sparse_decode(code.values, code.pattern, self.W_dec), x)

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_out"]:
        """x_hat."""
        return self.reproduce(self.sparse(x), x)

    def _with_bias(self, out: Tensor, x: Tensor | None) -> Tensor:
        if self.W_skip is None:
            return out + self.b_dec
        if x is None:
            raise ConfigError("this transcoder has a skip connection: decode needs the input as well, decode(f, x)")
        return torch.addmm(out + self.b_dec, x.to(self.W_skip.dtype), self.W_skip.t())

    @property
    def centre(self) -> Float[Tensor, "d_in"] | None:
        """What is taken off the input."""
        return self.b_dec if self.cfg.apply_b_dec_to_input else None

    def pre_activations(self, x: Float[Tensor, "batch d_in"], rule: Rule) -> tuple[Float[Tensor, "nz"], Pattern]:
        """(x - b_dec) W_enc + b_enc where `rule` selects it."""
        products = self.products if self.training else None
        return sparse_encode(x.to(self.W_enc.dtype), self.W_enc, self.b_enc, rule, self.centre, products)

    def reconstruction_loss(
        self, y: Float[Tensor, "batch d_out"], y_hat: Float[Tensor, "batch d_out"]
    ) -> Float[Tensor, ""]:
        """Mean over the batch of |y - y_hat|^2 / d_out: about the unexplained share of variance, whatever the width."""
        return (y - y_hat).pow(2).mean()

    def reconstruct(self, code: Sparse, batch: Batch) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d_out"]]:
        """(`reconstruction_loss`, its gradient in y_hat: -2 (y - y_hat) / numel), both in one walk over the code."""
        y = self.wanted(batch)
        return Reconstruction.apply(code.values, self.W_dec, self.b_dec, y, code.pattern, 1 / y.numel())

    def wanted(self, batch: Batch) -> Float[Tensor, "batch d_out"]:
        """What code and b_dec are to reproduce: y, less what a skip connection adds."""
        y = batch.y.to(self.W_dec.dtype)
        if self.W_skip is not None:
            y = y - F.linear(batch.x.to(self.W_skip.dtype), self.W_skip)
        return y.contiguous()

    @torch.no_grad()
    def count_fired(self, fired: Bool[Tensor, "d_sae"], rows: int) -> None:
        """Add `rows` to the count of every feature that did not fire; while training only."""
        if self.training:
            self.tokens_since_fired.add_(rows).masked_fill_(fired, 0)

    def matrices(self) -> list[tuple[nn.Parameter, Tensor, bool]]:
        """Every parameter with a row of weights per feature, as such rows, and whether those are of unit length."""
        return [(self.W_enc, self.W_enc.t(), False), (self.W_dec, self.W_dec, True)]

    def project_gradients(self) -> None:
        """Before the optimiser: take from a unit row's gradient what would only change the row's length."""
        for parameter, W, unit in self.matrices():
            if unit and parameter.grad is not None:
                remove_parallel_(parameter.grad, W)

    def after_step(self, step: int) -> None:
        """After the optimiser: unit rows back to that length."""
        for _, W, unit in self.matrices():
            if unit:
                normalise_rows_(W.detach())

    @torch.no_grad()
    def fold(self, normalisation: Normalisation) -> "SAE":
        """This SAE for raw rows, in evaluation mode: the same reproduction and features, activations in raw units.

        With x' = (x - c) s read and y' = (y - c_y) s_y reproduced, activations are divided by s_y:

            W_enc s/s_y    b_enc/s_y    threshold/s_y    W_skip s/s_y    b_dec -> c_y + b_dec/s_y

        and what b_dec does not take off the input by itself goes into b_enc (- c W_enc) and, with a skip
        connection, b_dec (- c W_skip^T). Decoder rows stay of unit length.
        """
        c, s = normalisation.centre.to(self.W_enc), normalisation.scale
        c_y, s_y = normalisation.target_centre.to(self.W_enc), normalisation.target_scale
        folded = copy.deepcopy(self)
        normalise_rows_(folded.W_dec)
        folded.b_dec.div_(s_y).add_(c_y)
        folded.fold_encoder(None if self.cfg.apply_b_dec_to_input else c, s / s_y, s_y)
        if folded.W_skip is not None:
            folded.W_skip.mul_(s / s_y)
            folded.b_dec.sub_(folded.W_skip @ c)
        folded.scale_threshold(1 / s_y)
        return folded.eval()

    def fold_encoder(self, c: Float[Tensor, "d_in"] | None, scale: float, s_y: float) -> None:
        """What `fold` does to the encoder; c: what b_dec does not take off the input by itself, scale: s/s_y."""
        self.W_enc.mul_(scale)
        self.b_enc.div_(s_y)
        if c is not None:
            self.b_enc.sub_(c @ self.W_enc)

    def require_rows(self, what: str) -> Any:
        """Raise CheckpointError where there is no x_hat, which `what` needs."""
        if not self.reproduces_rows:
            raise CheckpointError(
                f"{what} needs an SAE that reproduces rows; a {self.cfg.variant} SAE has no W_dec and no x_hat.\n"
                "  fix:   name the checkpoint of another variant"
            )

    def own_figures(self, x: Float[Tensor, "rows d_in"], batch: int) -> dict[str, float]:
        """What this variant has to say of held-out rows beyond the figures of all, in batches of `batch` rows."""
        return {}

    def scale_threshold(self, factor: float) -> None:
        """Multiply the threshold, in variants that have one."""

    @property
    def architecture(self) -> str:
        """What SAELens would load this as."""
        return self.architectures[self.cfg.transcoder + self.cfg.skip]

    @property
    def restated(self) -> frozenset[str]:
        """Parameters that `exported` holds in another form under the same name: a checkpoint keeps both forms."""
        return frozenset()

    def exported(self) -> dict[str, Tensor]:
        """The tensors SAELens reads, under its names."""
        tensors = {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}
        return {name: t.detach() for name, t in tensors.items()} | (
            {} if self.W_skip is None else {"W_skip": self.W_skip.detach()}
        )

    def exported_settings(self) -> dict[str, Any]:
        """Keys of cfg.json that SAELens expects of this architecture beyond the common ones."""
        return {}

    def save(self, folder: Path, metadata: dict[str, Any] | None = None) -> None:
        """Write a checkpoint that SAELens loads as it is; `metadata` is added to the SAE's own."""
        from saelab.sae import checkpoint

        self.metadata = {**self.metadata, **(metadata or {})}
        checkpoint.save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> "SAE":
        """Read a checkpoint, of whatever variant, in evaluation mode. Raises CheckpointError."""
        from saelab.sae import checkpoint

        return checkpoint.load(Path(folder), device)
