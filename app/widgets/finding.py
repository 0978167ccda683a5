"""Searching features without running a text: by a token they fire on or promote, by the words of labels and notes."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from saelab.app.widgets import notices, stored, tables, tokens
from saelab.features import Index, Label, TokenAnswer

WAYS = {
    "fire on": "Features that fire on a token of the corpus, over every activation of the index.",
    "promote": "Features whose strongest logit effects include a token that contains the text.",
    "are called": "Features whose label or note holds the words: BM25, best first; a word also finds what it begins.",
}
LIMIT = 100
F1 = st.column_config.ProgressColumn("F1", min_value=0.0, max_value=1.0, format="%.2f", help="Of firing as its sign.")
HOW = (
    "precision: its firings that are on these tokens / all its firings; recall: occurrences of the tokens on which it "
    "fires / all; F1 = 2 · both / (firings + occurrences). Spaces around a token do not count."
)


def form() -> tuple[str, str, bool]:
    """(which way, what for, whether tokens that only contain it count). All of it stands in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        way = st.segmented_control("Features that", tuple(WAYS), default="fire on", required=True, key="by",
                                   bind="query-params") or "fire on"  # fmt: skip
        name, example = ("Words", "comment") if way == "are called" else ("Token", "return")
        text = st.text_input(name, key="q", bind="query-params", max_chars=200, icon=":material/search:",
                             placeholder=example)  # fmt: skip
        contains = st.toggle("also inside longer tokens", key="inside", bind="query-params", disabled=way != "fire on")
    st.caption(WAYS[way])
    return way, (text or "").strip(), contains


def answer(index: Index, way: str, text: str, contains: bool) -> int | None:
    """The features found; the one that was clicked."""
    if way == "fire on":
        return _fires(index, text, contains)
    return _promotes(index, text) if way == "promote" else _called(index, text)


def _fires(index: Index, text: str, contains: bool) -> int | None:
    store = stored.store()
    if store is None:
        notices.empty(
            "Not here", "Which tokens were read is in the run's store, which is not here (no folder `store`)."
        )
        return None
    found = _firing(str(index.path), index.generation, store.hash, text, contains)
    if not found.occurrences:
        notices.empty("No such token", f"No token of the corpus is {text!r}. Try it inside longer tokens.")
        return None
    labels = index.labels
    st.caption(f"{tokens.markdown(', '.join(map(tokens.quoted, found.tokens[:12])))}"
               f"{' …' if len(found.tokens) > 12 else ''}: {found.occurrences:,} of {index.n_tokens:,} tokens. "
               "Tick a row to open the feature.", help=HOW)  # fmt: skip
    values = {
        **_who([one.feature for one in found.firing], labels),
        "f1": [one.f1 for one in found.firing],
        "precision": [one.precision for one in found.firing],
        "recall": [one.recall for one in found.firing],
        "firings": [one.count for one in found.firing],
        "max": [one.max for one in found.firing],
    }
    columns = {
        "f1": F1,
        "precision": tables.NUMBER("precision", format="%.3f", help="Share of its firings that are on these tokens."),
        "recall": tables.NUMBER("recall", format="%.3f", help="Share of these tokens on which it fires."),
        "firings": tables.NUMBER("firings", format="localized", help="Of these tokens, those on which it fires."),
        "max": tables.NUMBER("max", format="%.3f", help="Its strongest activation on them."),
    }
    return _table(values, columns, f"fires {text} {contains}")


@st.cache_data(max_entries=64, show_spinner="Counting over every activation …")
def _firing(index: str, generation: int, store_hash: str, text: str, contains: bool) -> TokenAnswer:
    """Cached by what it was asked of and for."""
    store = stored.store()
    assert store is not None
    return Index.open(index).search_fires(store, text, contains, LIMIT)


def _promotes(index: Index, text: str) -> int | None:
    found = index.search_promoted(text, LIMIT)
    if not found:
        notices.empty("Nothing found", f"No feature has a token with {text!r} among those it promotes most.")
        return None
    values = {
        **_who([one.feature for one in found], index.labels),
        "token": [tokens.named(one.effect.token) for one in found],
        "logit": [one.effect.logit for one in found],
    }
    columns = {
        "token": tables.TEXT("promotes", width="small"),
        "logit": tables.NUMBER(
            "Δ logit", format="%.3f", help="Per unit of activation. " + str(index.facts.get("how logits"))
        ),
    }
    return _table(values, columns, f"promotes {text}")


def _called(index: Index, text: str) -> int | None:
    book = index.notebook
    notices.note(book.problem)
    found, labels, measured = index.search_words(text, LIMIT), index.labels, index.automatic
    if not found:
        notices.empty("Nothing found", f"No label or note matches {text!r}.")
        return None
    notes = [book.notes[one].text if one in book.notes else "" for one in found]
    values = {
        **_who(found, labels),
        "f1": [measured[one].f1 if one in measured else None for one in found],
        "note": [tokens.visible(note) for note in notes],
    }
    return _table(values, {"f1": tables.F1, "note": tables.TEXT("note")}, f"called {text}")


def _who(features: Sequence[int], labels: dict[int, Label]) -> dict[str, list[Any]]:
    said = [tokens.visible(labels[one].text) if one in labels else "" for one in features]
    return {"feature": list(features), "label": said}


def _table(values: dict[str, list[Any]], columns: dict[str, Any], key: str) -> int | None:
    drawn = {"feature": tables.FEATURE, "label": tables.TEXT("label", width="medium"), **columns}
    height = min(len(values["feature"]) + 1, 21) * tables.ROW + 3
    return tables.chosen(values, tables.filled(drawn, values), key, height)
