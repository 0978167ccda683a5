"""The parts of a feature's page, each one HTML string or a handful of links."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import streamlit as st

from saelab.app.widgets import notices, pickers, tokens
from saelab.features import Coactive, Example, FeatureCard, Label, LogitEffects, Neighbour

SHOWN = 10  # neighbours, co-active features, and tokens per side


def examples(found: Sequence[Example], maximum: float, lines: bool) -> None:
    """Examples as one element; all share the scale from 0 to the feature's maximum."""
    st.html(tokens.strips(tokens.example_strip(example, maximum, lines) for example in found))


def scale(maximum: float) -> None:
    """What the shades mean."""
    top = tokens.escaped(tokens.figure(maximum))
    st.html(f'<span class="sl-key">0 <b></b> {top} &nbsp;activation; outlined: the strongest token</span>')


def by_quantile(card: FeatureCard, lines: bool) -> None:
    """Samples from each equal-count group of contexts, strongest group first."""
    groups = len(card.quantiles)
    for q, found in reversed(list(enumerate(card.quantiles))):
        if found:
            st.caption(f"rank quantile {q + 1} of {groups}" + (" · strongest" if q + 1 == groups else ""))
            examples(found, card.stats.max, lines)


def effects(found: LogitEffects | None, how: str) -> None:
    """The tokens a feature promotes and suppresses, side by side, with the variant of the logits."""
    st.subheader("What it writes", anchor=False, help=how or None)
    if found is None:
        notices.empty("Not known", "The index has no language model, or its site no way to the logits.")
        return
    up, down = st.columns(2, gap="medium")
    up.html(tokens.changes("promotes", [astuple(one) for one in found.promoted[:SHOWN]], "up"))
    down.html(tokens.changes("suppresses", [astuple(one) for one in found.suppressed[:SHOWN]], "down"))
    st.caption("Δ logit per unit of activation: " + tokens.markdown(how))


def related(near: Sequence[Neighbour], together: Sequence[Coactive], how: dict[str, Any]) -> None:
    """Links to features that point the same way, and to those that fire on the same tokens."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Points the same way", anchor=False, help=how.get("how neighbours"))
        _links("near", [(one.feature, one.cosine, one.label) for one in near], "No decoder row is near.")
    with right:
        st.subheader("Fires together", anchor=False, help=how.get("how coactive"))
        _links(
            "together", [(one.feature, one.jaccard, one.label) for one in together], "It shares its tokens with none."
        )


def _links(name: str, found: Sequence[tuple[int, float, Label | None]], nothing: str) -> None:
    if not found:
        st.caption(nothing)
    with st.container(gap=None, key=f"links {name}"):
        for feature, value, label in found[:SHOWN]:
            stands_for = f" {tokens.markdown(label.text)}" if label else ""
            query = {**pickers.here(), "feature": str(feature)}
            st.page_link("views/feature.py", label=f"`{value:.2f}` **{feature}**{stands_for}", icon="",
                         width="stretch", query_params=query)  # fmt: skip


def onward(feature: int, here: str = "feature") -> None:
    """From the page `here` to the others that show or use this feature."""
    pages = {
        "feature": ("Feature", ":material/scatter_plot:", {"feature": str(feature)}),
        "try_text": ("Try a text", ":material/edit_note:", {"feature": str(feature)}),
        "steer": ("Steer", ":material/alt_route:", {"steer": f"{feature}:1"}),
        "ablate": ("Ablate", ":material/content_cut:", {"feature": str(feature)}),
    }
    with st.container(horizontal=True, gap="small", horizontal_alignment="right"):
        for name, (label, icon, query) in pages.items():
            if name != here:
                st.page_link(f"views/{name}.py", label=label, icon=icon, query_params={**pickers.here(), **query})
