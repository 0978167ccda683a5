"""End-to-end training: an SAE is good when the model predicts the same with it in place, whatever it leaves out.

    y'     = x_hat where tokens count, y elsewhere (BOS and other special tokens)
    p, q   = the model's next-token distributions with y and with y' at the site
    a, a'  = activations at a site behind it, likewise

    kl          weight * mean over counted tokens t of sum_v p_t(v) ln(p_t(v) / q_t(v))
    ce          weight * mean over counted t with a counted t + 1 of -ln q_t(token t + 1)
    downstream  downstream_weight * mean over sites behind of sum |a' - a|^2 / sum |a - mean a|^2, of counted tokens

These stand in place of the variant's own reconstruction term, which is left with the factor `reconstruction` (0); its
sparsity and auxiliary terms stay, in their own units. What a nested variant (matryoshka) orders its features by is in
its reconstruction term. Gradients reach the SAE as d loss / d y', taken through the model in one pass and back:

    d loss / d theta = sum over tokens of <d loss / d y', d x_hat / d theta>

Braun et al. 2024, "Identifying functionally important features with end-to-end sparse dictionary learning": kl is their
e2e, kl with `downstream` sites their e2e+downstream, there with squared distances that are not divided by the spread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.contracts import Batch, canonical_site
from saelab.errors import ConfigError
from saelab.sae import MODELS, SAE, Replacement, SAEConfig
from saelab.train.config import EndToEndConfig, TrainConfig
from saelab.train.data import TOKENS, RowSource, ThroughModel
from saelab.train.normalise import Normalisation
from saelab.train.sites import JOINER


@dataclass
class Contexts:
    """A batch as the model reads it. What the model does with y is computed once, for all SAEs that ask."""

    source: ThroughModel
    site: str
    ids: Int[Tensor, "contexts tokens"]
    counted: Bool[Tensor, "contexts tokens"]
    y: Float[Tensor, "contexts tokens d"]  # raw
    _clean: dict[tuple[str, ...], tuple[Tensor, dict[str, Tensor]]] = field(default_factory=dict)

    def clean(self, behind: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and activations at the sites behind, with y in place."""
        if behind not in self._clean:
            self._clean[behind] = self.source.clean(self.ids, behind)
        return self._clean[behind]

    def spliced(self, x_hat: Float[Tensor, "counted d"], cfg: EndToEndConfig) -> tuple[dict[str, Tensor], Tensor]:
        """(value of each term, gradient of their sum in x_hat), with x_hat, in raw units, in place of y."""
        behind = tuple(canonical_site(site) for site in cfg.downstream)
        logits, acts = self.clean(behind)
        values = self.y.clone()
        values[self.counted] = x_hat.detach().to(values)
        found: dict[str, Tensor] = {}

        def loss(now: Tensor, acts_now: Mapping[str, Tensor]) -> Tensor:
            terms: dict[str, Tensor] = {cfg.loss: cfg.weight * self._prediction(cfg.loss, logits, now)}
            if behind:
                shares = [self._unexplained(acts[site], acts_now[site]) for site in behind]
                terms["downstream"] = cfg.downstream_weight * torch.stack(shares).mean()
            found.update({name: term.detach() for name, term in terms.items()})
            return torch.stack(list(terms.values())).sum()

        gradient = self.source.through(self.ids, self.site, values, behind, loss)
        return found, gradient[self.counted]

    def _prediction(self, loss: str, clean: Tensor, now: Tensor) -> Float[Tensor, ""]:
        if loss == "kl":
            p, q = (logits[self.counted].log_softmax(dim=-1) for logits in (clean, now))
            return torch.nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)
        pairs = self.counted[:, :-1] & self.counted[:, 1:]
        return torch.nn.functional.cross_entropy(now[:, :-1][pairs], self.ids[:, 1:][pairs].long())

    def _unexplained(self, clean: Tensor, now: Tensor) -> Float[Tensor, ""]:
        a, a_now = clean[self.counted], now[self.counted]
        return (a_now - a).square().sum() / (a - a.mean(dim=0)).square().sum()


def counted_rows(
    source: RowSource, rows: Mapping[str, Tensor], site: str, device: str
) -> tuple[dict[str, Tensor], Contexts | None]:
    """The rows of tokens that count, and the contexts they stand in, where the source has a model to run."""
    if not isinstance(source, ThroughModel) or TOKENS not in rows:
        return dict(rows), None
    ids = rows[TOKENS].view(-1, source.tokens).to(device)
    y = rows[site].view(*ids.shape, -1).to(device).float()
    contexts = Contexts(source, site, ids, source.counted(ids), y)
    keep = contexts.counted.flatten().to(rows[TOKENS].device)
    return {name: found[keep] for name, found in rows.items() if name != TOKENS}, contexts


def end_to_end_terms(
    own: Mapping[str, Tensor], sae: SAE, batch: Batch, contexts: Contexts, unit: Normalisation, cfg: EndToEndConfig
) -> dict[str, Tensor]:
    """The terms to be minimised: those above, and `own`, the variant's, with its reconstruction term weighted."""
    x_hat = sae(batch.x) / unit.target_scale + unit.target_centre  # [counted, d], raw
    values, gradient = contexts.spliced(x_hat, cfg)
    pull = (x_hat * gradient.to(x_hat)).sum()  # its gradient is that of all terms; its value is taken off again
    first = next(iter(values))
    terms = values | {first: values[first] + pull - pull.detach()}
    kept = {name: term for name, term in own.items() if name != "reconstruction"}
    if cfg.reconstruction:
        kept = {"reconstruction": cfg.reconstruction * own["reconstruction"], **kept}
    return {**terms, **kept}


def wants_model(cfg: TrainConfig) -> bool:
    """Whether anything to be trained runs the model."""
    entries = cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]
    return cfg.train.end_to_end is not None or any((entry.get("train") or {}).get("end_to_end") for entry in entries)


def require_model(cfg: EndToEndConfig | None, sae: SAEConfig, source: RowSource, written: str, batch: int) -> None:
    """Raise ConfigError where there is no model to run, or where this SAE cannot stand in it."""
    if isinstance(source, ThroughModel) and batch % source.tokens:
        raise ConfigError(
            f"train.batch = {batch} rows are no whole number of contexts of {source.tokens} tokens.\n"
            f"  fix:   set train.batch to a multiple of {source.tokens}"
        )
    if cfg is None:
        return
    kind = MODELS[sae.variant]
    if issubclass(kind, Replacement) or not kind.reproduces_rows or sae.wants_gradient or JOINER in written:
        raise ConfigError(
            f"train.end_to_end puts what an SAE reproduces into the model at one site, {written}; {sae.variant} does "
            "not reproduce rows of it, or needs gradients beside them.\n  fix:   leave train.end_to_end out"
        )
    if not isinstance(source, ThroughModel):
        raise ConfigError(
            "train.end_to_end runs the language model at every step, but these rows come without one.\n"
            "  fix:   set source: live, with the store's settings (model, corpus, sites) under live:"
        )
    behind = [site for site in cfg.downstream if _layer(canonical_site(site)) <= _layer(written)]
    if behind:
        raise ConfigError(
            f"train.end_to_end.downstream: {behind[0]} is not behind {written}: nothing done there reaches it.\n"
            f"  fix:   name sites of layers from {_layer(written) + 1} on"
        )


def _layer(site: str) -> int:
    return int(site.split(".")[1])
