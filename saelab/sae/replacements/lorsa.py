"""Lorsa, low-rank sparse attention: an attention layer as many heads that each read and write one direction.

    v_i[s] = x[s] W_V_i + b_V_i                                one number per token and OV head i
    z_i[t] = sum over s <= t of A_g(i)[t, s] v_i[s]            A_g the pattern of a QK head, shared by some OV heads
    f[t]   = ReLU(z[t]) at the k heads of largest |W_dec_i| ReLU(z_i[t]), 0 elsewhere
    y[t]   = f[t] W_dec + b_dec

x is what the attention reads, behind its norm (site attn_in), y what it adds to the residual stream (attn_out). OV head
i belongs to QK head i // (d_sae / qk_heads). `signed` leaves ReLU out and ranks by |z_i|: a head may then write against
its direction. Where k is d_sae and the heads are the rank-one terms of an attention layer's W_V W_O (`exactly`), y is
that layer's output.

A code depends on all tokens before its own, so Lorsa reads whole sequences: rows stand one sequence behind the other,
`context` rows each. The first `lead` tokens of each (BOS) are read, and not answered for. z is dense, rows x d_sae, as
attention makes it. Loss and AuxK are TopK's; AuxK's code is z at the dead heads.

He et al. 2025, "Towards understanding the nature of attention with low-rank sparse decomposition".
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.kernels.csc import Pattern
from saelab.sae.base import SAEConfig
from saelab.sae.parts import unit_rows
from saelab.sae.replacements.attention import AttentionWeights, Rotary, attend
from saelab.sae.replacements.base import Replacement, parameter, settings_with
from saelab.sae.sparse import Sparse


class LorsaConfig(SAEConfig):
    variant: Literal["lorsa"] = "lorsa"
    k: int = Field(32, gt=0, description="OV heads kept per token.")
    qk_heads: int = Field(8, gt=0, description="QK heads; d_sae / qk_heads OV heads share the pattern of each.")
    d_qk: int | None = Field(None, gt=0, description="Width of a query; null: d_in / qk_heads.")
    rotary_base: float | None = Field(None, gt=0, description="Base of rotary embeddings; null: queries do not turn.")
    rotary_dims: int | None = Field(None, gt=0, description="Coordinates of a query that turn; null: all.")
    context: int | None = Field(None, gt=1, description="Tokens of a sequence; null: from the rows.")
    lead: int = Field(1, ge=0, description="First tokens of a sequence that are not reproduced: BOS.")
    signed: bool = Field(False, description="Heads may write against their direction: no ReLU.")
    aux: float = Field(1 / 32, ge=0, description="Weight of the AuxK term; 0 turns it off.")
    k_aux: int | None = Field(None, gt=0, description="Dead heads used per token by AuxK; null: d_in / 2.")

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        return settings_with(values, {"transcoder": True, "apply_b_dec_to_input": False})

    @model_validator(mode="after")
    def _heads_fit(self) -> "LorsaConfig":
        if self.skip or not self.transcoder:
            raise ValueError("Lorsa writes what attention writes, by its heads alone: leave skip and transcoder out")
        if self.k > self.d_sae:
            raise ValueError(f"k = {self.k} heads per token, but d_sae = {self.d_sae} is all there are; lower k")
        if self.d_sae % self.qk_heads:
            raise ValueError(
                f"d_sae = {self.d_sae} OV heads cannot be shared out evenly over qk_heads = {self.qk_heads}; "
                f"set d_sae to a multiple of {self.qk_heads}"
            )
        turning = self.rotary_dims or self.query_width
        if self.rotary_base is not None and (turning % 2 or turning > self.query_width):
            raise ValueError(
                f"{turning} coordinates are to turn, of queries that are d_qk = {self.query_width} wide; set "
                "rotary_dims to an even number, at most d_qk"
            )
        if self.context is not None and self.lead >= self.context:
            raise ValueError(f"lead = {self.lead} leaves nothing of a context of {self.context} tokens; lower lead")
        return self

    @property
    def query_width(self) -> int:
        """Width of queries and keys."""
        return self.d_qk or max(1, self.d_in // self.qk_heads)

    @property
    def rotary(self) -> Rotary | None:
        """How queries and keys turn with the position."""
        return None if self.rotary_base is None else Rotary(self.rotary_base, self.rotary_dims)


class Lorsa(Replacement):
    Config: ClassVar[type[SAEConfig]] = LorsaConfig
    differs = "reads whole sequences, not single rows"
    cfg: LorsaConfig
    W_Q: nn.Parameter  # [qk_heads, d_in, d_qk]
    W_K: nn.Parameter
    b_Q: nn.Parameter  # [qk_heads, d_qk]  # noqa: N815
    b_K: nn.Parameter  # noqa: N815
    W_V: nn.Parameter  # [d_sae, d_in]
    b_V: nn.Parameter  # [d_sae]  # noqa: N815

    def make_weights(self, generator: torch.Generator | None) -> None:
        """Unit rows in W_V and W_dec; queries and keys whose products are about 1, so that attention starts soft."""
        cfg, narrow = self.cfg, self.cfg.d_in**-0.5
        shape = (cfg.qk_heads, cfg.d_in, cfg.query_width)
        self.W_Q, self.W_K = (parameter(*shape, scale=narrow, generator=generator) for _ in range(2))
        self.b_Q, self.b_K = (nn.Parameter(torch.zeros(cfg.qk_heads, cfg.query_width)) for _ in range(2))
        self.W_V = nn.Parameter(unit_rows(torch.randn(cfg.d_sae, cfg.d_in, generator=generator)))
        self.b_V = nn.Parameter(torch.zeros(cfg.d_sae))
        self.W_dec = nn.Parameter(unit_rows(torch.randn(cfg.d_sae, cfg.width_out, generator=generator)))
        self.b_dec = nn.Parameter(torch.zeros(cfg.width_out))
        self.W_skip = None

    @property
    def W_enc(self) -> Tensor:  # type: ignore[override]
        """What the OV heads read, [d_in, d_sae]."""
        return self.W_V.t()

    def heads(self, x: Float[Tensor, "rows d_in"]) -> Float[Tensor, "rows d_sae"]:
        """z of every OV head, before any is chosen."""
        cfg, x = self.cfg, x.to(self.W_V.dtype)
        sequences = x.unflatten(0, (-1, self._context(len(x))))  # [batch, tokens, d_in]
        v = torch.nn.functional.linear(sequences, self.W_V, self.b_V)
        v = v.unflatten(2, (cfg.qk_heads, -1)).transpose(1, 2)  # [batch, qk_heads, tokens, group]
        z = attend(sequences, self.W_Q, self.b_Q, self.W_K, self.b_K, v, cfg.rotary)
        return z.transpose(1, 2).flatten(2).flatten(0, 1)

    def sparse(self, x: Float[Tensor, "rows d_in"]) -> Sparse:
        return self._chosen(self.heads(x))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        kept = self.counted(len(batch.x))
        z = self.heads(batch.x)[kept]
        code = self._chosen(z)
        loss, error = self.reconstruct(code, Batch(batch.x[kept], batch.y[kept]))
        self.count_fired(fired(code), len(z))
        return {"reconstruction": loss, "aux": self._aux(z, error)}

    def _context(self, rows: int) -> int:
        """Tokens of a sequence. Raises ConfigError for rows that are no whole number of sequences."""
        context = self.cfg.context
        if context is None or rows % context:
            raise ConfigError(
                f"Lorsa reads whole sequences of sae.context = {context} rows, one behind the other, but got {rows} "
                "rows.\n  fix:   give it a multiple of that"
            )
        return context

    def counted(self, rows: int) -> Bool[Tensor, "rows"]:
        return torch.arange(rows, device=self.W_V.device) % self._context(rows) >= self.cfg.lead

    def _strength(self, z: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
        """What a head does, signed or not."""
        return z if self.cfg.signed else torch.relu(z)

    def _chosen(self, z: Float[Tensor, "rows d_sae"]) -> Sparse:
        """The code: the k heads of each row that write most, those that write nothing left out."""
        with torch.no_grad():
            writes = self._strength(z).abs() * torch.linalg.vector_norm(self.W_dec, dim=1)
            index = writes.topk(self.cfg.k, dim=1).indices.sort(dim=1).values
            alive = writes.gather(1, index) > 0
            offsets = torch.nn.functional.pad(alive.sum(dim=1).cumsum(0), (1, 0))
        return Sparse(z.gather(1, index)[alive], Pattern(index[alive], offsets, self.cfg.d_sae))

    def _aux(self, z: Float[Tensor, "rows d_sae"], error: Float[Tensor, "rows d_out"]) -> Float[Tensor, ""]:
        """How badly the dead heads explain what the others left over, as a share of its variance."""
        dead = (self.tokens_since_fired >= self.dead_after).nonzero().squeeze(1)
        if self.cfg.aux == 0 or not len(dead):
            return error.new_zeros(())
        left = error * (-error.numel() / 2)  # error is the gradient of the mean of its square
        f, k = self._strength(z[:, dead]), self.cfg.k_aux or max(1, self.cfg.d_in // 2)
        if len(dead) > k:
            kept = f.detach().abs().topk(k, dim=1).indices
            f = torch.zeros_like(f).scatter(1, kept, f.gather(1, kept))
        variance = (left - left.mean(dim=0)).square().sum()
        return self.cfg.aux * (left - f @ self.W_dec[dead]).square().sum() / variance.clamp_min(1e-30)

    def matrices(self) -> list[tuple[nn.Parameter, Tensor, bool]]:
        return [(self.W_V, self.W_V, False), (self.W_dec, self.W_dec, True)]

    def fold_encoder(self, c: Float[Tensor, "d_in"] | None, scale: float, s_y: float) -> None:
        """x' = (x - c) s in queries, keys and values, and values / s_y; weights of a pattern sum to 1."""
        assert c is not None  # b_dec is not subtracted from what is read
        for W, b in ((self.W_Q, self.b_Q), (self.W_K, self.b_K)):
            W.mul_(scale * s_y)
            b.sub_(torch.einsum("d,hde->he", c, W))
        self.W_V.mul_(scale)
        self.b_V.div_(s_y).sub_(self.W_V @ c)

    @classmethod
    def exactly(cls, layer: AttentionWeights, context: int, signed: bool = True) -> "Lorsa":
        """The Lorsa whose heads are the rank-one terms of each W_V W_O; all are kept, and it is that layer.

        Without `signed`, every term comes twice, the second time with both signs turned.
        """
        layer, signs = layer.ungrouped(), [1.0] if signed else [1.0, -1.0]
        W_V, b_V, W_O = layer.W_V.transpose(1, 2), layer.b_V, layer.W_O  # [heads, d_v, d], [heads, d_v], ...
        W_V, W_O = (torch.cat([W * sign for sign in signs], dim=1).flatten(0, 1) for W in (W_V, W_O))
        lengths = torch.linalg.vector_norm(W_O, dim=1)
        rotary = layer.rotary or Rotary()
        made = cls(LorsaConfig.model_validate({
            "d_in": W_V.shape[1], "d_out": W_O.shape[1], "d_sae": len(W_V), "k": len(W_V), "signed": signed,
            "qk_heads": len(layer.W_Q), "d_qk": layer.W_Q.shape[2], "context": context, "lead": 0,
            "rotary_base": None if layer.rotary is None else rotary.base, "rotary_dims": rotary.dims,
        }))  # fmt: skip
        b_V = torch.cat([b_V * sign for sign in signs], dim=1).flatten()
        wanted = {"W_Q": layer.W_Q, "W_K": layer.W_K, "b_Q": layer.b_Q, "b_K": layer.b_K, "b_dec": layer.b_O,
                  "W_V": W_V * lengths.unsqueeze(1), "b_V": b_V * lengths, "W_dec": unit_rows(W_O)}  # fmt: skip
        with torch.no_grad():
            for name, weights in wanted.items():
                made.get_parameter(name).copy_(weights)
        return made


def fired(code: Sparse) -> Bool[Tensor, "d_sae"]:
    """Heads that wrote anything on any row, in either direction."""
    found = torch.zeros(code.pattern.n, dtype=torch.bool, device=code.values.device)
    found[code.pattern.index] = True
    return found
