"""Tables: rows of frozen records as columns with units, and the row that was chosen."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from saelab.app.widgets.tokens import visible
from saelab.features import FeatureRow

NUMBER = st.column_config.NumberColumn
TEXT = st.column_config.TextColumn
ROW = 30  # pixels
F1 = st.column_config.ProgressColumn("F1", width=90, min_value=0.0, max_value=1.0, format="%.2f",
                                     help="Of the automatic label, on held-out documents.")  # fmt: skip
FEATURE = NUMBER("feature", format="%d", width="small")
LABEL = TEXT("label", width=150, help="What the feature stands for, when an evaluation has said so.")


def features(rows: Sequence[FeatureRow], key: str) -> int | None:
    """The table of features; the feature of the row that was clicked."""
    values: dict[str, list[Any]] = {
        "feature": [row.feature for row in rows],
        "label": [visible(row.label.text) if row.label else "" for row in rows],
        "f1": [row.f1 for row in rows],
        "density": [100 * row.density for row in rows],
        "count": [row.count for row in rows],
        "max": [row.max for row in rows],
        "mean": [row.mean for row in rows],
        "cosine": [row.cosine for row in rows],
    }
    columns = {
        "feature": FEATURE,
        "label": LABEL,
        "f1": F1,
        "density": NUMBER("density %", format="%.3f", help="Share of the counted tokens on which it fires."),
        "count": NUMBER("tokens", format="localized", help="Tokens on which it fires."),
        "max": NUMBER("max", format="%.3f", help="Its strongest activation."),
        "mean": NUMBER("mean", format="%.3f", help="Over the tokens on which it fires."),
        "cosine": NUMBER("enc·dec", format="%.3f", help="Cosine of encoder column and decoder row."),
    }
    return chosen(values, filled(columns, values), key, height=min(len(rows) + 1, 21) * ROW + 3)


def filled(columns: dict[str, Any], values: dict[str, list[Any]]) -> dict[str, Any]:
    """The columns that say something; None hides one that is empty throughout."""
    return {
        name: column if any(value not in (None, "") for value in values[name]) else None
        for name, column in columns.items()
    }


def chosen(values: dict[str, list[Any]], columns: dict[str, Any], key: str, height: int) -> int | None:
    state = st.dataframe(
        values, column_config=columns, hide_index=True, key=key, on_select="rerun", selection_mode="single-row",
        row_height=ROW, height=height,
    )  # fmt: skip
    picked = state.selection.rows
    return values["feature"][picked[0]] if picked else None
