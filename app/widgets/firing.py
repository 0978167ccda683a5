"""Which features fire on a text: the field for the text, the ranking, and the text shaded by one feature."""

from collections.abc import Sequence

import streamlit as st

from saelab.app.widgets import cards, links, notices, span, state, tables, tokens
from saelab.features import FiringFeature, Index, TextActivations, fires_on

RANKINGS = {
    "specificity": "strong here and rare elsewhere: max · ln((N + 1) / (n + 1))",
    "max": "the strongest activation on any token",
    "sum": "all activations on this text added up",
}


def own_text() -> str | None:
    """The text to run: the one just typed, else the one in the address; None when there is none yet."""
    linked, note = links.text(st.query_params.get("text"), "", state.LONGEST_TEXT)
    notices.note(note)
    with st.form("text", border=False):
        typed = st.text_area("Text", linked or state.SAMPLE, height=130, max_chars=state.LONGEST_TEXT)
        run = st.form_submit_button("Run", type="primary", icon=":material/play_arrow:")
    if run:
        st.query_params["text"] = typed or ""
        st.query_params.pop("feature", None)
        st.query_params.pop("span", None)
        return typed or ""
    return linked or None


def activations(text: str, index: Index) -> TextActivations:
    """What fires, computed once for a text."""

    def compute() -> TextActivations:
        with state.models() as (lm, sae):
            return fires_on(lm, sae, text, index=index)

    return state.once("activations", text, compute)


def ranking(found: TextActivations) -> int | None:
    """The features that fire, in the order asked for; the one that was clicked."""
    by = st.segmented_control("Rank by", tuple(RANKINGS), default="specificity", required=True, key="rank",
                              persist_state="session") or "specificity"  # fmt: skip
    st.caption(f"{tokens.markdown(RANKINGS[by])}. Tick a row to see where it fires.")
    chosen = span.pick(found)
    rows = found.ranking(by, limit=state.MOST_RANKED, span=chosen)
    n = len(found.ids) if chosen is None else chosen[1] - chosen[0] + 1
    if not rows:
        notices.empty("Nothing fires", f"No feature is above zero on these {n:,} tokens.")
        return None
    picked = _table(rows, found.tokens, key=f"ranking {by} {chosen} {hash(found.text)}")
    total = len(found.firing) if chosen is None else len(found.within(*chosen))
    st.caption(f"{total:,} features fire on {n:,} tokens; {len(rows):,} are listed.")
    return picked


def feature(picked: int | None, found: TextActivations, n: int) -> int:
    """Which feature shades the text: the one clicked, the one in the link, else the most specific."""
    best = found.ranking("specificity", limit=1, span=span.chosen_in(found))
    first = best[0].feature if best else 0
    chosen, note = links.feature(st.query_params.get("feature"), n, first)
    notices.note(note if picked is None else None)
    chosen = chosen if picked is None else picked
    st.query_params["feature"] = str(chosen)
    return chosen


def where(found: TextActivations, chosen: int, index: Index) -> None:
    """The text, each token as dark as the feature is strong there, on the scale of the whole index."""
    acts = found.activations(chosen)
    maximum = max([index.stats(chosen).max, *acts])
    peak = acts.index(max(acts)) if any(acts) else None
    label = index.labels.get(chosen)
    st.subheader(f"Feature {chosen}" + (f" · {tokens.markdown(label.text)}" if label else ""), anchor=False)
    cards.scale(maximum)
    with st.container(border=True):
        st.html(tokens.text_block(tokens.spans(found.tokens, acts, maximum, peak=peak, lines=True)))
    if not any(acts):
        st.caption("It does not fire on this text.")
    cards.onward(chosen, here="try_text")


def _table(rows: Sequence[FiringFeature], pieces: Sequence[str], key: str) -> int | None:
    values = {
        "feature": [row.feature for row in rows],
        "label": [tokens.visible(row.label.text) if row.label else "" for row in rows],
        "specificity": [row.specificity for row in rows],
        "max": [row.max for row in rows],
        "sum": [row.sum for row in rows],
        "tokens": [row.tokens for row in rows],
        "at": [tokens.named(pieces[row.peak]) for row in rows],
    }
    columns = {
        "feature": tables.FEATURE,
        "label": tables.LABEL,
        "specificity": tables.NUMBER("specificity", format="%.2f", help="Strong here and rare elsewhere."),
        "max": tables.NUMBER("max", format="%.3f", help="The strongest activation on any token."),
        "sum": tables.NUMBER("sum", format="%.2f", help="All activations on this text added up."),
        "tokens": tables.NUMBER("tokens", format="%d", help="Tokens of this text on which it fires."),
        "at": tables.TEXT("strongest on", width="small"),
    }
    return tables.chosen(values, tables.filled(columns, values), key, height=min(len(rows) + 1, 16) * tables.ROW + 3)
