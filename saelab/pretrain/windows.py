"""Contexts to train on: each is the beginning-of-sequence token and a stretch of one document."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def windows(documents: Sequence[Tensor], bos: int, context: int, offset: int) -> list[Tensor]:
    """Cut every document into stretches of `context - 1` tokens, each behind `bos`.

    The first stretch of each document is shortened to `offset` tokens, so that another pass with another
    offset shows the model other boundaries. Stretches never cross documents; the last one may be short.
    """
    cut = []
    for tokens in documents:
        starts = [0, *range(offset, len(tokens), context - 1)] if offset else range(0, len(tokens), context - 1)
        for start, stop in zip(starts, [*list(starts)[1:], len(tokens)], strict=True):
            cut.append(torch.cat([torch.tensor([bos]), tokens[start:stop]]))
    return cut


def epoch_batches(
    documents: Sequence[Tensor], bos: int, context: int, batch: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """(input ids, labels), both [batch, context], of one pass; a pure function of (seed, epoch, documents).

    Short windows are padded with `bos`; padded labels are -100, which the loss leaves out. The last batch is
    left out when it is not full.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    offset = int(torch.randint(context - 1, (1,), generator=generator)) if epoch else 0
    cut = windows(documents, bos, context, offset)
    order = torch.randperm(len(cut), generator=generator).tolist()
    for start in range(0, len(order) - batch + 1, batch):
        yield pad([cut[i] for i in order[start : start + batch]], bos, context)


def pad(rows: Sequence[Tensor], bos: int, context: int) -> tuple[Tensor, Tensor]:
    """Stack rows of different lengths: ids padded with `bos`, labels with -100."""
    ids = torch.full((len(rows), context), bos)
    labels = torch.full((len(rows), context), -100)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        labels[i, : len(row)] = row
    return ids, labels
