"""What a feature writes: the next tokens it promotes and suppresses."""

from collections.abc import Sequence

from saelab.features.records import LogitEffects, TokenEffect
from saelab.features.vocabulary import Vocabulary

Ids, Logits = Sequence[int] | None, Sequence[float] | None


def effects(vocabulary: Vocabulary, up: Ids, up_by: Logits, down: Ids, down_by: Logits) -> LogitEffects | None:
    """Both lists, strongest first; None when built without a language model, or where the site has no direction."""
    if up is None or up_by is None or down is None or down_by is None:
        return None
    return LogitEffects(_effects(vocabulary, up, up_by), _effects(vocabulary, down, down_by))


def _effects(vocabulary: Vocabulary, ids: Sequence[int], by: Sequence[float]) -> tuple[TokenEffect, ...]:
    return tuple(TokenEffect(vocabulary[token], token, logit) for token, logit in zip(ids, by, strict=True))
