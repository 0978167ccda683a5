"""What may be asked of a text: that the model can read it whole, that a position is in it, that a word is one token."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.lm import LanguageModel


def prompt_ids(lm: LanguageModel, text: str, chat: bool = False, more: int = 0) -> Int[Tensor, "tokens"]:
    """Ids of `text` as a prompt. Raises InterventionError when it and `more` new tokens do not fit into the model."""
    ids = lm.prompt(text, chat)
    check_length(lm, len(ids), more)
    return ids


def check_length(lm: LanguageModel, tokens: int, more: int = 0) -> None:
    """Refuse what the model cannot read at once. The last new token is written, but not read."""
    if tokens + max(more - 1, 0) <= lm.context:
        return
    room = lm.context - tokens + 1
    ask = f" or ask for at most {room} tokens" if more and room > 0 else ""
    beside = f" and {more} more are asked for" if more else ""
    raise InterventionError(
        f"the text has {tokens} tokens{beside}, but {lm.name} reads {lm.context} at once.\n"
        f"  fix:   shorten the text{ask}"
    )


def counted(lm: LanguageModel, ids: Int[Tensor, "tokens"]) -> Bool[Tensor, "tokens"]:
    """False at BOS and other special tokens, on which no SAE was trained: nothing is changed there."""
    return ~torch.isin(ids, torch.tensor(sorted(lm.special), dtype=ids.dtype, device=ids.device))


def checked_position(ids: Int[Tensor, "tokens"], position: int) -> int:
    """`position`, counted from the end where it is negative. Raises InterventionError outside the text."""
    place = position + len(ids) if position < 0 else position
    if not 0 <= place < len(ids):
        raise InterventionError(f"there is no position {position}: the text has {len(ids)} tokens, from 0 on")
    return place


def one_token(lm: LanguageModel, text: str) -> int:
    """The token that `text` is. Raises InterventionError when it is several or none."""
    ids = lm.encode(text)
    if len(ids) != 1:
        pieces = ", ".join(repr(piece) for piece in lm.token_strings(ids)) or "none"
        raise InterventionError(
            f"{text!r} is {len(ids)} tokens of {lm.name}, not one: {pieces}.\n"
            "  fix:   give one token, with the space before it where there is one, as in ' return'"
        )
    return ids[0]
