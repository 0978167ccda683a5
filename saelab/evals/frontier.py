"""The frontier of a comparison as one HTML file: error and recovered loss against the number of active features."""

from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from saelab.evals.compare import Compared, Comparison
from saelab.page import html_list, html_page, html_table, write_page

# Okabe and Ito's colours, told apart by colour-blind readers; symbols tell apart what comes after eight.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8B5A2B", "#56B4E9", "#E69F00", "#555555")
SYMBOLS = ("circle", "square", "diamond", "cross")


def write_frontier(found: Comparison, path: Path) -> None:
    """Write table and picture to `path`, whose folder is made if need be."""
    means = found.by_settings()
    tables = [html_table(*found.table()), *([] if means is None else [html_table(*means)])]
    body = [*tables, figure(found), html_list(found.notes())]
    write_page(path, html_page("saelab compare", "SAEs compared", found.date, body))


def figure(found: Comparison) -> go.Figure:
    """FVU and CE recovered against L0; SAEs of one variant and size are joined."""
    picture = make_subplots(rows=1, cols=2, subplot_titles=("FVU, lower is better", "CE recovered, higher is better"))
    for number, (name, rows) in enumerate(families(found.rows).items()):
        colour, symbol = COLOURS[number % len(COLOURS)], SYMBOLS[number // len(COLOURS) % len(SYMBOLS)]
        for column, values in enumerate(([r.figures.fvu for r in rows], [r.figures.ce_recovered for r in rows])):
            picture.add_scatter(
                x=[row.figures.l0 for row in rows], y=values, mode="lines+markers", name=name, legendgroup=name,
                showlegend=column == 0, text=[row.name for row in rows], row=1, col=column + 1,
                marker={"color": colour, "symbol": symbol, "size": 9}, line={"color": colour},
                hovertemplate="%{text}<br>L0 %{x:.1f}<br>%{y:.4f}",
            )  # fmt: skip
    picture.update_xaxes(title="L0, active features per token", type="log")
    picture.update_layout(height=420, margin={"l": 0, "r": 20, "t": 40, "b": 0}, template="plotly_white")
    return picture


def families(rows: list[Compared]) -> dict[str, list[Compared]]:
    """SAEs of one variant and size, by rising L0."""
    found: dict[str, list[Compared]] = {}
    for row in sorted(rows, key=lambda one: one.figures.l0):
        found.setdefault(f"{row.variant}, {row.d_sae:,}", []).append(row)
    return found
