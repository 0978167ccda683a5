"""Cross-layer transcoder (CLT): features that read the MLP's input at one layer and write MLP outputs there and behind.

    f_l   = activation(x_l W_enc_l + b_enc_l)                      per source layer l, x_l what the MLP of layer l reads
    y_m   = sum over l <= m of f_l W_dec_{l,m} + b_dec_m           the output of the MLP of layer m
    loss  = mean over layers, tokens and coordinates of |y - y_hat|^2 + sparsity

Rows are the layers' rows side by side (`site: [mlp_in.0-3]`, `target: [mlp_out.0-3]`), each site in units of its own
scale; d_sae counts the features of all layers, d_sae / layers of each. Feature number l * d_sae / layers + i is feature
i of layer l. Nothing is written to earlier layers: W_dec of layer l has no weights for them. As circuit-tracer lays it
out, it is [features of l, layers - l, d], flattened to one row per feature, of length 1; so the whole is the sum of one
transcoder per layer whose target is what lies at and behind it.

    topk        the k largest of each token and layer, with AuxK layer by layer
    relu        l1 * mean sum of f / sqrt(d)
    jumprelu    thresholds as in saelab/sae/variants/jumprelu.py; l0 per active feature, or target_l0 over all layers

Ameisen et al. 2025, "Circuit tracing", section 2 (jumprelu); safety-research/circuit-tracer for the layout.
"""

import copy
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad

from saelab.contracts import Batch
from saelab.kernels import encode_select as select
from saelab.kernels.auxk import auxk_loss
from saelab.kernels.csc import Pattern
from saelab.kernels.jumprelu import heaviside, jumprelu
from saelab.kernels.sparse_decode import sparse_decode
from saelab.kernels.sparse_encode import sparse_encode
from saelab.sae.base import SAEConfig
from saelab.sae.parts import Normalisation, at_entries, unit_rows, warm_up
from saelab.sae.replacements.base import Replacement, settings_with
from saelab.sae.sparse import Sparse


class CLTConfig(SAEConfig):
    variant: Literal["clt"] = "clt"
    layers: int | None = Field(None, gt=0, description="Layers read and written; null: from the rows.")
    activation: Literal["topk", "relu", "jumprelu"] = Field("topk", description="What makes the code sparse.")
    k: int | None = Field(None, gt=0, description="Features kept per token and layer; null: 16, with topk.")
    aux: float = Field(1 / 32, ge=0, description="Weight of the AuxK term of topk; 0 turns it off.")
    l1: float = Field(0.1, ge=0, description="Weight of relu's L1 norm.")
    l0: float = Field(1e-3, ge=0, description="jumprelu's loss per active feature; not used with target_l0.")
    target_l0: float | None = Field(None, gt=0, description="Active features per token, of all layers; null: use l0.")
    bandwidth: float = Field(1.0, gt=0, description="Width of the window around jumprelu's threshold.")
    initial_threshold: float = Field(1.0, gt=0, description="jumprelu's threshold of every feature at the start.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps over which a sparsity term rises from 0.")

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        values = settings_with(values, {"transcoder": True, "apply_b_dec_to_input": False})
        if isinstance(values, dict) and values.get("activation", "topk") == "topk":
            values = {**values, "k": 16 if values.get("k") is None else values["k"]}
        return values

    @model_validator(mode="after")
    def _layers_fit(self) -> "CLTConfig":
        if self.skip or not self.transcoder:
            raise ValueError("a CLT writes what MLPs write, through its features alone: leave skip and transcoder out")
        if self.activation != "topk" and self.k is not None:
            raise ValueError(f"k = {self.k} belongs to activation: topk, not to {self.activation}; leave it out")
        for name, width in (("d_in", self.d_in), ("d_out", self.width_out), ("d_sae", self.d_sae)):
            if self.layers is not None and width % self.layers:
                raise ValueError(
                    f"{name} = {width} cannot be shared out evenly over layers = {self.layers}; set it to a multiple"
                )
        if self.k is not None and self.k > self.per_layer:
            raise ValueError(
                f"k = {self.k} features per token and layer, but a layer has {self.per_layer}; lower k or raise d_sae"
            )
        return self

    @property
    def n_layers(self) -> int:
        return self.layers or 1

    @property
    def active(self) -> int | float | None:
        """Of all layers together."""
        return self.target_l0 if self.k is None else self.k * self.n_layers

    @property
    def per_layer(self) -> int:
        """Features of one layer."""
        return self.d_sae // self.n_layers


