"""An attribution as figures, as a table, as estimate against measurement, and on the tokens of the text."""

from collections.abc import Mapping

import plotly.graph_objects as go
import streamlit as st

from saelab.app.widgets import cards, charts, figures, tables, tokens
from saelab.app.widgets.style import BLUE, GREY, ORANGE, theme
from saelab.features import Index, Label
from saelab.intervene import Attributed, Attribution

NUMBER, TEXT = tables.NUMBER, tables.TEXT
CORRELATION = "Of attribution and ablation over the verified features, the error term left out."
AGREE = (
    "Each point is a verified feature; on the line, the gradient says what the ablation shows. Off it, the model is "
    "not linear between the feature as it is and the feature at zero."
)


def tiles(found: Attribution) -> None:
    """The attribution in a row of numbers."""
    about = f"L in this text, at {found.site}."
    shown = [
        (tokens.markdown(found.target), f"{found.value:.3f}", about),
        ("features that fire", f"{found.firing:,}", "On any token that counts: no BOS, no special tokens."),
        ("verified by ablation", f"{found.verified:,}", "Those of the largest attributions, each ablated alone."),
        ("Pearson", _number(found.pearson), CORRELATION),
        ("Spearman", _number(found.spearman), CORRELATION),
    ]
    if not found.error_kept:
        shown[0] = (shown[0][0], shown[0][1], f"{about} With the error it is {found.unedited:.3f}.")
    figures.tiles_row(shown)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def table(found: Attribution, index: Index) -> int | None:
    """The features by falling size of their attribution, both numbers side by side; the one that was ticked."""
    labels, rows = index.labels, found.features
    values = {
        "feature": [one.feature for one in rows],
        "label": [_label(one, labels) for one in rows],
        "attribution": [one.attribution for one in rows],
        "ablated": [one.ablated for one in rows],
        "max": [one.activation for one in rows],
        "tokens": [one.tokens for one in rows],
    }
    columns = {
        "feature": tables.FEATURE,
        "label": tables.LABEL,
        "attribution": NUMBER("attribution", format="%+.4f", help="By gradient: Σ f · dL/df over the text."),
        "ablated": NUMBER("ablated", format="%+.4f", help="L less L with the feature at zero on every token."),
        "max": NUMBER("max", format="%.3f", help="Its strongest activation in this text."),
        "tokens": NUMBER("tokens", format="%d", help="Of this text, on which it fires."),
    }
    picked = tables.chosen(values, tables.filled(columns, values), f"attributed {hash(found)}",
                           height=min(len(rows) + 1, 16) * tables.ROW + 3)  # fmt: skip
    st.caption(_error(found.error))
    return picked


def _label(one: Attributed, labels: Mapping[int, Label]) -> str:
    known = labels.get(-1 if one.feature is None else one.feature)
    return tokens.visible(known.text) if known else ""


def _error(error: Attributed | None) -> str:
    if error is None:
        return "The error term is dropped: the model reads what the SAE reproduces."
    return (
        f"Error term, what the SAE does not reproduce: attribution {error.attribution:+.4f}, "
        f"ablated {error.ablated:+.4f}. Tick a row to see where in the text it comes from."
    )


def agreement(found: Attribution) -> None:
    """Estimate against measurement."""
    st.subheader("Does the ablation agree?", anchor=False)
    charts.draw(figure(found), key="agreement")
    st.caption(AGREE)


def figure(found: Attribution) -> go.Figure:
    """Attribution (x) against ablation (y), the error term in orange, over the line where they are equal."""
    verified = [one for one in found.features if one.ablated is not None]
    points = [("feature", verified, BLUE), ("error term", [found.error] if found.error else [], ORANGE)]
    every = [value for one in [*verified, *points[1][1]] for value in (one.attribution, one.ablated or 0.0)]
    ends = [min(every, default=0.0), max(every, default=1.0)]
    chart = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", hoverinfo="skip", name="equal",
                                 line={"color": GREY[theme()], "dash": "dot", "width": 1}))  # fmt: skip
    for name, some, hue in points:
        chart.add_scatter(
            x=[one.attribution for one in some], y=[one.ablated for one in some], mode="markers", name=name,
            marker={"color": hue[theme()], "size": 8}, customdata=[str(one.feature) for one in some],
            hovertemplate=f"<b>{name}{' %{customdata}' if name == 'feature' else ''}</b>"
                          "<br>attribution %{x:.4f}<br>ablated %{y:.4f}<extra></extra>",
        )  # fmt: skip
    chart.update_layout(
        height=300,
        margin={**charts.MARGIN, "t": 30},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    chart.update_xaxes(title="attribution (unit of L)", zeroline=True)
    chart.update_yaxes(title="ablated (unit of L)", zeroline=True)
    return chart


def where(found: Attribution, picked: int | None, index: Index) -> None:
    """The text, each token as dark as what the picked feature contributes there: blue above zero, orange below."""
    one = next((one for one in found.features if one.feature == picked), found.features[0])
    assert one.feature is not None
    label = index.labels.get(one.feature)
    st.subheader(f"Feature {one.feature}" + (f" · {tokens.markdown(label.text)}" if label else ""), anchor=False)
    strongest = max(map(abs, one.by_token))
    with st.container(border=True):
        st.html(tokens.text_block(tokens.spans(found.tokens, one.by_token, strongest, lines=True)))
    st.caption("Its attribution token by token: blue raises L, orange lowers it; point at a token for the number.")
    cards.onward(one.feature)
