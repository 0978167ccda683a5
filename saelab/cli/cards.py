"""A feature's card in words and figures."""

from typing import Any

from saelab.features import FeatureCard, FeatureStats


def title(card: FeatureCard) -> str:
    """`Feature 12: comment (F1 0.93)`."""
    if card.label is None:
        return f"Feature {card.feature}"
    score = "" if card.label.f1 is None else f" (F1 {card.label.f1:.2f})"
    return f"Feature {card.feature}: {card.label.text}{score}"


def figures(stats: FeatureStats, tokens: int) -> list[list[Any]]:
    """What the card's first table shows; activations in the units of the model's own activations."""
    if stats.count == 0:
        return [["fires on", f"none of {tokens:,} tokens"]]
    return [
        ["fires on", f"{stats.count:,} of {tokens:,} tokens ({100 * stats.density:.3g} %)"],
        ["in contexts", stats.contexts],
        ["maximum", stats.max],
        ["mean where it fires", stats.mean],
        ["standard deviation there", stats.std],
        ["cosine of encoder and decoder", stats.cosine],
    ]
