"""What features stand for: rules in words, chosen on one half of the documents and measured on the other."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saelab.explain.rules import Labelling, RuleConfig, RuleLabel, label_features

__all__ = ["Labelling", "RuleConfig", "RuleLabel", "label_features"]


def __getattr__(name: str) -> Any:
    """Rules need scipy, a second to import, which pages that show what was found do without."""
    if name not in __all__:
        raise AttributeError(f"module 'saelab.explain' has no attribute {name!r}")
    return getattr(import_module("saelab.explain.rules"), name)
