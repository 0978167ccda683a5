"""What an attribution explains: one number made of the model's logits.

logit        logit of a token at a position
difference   logit of a token less that of another, at a position
loss         -ln p of the text's own next token, in nats: at a position, or the mean over the whole text
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.text import checked_position
from saelab.lm import LanguageModel

KINDS = ("logit", "difference", "loss")


@dataclass(frozen=True)
class Target:
    """`position` is the token after which the prediction stands, negative from the end.

    None is the last one; for "loss" it stands for the mean over the text. `token` None is the likeliest one there.
    """

    kind: str = "logit"
    position: int | None = None
    token: int | None = None
    against: int | None = None  # of "difference"


@dataclass(frozen=True)
class Resolved:
    """A target in one text: every blank filled in. `call(logits)` gives its value, row by row of a batch."""

    kind: str
    position: int | None
    token: int | None
    against: int | None
    ids: Int[Tensor, "tokens"]

    def __call__(self, logits: Float[Tensor, "batch tokens vocab"]) -> Float[Tensor, "batch"]:
        """The number, for each row of the batch."""
        if self.kind == "loss":
            return self._loss(logits)
        at = logits[:, self.position]
        value = at[:, self.token]
        return value - at[:, self.against] if self.kind == "difference" else value

    def _loss(self, logits: Float[Tensor, "batch tokens vocab"]) -> Float[Tensor, "batch"]:
        following = self.ids[1:].expand(len(logits), -1)
        losses = torch.nn.functional.cross_entropy(logits[:, :-1].mT, following, reduction="none")  # [batch, tokens-1]
        return losses.mean(dim=1) if self.position is None else losses[:, self.position]

    def described(self, lm: LanguageModel) -> str:
        """In words."""
        where = "" if self.position is None else f" after token {self.position}"
        if self.kind == "loss":
            return f"loss{where}" if self.position is not None else "mean loss of the text"
        token = repr(lm.token_strings([self.token or 0])[0])
        less = f" − logit of {lm.token_strings([self.against or 0])[0]!r}" if self.kind == "difference" else ""
        return f"logit of {token}{less}{where}"


def resolved(lm: LanguageModel, target: Target, ids: Int[Tensor, "tokens"]) -> Resolved:
    """`target` in this text. Raises InterventionError for what the text or the vocabulary does not have."""
    if target.kind not in KINDS:
        raise InterventionError(f"there is no target {target.kind!r}: use {', '.join(KINDS)}")
    for token in (target.token, target.against):
        if token is not None and not 0 <= token < lm.n_vocab:
            raise InterventionError(f"there is no token {token}: {lm.name} has {lm.n_vocab:,}, from 0 on")
    if target.kind == "loss":
        return Resolved("loss", _predicting(ids, target.position), None, None, ids)
    if target.kind == "difference" and target.against is None:
        raise InterventionError("a logit difference needs two tokens: name the one to compare with")
    position = checked_position(ids, -1 if target.position is None else target.position)
    token = target.token
    if token is None:
        token = int(lm.logits(ids.unsqueeze(0))[0, position].argmax())
    return Resolved(target.kind, position, token, target.against if target.kind == "difference" else None, ids)


def _predicting(ids: Int[Tensor, "tokens"], position: int | None) -> int | None:
    """A position that has a next token."""
    if len(ids) < 2:
        raise InterventionError("the text has no next token, so it has no loss: give two tokens or more")
    if position is None:
        return None
    place = checked_position(ids, position)
    if place == len(ids) - 1:
        raise InterventionError(f"position {place} is the last of the text: no next token follows, so it has no loss")
    return place