class CLT(Replacement):
    Config: ClassVar[type[SAEConfig]] = CLTConfig
    differs = "has a decoder for every pair of layers, not one W_dec"
    one_decoder = False
    cfg: CLTConfig
    encoders: nn.ParameterList  # of layer l [features, d_in / layers]
    decoders: nn.ParameterList  # of layer l [features, (layers - l) d_out / layers]
    log_threshold: nn.Parameter | None  # [layers, features]

    def make_weights(self, generator: torch.Generator | None) -> None:
        """Random unit rows everywhere, biases 0."""
        cfg, n = self.cfg, self.cfg.n_layers
        d, d_out = cfg.d_in // n, cfg.width_out // n
        widths = [d] * n, [(n - layer) * d_out for layer in range(n)]
        self.encoders, self.decoders = (
            nn.ParameterList(unit_rows(torch.randn(cfg.per_layer, width, generator=generator)) for width in each)
            for each in widths
        )
        self.b_enc = nn.Parameter(torch.zeros(n, cfg.per_layer))
        self.b_dec = nn.Parameter(torch.zeros(cfg.width_out))
        start = torch.full((n, cfg.per_layer), cfg.initial_threshold).log()
        self.log_threshold = nn.Parameter(start) if cfg.activation == "jumprelu" else None

    def decoder(self, layer: int) -> Float[Tensor, "features targets d"]:
        """W_dec of a source layer: [:, j] is what its features write at layer + j."""
        return self.decoders[layer].unflatten(1, (self.cfg.n_layers - layer, -1))

    def _read(self, x: Float[Tensor, "rows d_in"]) -> list[Float[Tensor, "rows d"]]:
        """What each layer reads."""
        return [part.contiguous() for part in x.to(self.b_enc.dtype).chunk(self.cfg.n_layers, dim=1)]

    def _pre(self, layer: int, x: Float[Tensor, "rows d"], rule: select.Rule) -> tuple[Tensor, Pattern]:
        products = self.products if self.training else None
        return sparse_encode(x, self.encoders[layer].t(), self.b_enc[layer], rule, None, products)

    def layer_codes(self, x: Float[Tensor, "rows d_in"]) -> list[Sparse]:
        """The code of each layer."""
        return [Sparse(*self._pre(layer, part, self._rule(layer))) for layer, part in enumerate(self._read(x))]

    def _rule(self, layer: int) -> select.Rule:
        if self.cfg.k is not None:
            return select.TopK(self.cfg.k)
        return select.Above(0.0 if self.log_threshold is None else self.log_threshold[layer].detach().exp())

    def sparse(self, x: Float[Tensor, "rows d_in"]) -> Sparse:
        """All layers' features in one code."""
        codes, n = self.layer_codes(x), self.cfg.per_layer
        order = torch.cat([code.pattern.row for code in codes]).argsort(stable=True)
        index = torch.cat([code.pattern.index + layer * n for layer, code in enumerate(codes)])
        offsets = torch.stack([code.pattern.offsets for code in codes]).sum(dim=0)
        values = torch.cat([code.values for code in codes])
        return Sparse(values[order], Pattern(index[order], offsets, self.cfg.d_sae))

    def written(self, codes: list[Sparse]) -> Float[Tensor, "rows d_out"]:
        """The sum of what each layer's code writes, and b_dec."""
        d_out = self.cfg.width_out // self.cfg.n_layers
        made = self.b_dec.expand(codes[0].pattern.n_rows, -1)
        for layer, code in enumerate(codes):
            made = made + pad(sparse_decode(code.values, code.pattern, self.decoders[layer]), (layer * d_out, 0))
        return made

    def reproduce(self, code: Sparse, x: Float[Tensor, "rows d_in"] | None = None) -> Float[Tensor, "rows d_out"]:
        pattern, n = code.pattern, self.cfg.per_layer
        codes = []
        for layer in range(self.cfg.n_layers):
            own = (pattern.index >= layer * n) & (pattern.index < (layer + 1) * n)
            counts = torch.bincount(pattern.row[own], minlength=pattern.n_rows)
            offsets = pad(counts.cumsum(0), (1, 0))
            codes.append(Sparse(code.values[own], Pattern(pattern.index[own] - layer * n, offsets, n)))
        return self.written(codes)

    def decode(
        self, f: Float[Tensor, "rows d_sae"], x: Float[Tensor, "rows d_in"] | None = None
    ) -> Float[Tensor, "rows d_out"]:
        d_out, made = self.cfg.width_out // self.cfg.n_layers, self.b_dec.expand(len(f), -1)
        for layer, part in enumerate(f.chunk(self.cfg.n_layers, dim=1)):
            made = made + pad(part @ self.decoders[layer], (layer * d_out, 0))
        return made

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        read = self._read(batch.x)
        codes, cost = self._coded(read)
        made = self.written(codes)
        self.count_fired(torch.cat([code.fired() for code in codes]), len(made))
        terms = {"reconstruction": self.reconstruction_loss(batch.y.to(made.dtype), made)}
        if self.cfg.activation == "topk":
            return terms | {"aux": self._aux(read, (batch.y - made).detach())}
        strength, cost = warm_up(step, self.total_steps, self.cfg.warmup), cost / len(made)
        if self.cfg.activation == "relu":
            return terms | {"l1": strength * self.cfg.l1 * cost / (self.cfg.d_in / self.cfg.n_layers) ** 0.5}
        held = self.cfg.target_l0
        return terms | {"l0": strength * (self.cfg.l0 * cost if held is None else (cost / held - 1).square())}

    def _coded(self, read: list[Tensor]) -> tuple[list[Sparse], Tensor]:
        """Each layer's code, and what the sparsity term is taken of: all activations summed, or the active counted."""
        if self.log_threshold is None:
            codes = [Sparse(*self._pre(layer, x, self._rule(layer))) for layer, x in enumerate(read)]
            return codes, torch.stack([code.values.sum() for code in codes]).sum()
        codes, on, eps = [], [], self.cfg.bandwidth
        for layer, x in enumerate(read):
            theta = self.log_threshold[layer].exp()
            pre, pattern = self._pre(layer, x, select.Above(theta.detach() - eps / 2))
            theta = at_entries(theta, pattern)
            codes.append(Sparse(jumprelu(pre, theta, eps), pattern))
            on.append(heaviside(pre, theta, eps).sum())
        return codes, torch.stack(on).sum()

    def _aux(self, read: list[Tensor], left: Float[Tensor, "rows d_out"]) -> Float[Tensor, ""]:
        """Mean over layers of AuxK: what a layer's dead features explain of what is left over at and behind it."""
        dead = (self.tokens_since_fired >= self.dead_after).view(self.cfg.n_layers, -1)
        if self.cfg.aux == 0 or not dead.any():
            return left.new_zeros(())
        d, d_out = self.cfg.d_in // self.cfg.n_layers, self.cfg.width_out // self.cfg.n_layers
        found = [
            auxk_loss(
                read[layer], None, left[:, layer * d_out :].contiguous(), 1.0, self.encoders[layer].t(),
                self.b_enc[layer], self.decoders[layer], dead[layer], max(1, d // 2),
            )
            for layer in range(self.cfg.n_layers) if dead[layer].any()
        ]  # fmt: skip
        return self.cfg.aux * torch.stack(found).sum() / self.cfg.n_layers

    def matrices(self) -> list[tuple[nn.Parameter, Tensor, bool]]:
        return [*((W, W, False) for W in self.encoders), *((W, W, True) for W in self.decoders)]

    @torch.no_grad()
    def fold(self, normalisation: Normalisation) -> "CLT":
        """As SAE.fold, layer by layer: all layers share one scale, as each site has its own before."""
        s, s_y = normalisation.scale, normalisation.target_scale
        folded = copy.deepcopy(self)
        for layer, c in enumerate(normalisation.centre.to(self.b_enc).chunk(self.cfg.n_layers)):
            folded.encoders[layer].mul_(s / s_y)
            folded.b_enc[layer].div_(s_y).sub_(folded.encoders[layer] @ c)
        folded.b_dec.div_(s_y).add_(normalisation.target_centre.to(self.b_dec))
        if folded.log_threshold is not None:
            folded.log_threshold.sub_(torch.tensor(s_y).log())
        return folded.eval()
