"""Two sets of texts side by side: the form, the table of features that differ, and where one of them fires most."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from saelab.app.widgets import cards, notices, state, tables, tokens
from saelab.features import Contrast, Contrasted, Index, TextActivations, contrast, split_texts

LONGEST = 20_000  # characters of a set
LISTED = 200
ORDERS = {
    "q": "the surest first",
    "effect": "by AUC, farthest from 1/2 first",
    "difference": "by the difference of the shares of texts",
}
SAMPLE_A = """import os, sys
from pathlib import Path
import json
from collections import deque
import re
from functools import partial
import time, math
from typing import Any
import logging
from io import StringIO"""
SAMPLE_B = """return value
return None
return self.name
return x + 1
return [], {}
return False
return func(*args)
return "done"
return len(items)
return result"""


@dataclass(frozen=True)
class Asked:
    """Two sets of texts."""

    a: tuple[str, ...]
    b: tuple[str, ...]


def form() -> Asked | None:
    """The sets to compare: those just sent, else the last ones; None before the first time."""
    with st.form("contrast form", border=False):
        left, right = st.columns(2, gap="medium")
        a = left.text_area("Set A", SAMPLE_A, height=170, max_chars=LONGEST, key="set a", persist_state="session")
        b = right.text_area("Set B", SAMPLE_B, height=170, max_chars=LONGEST, key="set b", persist_state="session")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            per = st.segmented_control("One text is a", ("line", "paragraph"), default="line", required=True, key="per",
                                       persist_state="session") or "line"  # fmt: skip
            run = st.form_submit_button("Compare", type="primary", icon=":material/compare_arrows:")
    if run:
        st.session_state["contrast asked"] = Asked(tuple(split_texts(a or "", per)), tuple(split_texts(b or "", per)))
    asked = st.session_state.get("contrast asked")
    return asked if isinstance(asked, Asked) else None


def compared(asked: Asked, index: Index) -> Contrast:
    """The contrast, computed once."""

    def compute() -> Contrast:
        with state.models() as (lm, sae), st.spinner(f"Reading {len(asked.a) + len(asked.b):,} texts …"):
            return contrast(lm, sae, asked.a, asked.b, index=index)

    return state.once("contrasted", asked, compute)


@st.fragment
def result(found: Contrast, index: Index) -> None:
    """The table, and the texts of either set in which the chosen feature is strongest."""
    st.caption(_summary(found))
    left, right = st.columns([0.58, 0.42], gap="large")
    with left:
        by = st.segmented_control("Order", tuple(ORDERS), default="q", required=True, key="contrast order") or "q"
        rows = found.ranking(by, LISTED)
        st.caption(f"{ORDERS[by]}. Tick a row to see where it fires.")
        picked = _table(rows, key=f"contrast {by} {hash((found.a, found.b))}")
    with right:
        if not rows:
            notices.empty("Nothing fires", "No feature is above zero in any of the texts.")
            return
        chosen = next((one for one in rows if one.feature == picked), rows[0])
        _texts(chosen, found, index)


def _summary(found: Contrast) -> str:
    how = "by the normal approximation"
    if found.exact:
        how = f"over every way to deal the texts to A and B, of which so few give no p below {found.least_p:.2g}"
    return (
        f"{len(found.a)} texts in A, {len(found.b)} in B. {found.significant():,} of {len(found.features):,} features "
        f"that fire differ at q ≤ 0.05. p: Mann-Whitney test of the maxima per text, {how}; q: Benjamini-Hochberg over "
        "all features that fire, the expected share of false calls among all up to it."
    )


def _table(rows: tuple[Contrasted, ...], key: str) -> int | None:
    values: dict[str, list[Any]] = {
        "feature": [one.feature for one in rows],
        "label": [tokens.visible(one.label.text) if one.label else "" for one in rows],
        "in a": [100 * one.rate_a for one in rows],
        "in b": [100 * one.rate_b for one in rows],
        "auc": [one.auc for one in rows],
        "p": [one.p for one in rows],
        "q": [one.q for one in rows],
    }
    columns = {
        "feature": tables.FEATURE,
        "label": tables.LABEL,
        "in a": tables.NUMBER("in A %", format="%.0f", help="Share of the texts of A in which it fires."),
        "in b": tables.NUMBER("in B %", format="%.0f", help="Share of the texts of B in which it fires."),
        "auc": tables.NUMBER(
            "AUC", format="%.3f", help="Chance that a text of A has the higher maximum; 0.5 is no effect."
        ),
        "p": tables.NUMBER("p", format="%.2g", help="Two-sided Mann-Whitney test of the maxima per text."),
        "q": tables.NUMBER("q", format="%.2g", help="Benjamini-Hochberg: false calls expected among all up to here."),
    }
    return tables.chosen(values, tables.filled(columns, values), key, min(len(rows) + 1, 17) * tables.ROW + 3)


def _texts(one: Contrasted, found: Contrast, index: Index) -> None:
    label = f" · {tokens.markdown(one.label.text)}" if one.label else ""
    st.subheader(f"Feature {one.feature}{label}", anchor=False)
    st.caption(f"rank-biserial {one.rank_biserial:+.3f} · mean maximum {one.mean_a:.3f} in A, {one.mean_b:.3f} in B")
    maximum = max(index.stats(one.feature).max, *(_best(texts, best, one.feature) for texts, best in
                                                  ((found.a, one.best_a), (found.b, one.best_b))))  # fmt: skip
    cards.scale(maximum)
    for name, texts, best in (("A", found.a, one.best_a), ("B", found.b, one.best_b)):
        if best is None:
            st.caption(f"It fires in no text of {name}.")
            continue
        text = texts[best]
        acts = text.activations(one.feature)
        st.caption(f"strongest in {name}: text {best + 1}")
        with st.container(border=True):
            st.html(tokens.text_block(tokens.spans(text.tokens, acts, maximum, peak=acts.index(max(acts)), lines=True)))
    cards.onward(one.feature, here="contrast")


def _best(texts: tuple[TextActivations, ...], best: int | None, feature: int) -> float:
    return 0.0 if best is None else max(texts[best].activations(feature))
