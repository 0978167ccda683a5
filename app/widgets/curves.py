"""The trainings of a folder and their curves, read again every two seconds while one of them runs."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import streamlit as st

from saelab.app.widgets import charts, notices, state, tables
from saelab.app.widgets.style import LINES, theme
from saelab.app.widgets.tokens import tick, visible
from saelab.errors import SaelabError
from saelab.train.history import Curve, Training, curves, trainings

OFTEN, SELDOM = 2.0, 15.0  # seconds between two looks at the files: while a training runs, and else
MOST_POINTS = 600  # of one line
FIRST = 3  # trainings shown until somebody chooses
USUAL = ("loss", "heldout fvu", "heldout l0", "heldout dead_in_training")
UNITS = {
    "loss": "training loss, in units of normalised rows",
    "heldout fvu": "FVU on held-out rows",
    "heldout l0": "L0: features per held-out row",
    "heldout dead_in_training": "dead: share that did not fire lately in training",
    "heldout dead_share": "share that fires on no held-out row",
    "heldout cosine": "cosine of row and reconstruction, held-out",
    "lr": "learning rate",
}
SHORT = {
    "heldout fvu": "FVU",
    "heldout l0": "L0",
    "heldout dead_in_training": "dead in training",
    "heldout dead_share": "silent",
    "lr": "learning rate",
}
DASHES = ("solid", "dash", "dot")


def overview(known: Sequence[Training]) -> None:
    """Table, choice and curves; its own fragment, so that nothing else is drawn again."""
    live = any(training.state == "training" for training in known)
    st.fragment(_overview, run_every=OFTEN if live else SELDOM)()


def _overview() -> None:
    known = trainings(state.folder())
    _table(known)
    names = [_name(training, known) for training in known]
    running = [name for name, training in zip(names, known, strict=True) if training.state == "training"]
    picked = st.multiselect("Runs to overlay", names, default=running or names[:FIRST], key="overlay")
    chosen = {name: training for name, training in zip(names, known, strict=True) if name in picked}
    try:
        found = {name: curves(training.folder) for name, training in chosen.items()}
    except SaelabError as error:
        notices.problem(error)
        return
    if not any(found.values()):
        notices.empty("No curves yet", "A training writes its first line after some steps; choose a run above.")
        return
    _grid(found)


def _name(training: Training, known: Sequence[Training]) -> str:
    several = len({one.run for one in known}) > 1
    return visible(f"{training.run} / {training.name}" if several else training.name)


def _table(known: Sequence[Training]) -> None:
    values = {
        "name": [_name(training, known) for training in known],
        "state": [_state(training) for training in known],
        "variant": [visible(training.variant) for training in known],
        "progress": [_share(training) for training in known],
        "rows": [training.rows for training in known],
        "fvu": [training.heldout.get("fvu") for training in known],
        "l0": [training.heldout.get("l0") for training in known],
        "dead": [_percent(training.heldout.get("dead_in_training")) for training in known],
        "kept": [len(training.checkpoints) for training in known],
    }
    columns = {
        "name": tables.TEXT("run"),
        "state": tables.TEXT("state", help="stopped: unfinished, and no line for a while. `saelab train` goes on."),
        "variant": tables.TEXT("variant", width="small"),
        "progress": st.column_config.ProgressColumn("progress", min_value=0.0, max_value=1.0, format="percent"),
        "rows": tables.NUMBER("rows", format="localized", help="Rows trained on so far."),
        "fvu": tables.NUMBER("FVU", format="%.3f", help="On held-out rows, at the last look."),
        "l0": tables.NUMBER("L0", format="%.1f", help="Features per held-out row, at the last look."),
        "dead": tables.NUMBER("dead %", format="%.1f", help="Features that did not fire lately in training."),
        "kept": tables.NUMBER("checkpoints", format="%d", help="The last one, and those kept on the way (`keep`)."),
    }
    st.dataframe(values, column_config=columns, hide_index=True, row_height=tables.ROW,
                 height=min(len(known) + 1, 9) * tables.ROW + 3)  # fmt: skip


def _state(training: Training) -> str:
    if training.state == "training" and training.quiet is not None:
        return f"training · last line {training.quiet:.0f} s ago"
    return training.state


def _share(training: Training) -> float | None:
    return min(1.0, training.rows / training.rows_wanted) if training.rows_wanted else None


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _grid(found: Mapping[str, Mapping[str, Curve]]) -> None:
    """One chart per figure that was asked for, two beside each other, a line per training in each."""
    there = sorted({figure for each in found.values() for figure in each}, key=lambda name: (name not in USUAL, name))
    usual = [name for name in USUAL if name in there] or there[:2]
    shown = st.pills("Figures", there, default=usual, selection_mode="multi", key="figures",
                     format_func=_short) or usual  # fmt: skip
    columns = st.columns(2, gap="large")
    for place, figure in enumerate(shown):
        with columns[place % 2]:
            st.caption(UNITS.get(figure, figure))
            lines = {name: each[figure] for name, each in found.items() if figure in each}
            charts.draw(line_chart(lines, log_y=figure == "loss"), key=f"curve {figure}")


def _short(figure: str) -> str:
    """A figure of metrics.jsonl as it is called."""
    return SHORT.get(figure, figure.removeprefix("heldout ").replace("_", " "))


def line_chart(lines: Mapping[str, Curve], log_y: bool) -> go.Figure:
    """A line per training over its rows; the same colour and dash for a training in every chart."""
    figure = go.Figure()
    colours = LINES[theme()]
    for place, (name, curve) in enumerate(lines.items()):
        points = curve.thinned(MOST_POINTS)
        few = len(points.rows) < 40
        figure.add_scatter(
            x=points.rows, y=points.values, name=tick(name), mode="lines+markers" if few else "lines",
            line={"color": colours[place % len(colours)], "width": 2,
                  "dash": DASHES[place // len(colours) % len(DASHES)]},
            marker={"size": 5}, hovertemplate=f"{tick(name)}<br>%{{x:,}} rows: <b>%{{y:.4g}}</b><extra></extra>",
        )  # fmt: skip
    figure.update_layout(height=230, margin=charts.MARGIN, showlegend=len(lines) > 1,
                         legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})  # fmt: skip
    figure.update_xaxes(title="rows trained on", rangemode="tozero", exponentformat="SI")
    figure.update_yaxes(type="log" if log_y else "linear", nticks=6, rangemode="nonnegative",
                        exponentformat="none")  # fmt: skip  # a share of 500µ is nobody's number
    return figure
