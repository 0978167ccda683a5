"""Feature indexes: build one from a checkpoint and a store, and ask what each feature fires on, writes and resembles.

Browsing needs neither an SAE nor a language model: what needs them (`build_index`, `fires_on`) is imported when used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saelab.features.config import IndexConfig
from saelab.features.index import Index
from saelab.features.labels import read_labels, write_labels
from saelab.features.records import (
    Coactive,
    Example,
    FeatureCard,
    FeatureRow,
    FeatureStats,
    FeatureTable,
    Histogram,
    Label,
    LogitEffects,
    Neighbour,
    TokenEffect,
    TokenMatch,
)
from saelab.features.table import ORDERS, FeatureFilter

if TYPE_CHECKING:
    from saelab.features.by_site import SiteShares, site_shares
    from saelab.features.fires import FiringFeature, TextActivations, TokenFeature, fires_on
    from saelab.features.indexing import build_index

__all__ = [
    "ORDERS",
    "Coactive",
    "Example",
    "FeatureCard",
    "FeatureFilter",
    "FeatureRow",
    "FeatureStats",
    "FeatureTable",
    "FiringFeature",
    "Histogram",
    "Index",
    "IndexConfig",
    "Label",
    "LogitEffects",
    "Neighbour",
    "SiteShares",
    "TextActivations",
    "TokenEffect",
    "TokenFeature",
    "TokenMatch",
    "build_index",
    "fires_on",
    "read_labels",
    "site_shares",
    "write_labels",
]

_OF_A_TEXT = ("FiringFeature", "TextActivations", "TokenFeature", "fires_on")
_BY_SITE = ("SiteShares", "site_shares")
_LATER = {"build_index": "indexing", **dict.fromkeys(_OF_A_TEXT, "fires"), **dict.fromkeys(_BY_SITE, "by_site")}


def __getattr__(name: str) -> Any:
    """Import what needs an SAE or a language model when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module 'saelab.features' has no attribute {name!r}")
    return getattr(import_module(f"saelab.features.{_LATER[name]}"), name)
