"""Feature indexes: build one from a checkpoint and a store, and ask what each feature fires on, writes and resembles.

Browsing needs neither an SAE nor a language model: what needs them (`build_index`, `fires_on`) is imported when used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saelab.features.atlas import CLASS_COLUMNS, CLASSES, Atlas, Share
from saelab.features.config import IndexConfig
from saelab.features.filters import drop_filter, read_filters, save_filter, saved_filter
from saelab.features.index import Index
from saelab.features.labels import read_labels, write_labels
from saelab.features.notes import LONGEST_LABEL, LONGEST_NOTE, Note, Notebook
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
from saelab.features.sampled import Interval, Rows
from saelab.features.table import ORDERS, FeatureFilter
from saelab.features.tokenquery import TokenAnswer, TokenFiring
from saelab.features.where import Where

if TYPE_CHECKING:
    from saelab.features.by_site import SiteShares, site_shares
    from saelab.features.checking import Recheck, recheck
    from saelab.features.contrasting import Contrast, Contrasted, contrast, read_texts, split_texts
    from saelab.features.drift import Drift, DriftRow, drift_between
    from saelab.features.fires import FiringFeature, TextActivations, TokenFeature, fires_on
    from saelab.features.indexing import build_index
    from saelab.features.other_sae import across
    from saelab.features.source_attention import SourceAttention, sources_of

__all__ = [
    "CLASSES",
    "CLASS_COLUMNS",
    "LONGEST_LABEL",
    "LONGEST_NOTE",
    "ORDERS",
    "Atlas",
    "Coactive",
    "Contrast",
    "Contrasted",
    "Drift",
    "DriftRow",
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
    "Interval",
    "Label",
    "LogitEffects",
    "Neighbour",
    "Note",
    "Notebook",
    "Recheck",
    "Rows",
    "Share",
    "SiteShares",
    "SourceAttention",
    "TextActivations",
    "TokenAnswer",
    "TokenEffect",
    "TokenFeature",
    "TokenFiring",
    "TokenMatch",
    "Where",
    "across",
    "build_index",
    "contrast",
    "drift_between",
    "drop_filter",
    "fires_on",
    "read_filters",
    "read_labels",
    "read_texts",
    "recheck",
    "save_filter",
    "saved_filter",
    "site_shares",
    "sources_of",
    "split_texts",
    "write_labels",
]

_OF_A_TEXT = ("FiringFeature", "TextActivations", "TokenFeature", "fires_on")
_BY_SITE = ("SiteShares", "site_shares")
_LATER = {
    **dict.fromkeys(("Drift", "DriftRow", "drift_between"), "drift"),
    "across": "other_sae",
    "build_index": "indexing",
    **dict.fromkeys(_OF_A_TEXT, "fires"),
    **dict.fromkeys(_BY_SITE, "by_site"),
    **dict.fromkeys(("Contrast", "Contrasted", "contrast", "read_texts", "split_texts"), "contrasting"),
    **dict.fromkeys(("Recheck", "recheck"), "checking"),
    **dict.fromkeys(("SourceAttention", "sources_of"), "source_attention"),
}


def __getattr__(name: str) -> Any:
    """Import what needs an SAE or a language model when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module 'saelab.features' has no attribute {name!r}")
    return getattr(import_module(f"saelab.features.{_LATER[name]}"), name)
