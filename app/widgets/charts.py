"""The app's figures: one blue, one orange, axes that name their unit, no empty margins. Numbers come ready-made."""

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from saelab.app.widgets.style import BLUE, theme
from saelab.features import Histogram

CONFIG = {"displayModeBar": False, "scrollZoom": False}
GAP = 1.012  # between bars, as a ratio: equally wide everywhere on a logarithmic axis
MARGIN = {"l": 0, "r": 0, "t": 8, "b": 0}


def draw(figure: go.Figure, key: str) -> None:
    """Put a figure on the page, without the tool bar that covers its corner."""
    st.plotly_chart(figure, key=key, config=CONFIG)


def density(histogram: Histogram) -> go.Figure:
    """How many features fire how often; features that never fire have no place on a logarithmic axis."""
    return _histogram(histogram, x="density (share of tokens on which a feature fires)", y="features", log_y=False)


def activation(histogram: Histogram, log_y: bool) -> go.Figure:
    """How strongly one feature fires, in bins of equal ratio."""
    return _histogram(histogram, x="activation", y="tokens", log_y=log_y)


def _histogram(histogram: Histogram, x: str, y: str, log_y: bool) -> go.Figure:
    """Bars between the given edges on a logarithmic axis, trimmed to the bins that hold something."""
    bins = _filled(histogram)
    bars = go.Bar(
        x=[low * GAP for low, _, _ in bins],
        width=[high / GAP - low * GAP for low, high, _ in bins],
        offset=0,
        y=[count for _, _, count in bins],
        customdata=[(f"{low:.3g}", f"{high:.3g}", f"{count:,}") for low, high, count in bins],
        hovertemplate=f"<b>%{{customdata[2]}}</b> {y}<br>%{{customdata[0]}} to %{{customdata[1]}}<extra></extra>",
        marker={"color": BLUE[theme()], "line": {"width": 0}},
    )
    figure = go.Figure(bars)
    figure.update_layout(height=225, margin=MARGIN, bargap=0, showlegend=False, hoverlabel={"align": "left"})
    figure.update_xaxes(title=x, type="log", **_log_ticks(), showgrid=False)
    figure.update_yaxes(title=y, rangemode="tozero")
    if log_y:
        figure.update_yaxes(type="log", **_log_ticks())
    return figure


def _filled(histogram: Histogram) -> list[tuple[float, float, int]]:
    """(low, high, count) from the first bin that holds any to the last, the bin that starts at zero left out."""
    bins = [
        (low, high, count)
        for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False)
        if low > 0
    ]
    held = [i for i, (_, _, count) in enumerate(bins) if count]
    return bins[held[0] : held[-1] + 1] if held else []


def _log_ticks() -> dict[str, Any]:
    """Ticks at powers of ten, written as powers where they are small."""
    return {"dtick": 1, "exponentformat": "power", "minexponent": 2}
