"""An ablation as figures, as a chart over the text's tokens, and as a table."""

from dataclasses import astuple

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from saelab.app.widgets import charts, figures, tables, tokens
from saelab.app.widgets.style import BLUE, ORANGE, theme
from saelab.intervene import Ablation

PANELS = ("Δ logit", "Δ loss<br>(nats)", "KL<br>(nats)")
NUMBER, TEXT = tables.NUMBER, tables.TEXT
FIRES = "Where any of the features is above zero. On BOS and other special tokens they are left as they are."
SPLICE = "Mean KL (nats) of the model reading the reproduction from the model as it is: what dropping the error costs."


def tiles(result: Ablation) -> None:
    """The ablation in four numbers."""
    losses = [loss for loss in result.full.loss if loss is not None]
    fires = sum(1 for acts in result.activations if any(acts))
    mean_loss = f"{sum(losses) / len(losses):+.4f}" if losses else "–"
    tiles = [
        ("tokens where it fires", f"{fires} of {len(result.tokens)}", FIRES),
        ("mean Δ loss (nats)", mean_loss, "Ablated minus clean, over all next tokens; above zero, the feature helped."),
        ("largest KL (nats)", f"{max(result.full.kl):.4f}", "KL(clean ‖ ablated) where it is largest."),
        ("site", result.site, "Where the features are taken away."),
    ]
    if not result.error_kept:
        cost = sum(result.splice_kl) / len(result.splice_kl)
        tiles.insert(3, ("KL of the lost error", f"{cost:.4f}", SPLICE))
    figures.tiles_row(tiles)


def draw(result: Ablation) -> None:
    """The chart, with what its two colours mean."""
    charts.draw(figure(result), key="ablation")
    follows = "the token that comes next" if result.target is None else f"“{tokens.named(result.target)}”"
    clean = "the model as it is" if result.error_kept else "the model reading the reproduction, without its error"
    st.caption(tokens.markdown(
        f"Δ = ablated − clean, where clean is {clean}. Logit: of {follows}. Full: the model runs again from the site "
        "on. Direct: only the last residual changes, by what the features write; the final norm's scale is that of the "
        "changed residual, not frozen."
    ))  # fmt: skip


def figure(result: Ablation) -> go.Figure:
    """Three panels over one axis of tokens: Δlogit, Δloss and KL, in full (blue) and directly (orange)."""
    chart = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for name, effect, hue in (("full", result.full, BLUE[theme()]), ("direct", result.direct, ORANGE[theme()])):
        for row, values in enumerate((effect.logit, effect.loss, effect.kl), start=1):
            chart.add_trace(_bars(name, values, hue, legend=row == 1), row=row, col=1)
    chart.update_layout(
        height=500, margin={**charts.MARGIN, "t": 28}, bargap=0.25, bargroupgap=0.0, hovermode="x unified",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )  # fmt: skip
    for row, title in enumerate(PANELS, start=1):
        chart.update_yaxes(title=title, row=row, col=1, zeroline=True)
    labels = [tokens.tick(token) for token in result.tokens]
    chart.update_xaxes(
        tickmode="array", tickvals=list(range(len(labels))), ticktext=labels, tickangle=-90, showgrid=False,
        tickfont={"family": "Source Code Pro, monospace", "size": 11}, range=[-0.6, len(labels) - 0.4],
    )  # fmt: skip
    chart.update_xaxes(title="token of the text", row=3, col=1)
    return chart


def _bars(name: str, values: tuple[float | None, ...], hue: str, legend: bool) -> go.Bar:
    return go.Bar(
        name=name, x=list(range(len(values))), y=list(values), marker={"color": hue, "line": {"width": 0}},
        legendgroup=name, showlegend=legend, hovertemplate="%{y:.4f}",
    )  # fmt: skip


def table(result: Ablation) -> None:
    """What an ablation changes, a line per token."""
    names = ("token", "activation", "next", "full", "direct", "loss", "kl")
    rows = [
        (tokens.named(token), act, None if following is None else tokens.named(following), *numbers)
        for token, act, following, *numbers in result.rows()
    ]
    columns = {
        "token": TEXT("token", width="small"),
        "activation": NUMBER("activation", format="%.3f", help="Of the ablated features, added up."),
        "next": TEXT("next token", width="small"),
        "full": NUMBER("Δlogit full", format="%.3f", help="The model runs again from the site on."),
        "direct": NUMBER("Δlogit direct", format="%.3f", help="Only the last residual changes."),
        "loss": NUMBER("Δloss (nats)", format="%.4f"),
        "kl": NUMBER("KL (nats)", format="%.4f", help="KL(clean ‖ ablated)."),
    }
    values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    height = min(len(rows) + 1, 16) * tables.ROW + 3
    st.dataframe(values, column_config=columns, hide_index=True, row_height=tables.ROW, height=height)


def changed_tokens(result: Ablation) -> None:
    """The tokens whose logits change most after one position, at first the one that changes most."""
    places = range(len(result.tokens))
    most = max(places, key=lambda place: result.full.kl[place])
    place = st.selectbox("Predictions after token", places, index=most,
                         format_func=lambda i: f"{i}: {tokens.named(result.tokens[i])}")  # fmt: skip
    up, down = st.columns(2, gap="medium")
    up.html(tokens.changes("logit rises", [astuple(one) for one in result.full.raised[place]], "up"))
    down.html(tokens.changes("logit falls", [astuple(one) for one in result.full.lowered[place]], "down"))
