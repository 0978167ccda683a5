"""How well a language model predicts text, in a unit that no tokenizer can flatter."""

import lzma
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.inference_mode()
def bits_per_byte(
    model: nn.Module, documents: Sequence[Tensor], total_bytes: int, bos: int, context: int, batch: int = 32
) -> float:
    """Sum of -log2 p(token) over all tokens of all documents / bytes of their UTF-8 text.

    Each document is read in windows of `context` that overlap by half: a token is scored once, in the window
    that shows it at least context/2 - 1 tokens of its past (or the document's beginning).
    """
    device = next(model.parameters()).device
    pieces = [piece for tokens in documents for piece in _pieces(tokens, bos, context)]
    pieces.sort(key=lambda piece: -len(piece[0]))  # equal lengths side by side: little padding
    nats = 0.0
    for start in range(0, len(pieces), batch):
        group = pieces[start : start + batch]
        ids = nn.utils.rnn.pad_sequence([row for row, _ in group], batch_first=True, padding_value=bos).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(ids).logits[:, :-1].float()
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        for i, (row, first) in enumerate(group):
            nats += loss[i, first - 1 : len(row) - 1].double().sum().item()
    return nats / math.log(2) / total_bytes


def _pieces(tokens: Tensor, bos: int, context: int) -> list[tuple[Tensor, int]]:
    """(window with bos, index in it of the first token to score) so that every token is scored once."""
    half = context // 2
    pieces, done = [], 0
    while done < len(tokens):
        start = max(0, done - half + 1) if done else 0
        stop = min(len(tokens), start + context - 1)
        pieces.append((torch.cat([torch.tensor([bos]), tokens[start:stop]]), done - start + 1))
        done = stop
    return pieces


def xz_bits_per_byte(texts: Sequence[str]) -> float:
    """What `xz -9e` makes of the same bytes in one file: the yardstick beside the model's figure."""
    data = "".join(texts).encode()
    return 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(data)
