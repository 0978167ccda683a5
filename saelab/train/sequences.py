"""Rows that come as whole sequences, for what looks at the tokens before: a batch is sequences one behind the other.

Rows of a store are shuffled one by one, so that a batch holds many documents; the sequence they stood in is gone.
Sequences come from a language model as it runs (saelab.harvest.sequences) or from memory (`SequenceRows`).
"""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import ConfigError
from saelab.sae import MODELS
from saelab.train.config import TrainConfig
from saelab.train.data import RowSource, ThroughModel


@runtime_checkable
class SequenceSource(RowSource, Protocol):
    """A RowSource whose rows are whole sequences in their order, which are what is shuffled."""

    tokens: int  # rows of a sequence; a batch is a multiple of it
    lead: int  # the first rows of each that stand for no token of a document: BOS


class SequenceRows:
    """Sequences in memory: {site: activations [sequences, tokens, d]}, the same sequences at every site."""

    def __init__(
        self,
        train: Mapping[str, Float[Tensor, "_ _ _"]],
        heldout: Mapping[str, Float[Tensor, "_ _ _"]] | None = None,
        lead: int = 0,
        model_name: str | None = None,
    ) -> None:
        self.train, self.held, self.lead, self.model_name = dict(train), heldout, lead, model_name
        self.sites = tuple(train)
        self.sequences, self.tokens = next(iter(self.train.values())).shape[:2]

    def d(self, site: str) -> int:
        return self.train[site].shape[2]

    def rows(self) -> int | None:
        return self.sequences * self.tokens

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        """Rows of tokens, spread over all sequences."""
        count = self.sequences * (self.tokens - self.lead)
        chosen = torch.linspace(0, count - 1, min(rows, count)).long()
        return {site: self.train[site][:, self.lead :].flatten(0, 1)[chosen] for site in sites}

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        per_batch = batch // self.tokens
        per_epoch = self.sequences // per_batch
        number = start
        while True:
            epoch, index = divmod(number, per_epoch)
            draw = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(self.sequences, generator=draw)[index * per_batch : (index + 1) * per_batch]
            yield {site: self.train[site][order].flatten(0, 1) for site in sites}
            number += 1

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        if self.held is None:
            return None
        count = max(1, rows // self.tokens)
        return {site: self.held[site][:count].flatten(0, 1) for site in sites}

    def origin(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for site, rows in self.train.items():
            digest.update(site.encode() + rows.contiguous().cpu().float().numpy().tobytes())
        made_of = {"sequences": self.sequences, "tokens": self.tokens}
        return {"hash": digest.hexdigest()[:16], "model_name": self.model_name, "model_fingerprint": None,
                "context_size": self.tokens, "harvest": made_of}  # fmt: skip


def wants_sequences(cfg: TrainConfig) -> bool:
    """Whether anything to be trained reads whole sequences."""
    entries = cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]
    return any(reads_sequences(entry) for entry in entries)


def reads_sequences(entry: Mapping[str, Any]) -> bool:
    """Whether this kind does: it is then one that asks how long they are."""
    kind = MODELS.get(str(entry.get("variant")))
    return kind is not None and "context" in kind.Config.model_fields


def sequence_settings(entry: Mapping[str, Any], source: RowSource, batch: int) -> dict[str, Any]:
    """`context` and `lead` of what reads sequences, as the rows have them; nothing for what reads single rows.

    Raises ConfigError where kind and rows do not fit.
    """
    variant = entry.get("variant")
    if not reads_sequences(entry):
        _require_single_rows(variant, source)
        return {}
    if not isinstance(source, SequenceSource):
        raise ConfigError(
            f"sae.variant = {variant!r} reads whole sequences, but these rows come one by one, in shuffled order.\n"
            "  fix:   set source: live, with the store's settings (model, corpus, sites) under live:"
        )
    tokens = source.tokens
    if entry.get("context") not in (None, tokens):
        raise ConfigError(
            f"sae.context = {entry['context']}, but the rows come in sequences of {tokens}.\n"
            f"  fix:   leave sae.context out (it is derived), or set live.context to {entry['context']}"
        )
    if batch % tokens:
        raise ConfigError(
            f"train.batch = {batch} rows are no whole number of sequences of {tokens}.\n"
            f"  fix:   set train.batch to a multiple of {tokens}, for example {max(1, round(batch / tokens)) * tokens}"
        )
    return {"context": tokens, "lead": entry.get("lead", source.lead)}


def _require_single_rows(variant: Any, source: RowSource) -> None:
    if isinstance(source, SequenceSource) and source.lead and not isinstance(source, ThroughModel):
        raise ConfigError(
            f"sae.variant = {variant!r} describes single rows, but these are whole sequences, BOS included.\n"
            "  fix:   train it in a run of its own, without what reads sequences"
        )
