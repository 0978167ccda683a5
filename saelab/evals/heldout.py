"""The text evaluations run on: documents of the store's own corpus that nothing was trained on.

Cut, encoded and packed as the store's settings say; BOS, padding and other special tokens are not counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from saelab.config import settings
from saelab.contracts import Progress
from saelab.corpora import Corpus, open_corpus
from saelab.errors import CheckpointError, EvalError, StoreMismatch
from saelab.harvest.config import HarvestConfig
from saelab.harvest.plan import ShardPlan, SplitPlan
from saelab.intervene import sites
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.store import Store


@dataclass(frozen=True, eq=False)
class Tokens:
    """Contexts to run at once, padded at the end, and which of their tokens count."""

    ids: Int[Tensor, "batch tokens"]
    counted: Bool[Tensor, "batch tokens"]


def require_same_model(sae: SAE, lm: LanguageModel, store: Store) -> None:
    """Raise StoreMismatch or CheckpointError unless store, SAE and model belong together."""
    if store.model["fingerprint"] != lm.fingerprint:
        raise StoreMismatch(
            f"{store.path} was made by another model than the one that is loaded.\n"
            f"  store:  {store.model['name']}, fingerprint {store.model['fingerprint']}\n"
            f"  loaded: {lm.name}, fingerprint {lm.fingerprint}\n"
            "  fix:    name the store that belongs to this checkpoint with --store, or harvest again"
        )
    read, _ = sites(sae)
    if lm.d_site(read) != sae.cfg.d_in:
        raise CheckpointError(
            f"the SAE reads rows of width {sae.cfg.d_in}, but {read} of {lm.name} has {lm.d_site(read)}: "
            "it was trained on another model"
        )


def heldout_corpus(store: Store, progress: Progress) -> tuple[HarvestConfig, Corpus]:
    """The store's settings and its corpus; tells when that is not the text it was when it was harvested."""
    cfg = settings(HarvestConfig, store.config, where=f"{store.path}/store.json")
    corpus = open_corpus(cfg.corpus)
    if corpus.fingerprint() != store.corpus["fingerprint"]:
        progress.note(
            f"the {cfg.corpus.kind} corpus is not the text that {store.path} was harvested from (another version?): "
            "its held-out documents are measured as they are now, and changed ones may have been trained on before"
        )
    return cfg, corpus


def heldout_tokens(lm: LanguageModel, store: Store, tokens: int, batch: int, progress: Progress) -> list[Tokens]:
    """Batches of `batch` contexts that hold `tokens` counted tokens of held-out documents, in the corpus' order."""
    cfg, corpus = heldout_corpus(store, progress)
    length = cfg.context or lm.context
    cfg = cfg.model_copy(update={"heldout_tokens": tokens, "shard_rows": batch * length})
    found = [_padded(plan, lm.bos or 0) for plan in SplitPlan(corpus, "heldout", lm, cfg).shards()]
    if not found:
        raise EvalError(
            f"the {cfg.corpus.kind} corpus of {store.path} has no held-out document (about one in twenty is).\n"
            "  fix:   harvest a corpus of more documents"
        )
    return found


def _padded(plan: ShardPlan, pad: int) -> Tokens:
    length = max(len(context.ids) for context in plan.contexts)
    ids = torch.tensor([context.ids + [pad] * (length - len(context.ids)) for context in plan.contexts])
    counted = torch.zeros(ids.shape, dtype=torch.bool)
    counted[plan.of, plan.at] = True
    return Tokens(ids, counted)


def reading(batches: list[Tokens], lm: LanguageModel, progress: Progress, what: str) -> Iterator[Tokens]:
    """The batches on the model's device, telling how far the reading is."""
    progress.start(what, sum(int(batch.counted.sum()) for batch in batches), "tokens")
    for batch in batches:
        yield Tokens(batch.ids.to(lm.device), batch.counted.to(lm.device))
        progress.advance(int(batch.counted.sum()))
