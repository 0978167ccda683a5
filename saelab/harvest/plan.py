"""Which rows belong to which shard: known from the text alone, before the model runs.

A shard is a fixed number of contexts, so that its content depends on the request and its number only, and any
shard can be made again without the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import torch
from jaxtyping import Int
from torch import Tensor

from saelab.corpora import Context, Corpus, Document, contexts, split_documents
from saelab.corpora.packing import NOWHERE
from saelab.errors import ConfigError
from saelab.harvest.config import HarvestConfig
from saelab.lm import LanguageModel
from saelab.store import ShardColumns


@dataclass(frozen=True, eq=False)
class ShardPlan:
    """The contexts of one shard, and which of their tokens become rows, in this order.

    Row r is token `at[r]` of context `of[r]`, counted inside the shard.
    """

    number: int
    contexts: list[Context]
    of: Int[Tensor, "rows"]
    at: Int[Tensor, "rows"]
    columns: ShardColumns

    @property
    def rows(self) -> int:
        return len(self.of)


@dataclass
class SplitPlan:
    """The shards of one split, and the names of the documents met so far."""

    corpus: Corpus
    split: str
    lm: LanguageModel
    cfg: HarvestConfig
    names: list[str] = field(default_factory=list)

    def shards(self) -> Iterator[ShardPlan]:
        """Shard 0, 1, 2, …: as many rows as the settings ask for, fewer when the corpus ends before."""
        wanted = self.cfg.tokens if self.split == "train" else self.cfg.heldout_tokens
        length = context_length(self.cfg, self.lm)
        stream = self._contexts(length)
        left_out = frozenset[int]() if self.cfg.special_tokens else self.lm.special
        per_shard = max(1, self.cfg.shard_rows // length)
        number = rows = ctx = 0
        while rows < wanted and (part := list(islice(stream, per_shard))):
            plan = plan_shard(part, number=number, first_row=rows, first_ctx=ctx, most=wanted - rows, special=left_out)
            ctx += len(part)
            if plan.rows:
                yield plan
                number, rows = number + 1, rows + plan.rows

    def documents(self, rows: ShardPlan) -> dict[int, str]:
        """Names of the documents up to the last one in `rows`, the split's last shard."""
        return dict(enumerate(self.names[: int(rows.columns.doc.max()) + 1]))

    def _contexts(self, length: int) -> Iterator[Context]:
        encode = self._encode_chat if self.cfg.chat else self.lm.encode
        return contexts(self._named(), encode, length, self.lm.bos, self.cfg.cut)

    def _named(self) -> Iterator[Document]:
        for document in split_documents(self.corpus, self.split):
            self.names.append(document.name)
            yield replace(document, text=self._chat(document)) if self.cfg.chat else document

    def _chat(self, document: Document) -> str:
        return self.lm.chat(document.turns or (("user", document.text),))

    def _encode_chat(self, text: str) -> list[int]:
        ids = self.lm.encode(text)
        return ids[1:] if ids[:1] == [self.lm.bos] else ids  # every context gets its own BOS


def context_length(cfg: HarvestConfig, lm: LanguageModel) -> int:
    """Tokens of a context. Raises ConfigError when that is more than the model was made for."""
    if cfg.context is not None and cfg.context > lm.context:
        raise ConfigError(
            f"context is {cfg.context} tokens, but {lm.name} reads {lm.context}. Set context to at most that."
        )
    return cfg.context or lm.context


def plan_shard(
    part: list[Context], *, number: int, first_row: int, first_ctx: int, most: int, special: frozenset[int]
) -> ShardPlan:
    """Rows of these contexts in order: every token of a document that is not in `special`, at most `most` of them."""
    lengths = torch.tensor([len(context.ids) for context in part])
    of = torch.repeat_interleave(torch.arange(len(part)), lengths)
    at = torch.arange(len(of)) - (lengths.cumsum(0) - lengths)[of]
    token, doc, pos = (_flat([getattr(context, name) for context in part]) for name in ("ids", "doc", "pos"))
    counts = (doc != NOWHERE) & ~torch.isin(token, torch.tensor(sorted(special), dtype=torch.int32))
    kept = counts.nonzero().squeeze(1)[:most]
    if len(kept) == most:
        part = part[: int(of[kept[-1]]) + 1]  # nobody needs what comes after the last row
    columns = ShardColumns(
        doc=doc[kept],
        pos=pos[kept],
        ctx=(of[kept] + first_ctx).int(),
        token=token[kept],
        first_row=first_row,
        first_ctx=first_ctx,
        contexts=len(part),
    )
    return ShardPlan(number, part, of[kept], at[kept], columns)


def _flat(lists: list[list[int]]) -> Int[Tensor, "tokens"]:
    return torch.tensor(list(chain.from_iterable(lists)), dtype=torch.int32)
