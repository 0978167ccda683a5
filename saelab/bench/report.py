"""The table of `saelab bench train` and its pictures as one HTML file that needs nothing else, plotly included."""

from pathlib import Path

import plotly.graph_objects as go

from saelab.bench.peers.libraries import FLOOR, OWN
from saelab.bench.train_result import Row, TrainBench
from saelab.page import html_list, html_page, html_table, write_page

BLUE, ORANGE, GREEN, PURPLE, BROWN, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#8B5A2B", "#888888"
COLOURS = {
    OWN.name: BLUE,
    "sae-lens": ORANGE,
    "eai-sparsify": GREEN,
    "dictionary-learning": PURPLE,
    "dense": BROWN,
    FLOOR.name: GREY,
}
MARGIN = {"l": 0, "r": 20, "t": 40, "b": 0}


def write_report(bench: TrainBench, path: Path) -> None:
    """Write the report to `path`, whose folder is made if need be."""
    write_page(path, html(bench))


def html(bench: TrainBench) -> str:
    """The whole page."""
    figures = [one for one in (bars(bench), curve(bench)) if one is not None]
    where = ", ".join(f"{key} {value}" for key, value in bench.machine.items() if value is not None)
    body = [html_table(*bench.table()), *figures, html_list(bench.notes)]
    return html_page("saelab bench train", f"Training step: {bench.title}", f"{bench.date}; {where}", body)


def bars(bench: TrainBench) -> go.Figure:
    """ms a step at the main batch size, without and with dead features."""
    rows = [row for row in bench.rows if row.batch == bench.rows[0].batch][::-1]  # plotly draws from below
    names = [f"{row.library}, {row.setting}" for row in rows]
    colours = [COLOURS[row.library] for row in rows]
    plain = go.Bar(
        y=names, x=[row.ms_per_step for row in rows], orientation="h", name="no feature dead",
        marker={"color": colours},
        error_x={"array": [row.ms_p90 - row.ms_per_step for row in rows],
                 "arrayminus": [row.ms_per_step - row.ms_p10 for row in rows], "thickness": 1},
    )  # fmt: skip
    dead = go.Bar(
        y=names, x=[row.ms_with_dead for row in rows], orientation="h", name="one feature in 16 dead (lighter)",
        marker={"color": colours, "opacity": 0.4},
    )  # fmt: skip
    figure = go.Figure([dead, plain])
    figure.update_layout(title="Whole step, medians; whiskers from the 10th to the 90th percentile", margin=MARGIN,
                         height=100 + 45 * len(rows), showlegend=False, template="simple_white")  # fmt: skip
    figure.update_xaxes(title="ms per step; the lighter bar: one feature in 16 dead, AuxK at work", rangemode="tozero")
    return figure


def curve(bench: TrainBench) -> go.Figure | None:
    """Rows per second over the batch size; None when only one was timed."""
    if len({row.batch for row in bench.rows}) == 1:
        return None
    series: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(bench.rows, key=lambda one: one.batch):
        series.setdefault((row.library, row.setting), []).append(row)
    lines = [
        go.Scatter(
            x=[row.batch for row in rows], y=[row.tokens_per_s for row in rows], name=", ".join(key),
            line={"color": COLOURS[key[0]], "dash": "dot" if key[1] == "default" and key[0] != OWN.name else "solid"},
        )
        for key, rows in series.items()
    ]  # fmt: skip
    figure = go.Figure(lines)
    figure.update_layout(title="Throughput over the batch size", margin=MARGIN, height=420, template="simple_white")
    figure.update_xaxes(title="batch (rows)", type="log", tickvals=sorted({row.batch for row in bench.rows}))
    figure.update_yaxes(title="rows per second", type="log")
    return figure
