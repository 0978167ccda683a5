"""Two checkpoints side by side: the choice, the figures of all features, and the features that changed most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from saelab.app.catalogue import Choice
from saelab.app.widgets import charts, figures, notices, state, tables
from saelab.app.widgets.style import BLUE, theme
from saelab.app.widgets.tokens import visible
from saelab.errors import SaelabError
from saelab.features import Drift
from saelab.runs import drift_of, index_folder
from saelab.train.history import Kept, Training

DEFINITIONS = {
    "median cosine": "Cosine of a feature's decoder row in A and in B, the median over all features.",
    "born": "Dead in A, alive in B.",
    "died": "Alive in A, dead in B.",
    "median change of density, factor": "Over features alive in both: by which factor density rose or fell.",
    "mean overlap of examples": "Tokens of the 20 strongest examples: those of both / those of either.",
}
SORTS = {"cosine": "turned most", "density": "density changed most", "overlap": "other examples", "born": "born",
         "died": "died"}  # fmt: skip
ROWS = 100


def pair(known: Sequence[Training]) -> tuple[Kept, Kept] | None:
    """The two checkpoints to compare: by default the first and the last of the training with the most of them."""
    named = {_name(training, kept): kept for training in known for kept in training.checkpoints}
    if len(named) < 2:
        notices.empty("One checkpoint, nothing beside it", "Train with keep: 1 to keep one at every look at held-out "
                      "rows, or train another SAE on this site.")  # fmt: skip
        return None
    most = max(known, key=lambda training: len(training.checkpoints))
    usual = [_name(most, kept) for kept in most.checkpoints]
    first, last = (usual[0], usual[-1]) if len(usual) > 1 else list(named)[:2]
    left, right = st.columns(2, gap="large")
    options = list(named)
    a = left.selectbox("A", options, index=options.index(first), key="a", bind="query-params")
    b = right.selectbox("B", options, index=options.index(last), key="b", bind="query-params")
    return named[a], named[b]


def _name(training: Training, kept: Kept) -> str:
    fvu = "" if kept.fvu is None else f" · FVU {kept.fvu:.3f}"
    return visible(f"{training.run} / {training.name} · step {kept.step:,}{fvu}")


def of(a: Kept, b: Kept) -> Drift:
    """The comparison, computed once for these files."""
    return _drift(str(a.folder), str(b.folder), (_stamp(a.folder), _stamp(b.folder)))


@st.cache_resource(max_entries=4, show_spinner="Comparing decoder rows …")
def _drift(a: str, b: str, stamps: tuple[Any, ...]) -> Drift:
    return drift_of(Path(a), Path(b))


def _stamp(folder: Path) -> tuple[float, ...]:
    """Changes when the checkpoint or its index does."""
    files = (folder / "cfg.json", index_folder(folder) / "CURRENT")
    return tuple(file.stat().st_mtime if file.is_file() else 0.0 for file in files)


def tiles(found: Drift) -> None:
    """The figures of all features; a dash for what cannot be told."""
    shown = []
    for name, value in found.summary().items():
        text = "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
        shown.append((name, text, DEFINITIONS.get(name, "")))
    figures.tiles_row(shown)
    paired = "number by number" if found.same_numbers else "each feature of A beside B's nearest by decoder cosine"
    st.caption(f"Paired {paired}. A feature lives when it {visible(found.lives)}.")


def cosines(found: Drift) -> None:
    """How far decoder rows turned."""
    edges = np.linspace(-1, 1, 41)
    counts, _ = np.histogram(found.cosine, edges)
    held = np.flatnonzero(counts)
    first, last = held[0], held[-1] + 1
    middles = ((edges[:-1] + edges[1:]) / 2)[first:last]
    said = "cosine about %{x:.2f}: <b>%{y:,}</b> features<extra></extra>"
    bars = go.Bar(x=middles, y=counts[first:last], width=0.046, marker={"color": BLUE[theme()]}, hovertemplate=said)
    figure = go.Figure(bars)
    figure.update_layout(height=280, margin=charts.MARGIN)
    figure.update_xaxes(title="cosine of a feature's decoder rows in A and B")
    figure.update_yaxes(title="features")
    charts.draw(figure, key="drift cosine")


def densities(found: Drift) -> None:
    """Density in A against density in B."""
    if found.density_a is None or found.density_b is None:
        notices.empty("Densities are not known", "Index both checkpoints with saelab index to compare what fires.")
        return
    fires = np.flatnonzero((found.density_a > 0) & (found.density_b > 0))
    some = fires[:: max(1, len(fires) // 8000)]
    a, b = found.density_a[some], found.density_b[some]
    figure = go.Figure(go.Scattergl(x=a, y=b, mode="markers", customdata=some, showlegend=False,
                                    marker={"color": BLUE[theme()], "size": 4, "opacity": 0.5},
                                    hovertemplate="feature <b>%{customdata}</b>: %{x:.3g} → %{y:.3g}"
                                    "<extra></extra>"))  # fmt: skip
    if len(some):
        ends = [min(a.min(), b.min()), max(a.max(), b.max())]
        figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "width": 1, "color": "grey"},
                           hoverinfo="skip", showlegend=False)  # fmt: skip
    figure.update_layout(height=280, margin=charts.MARGIN)
    ticks = {"type": "log", "dtick": 1, "exponentformat": "power", "minexponent": 2}
    figure.update_xaxes(title="density in A", **ticks)
    figure.update_yaxes(title="density in B", **ticks)
    charts.draw(figure, key="drift density")


def changed(found: Drift) -> int | None:
    """The features that changed most; the one that was chosen, by its number in B."""
    sorts = [sort for sort in SORTS if found.rows(sort, 1)]
    by = st.segmented_control("Show", sorts, default="cosine", required=True, key="drift by",
                              format_func=SORTS.__getitem__) or "cosine"  # fmt: skip
    rows = found.rows(by, ROWS)
    values: dict[str, list[Any]] = {
        "feature": [row.feature for row in rows],
        "partner": [row.partner for row in rows],
        "cosine": [row.cosine for row in rows],
        "density a": [None if row.density_a is None else 100 * row.density_a for row in rows],
        "density b": [None if row.density_b is None else 100 * row.density_b for row in rows],
        "overlap": [row.overlap for row in rows],
        "fate": [row.fate for row in rows],
    }
    columns = {
        "feature": tables.NUMBER("feature of A", format="%d"),
        "partner": None if found.same_numbers else tables.NUMBER("nearest in B", format="%d"),
        "cosine": tables.NUMBER("cosine", format="%.3f", help="Of the two decoder rows."),
        "density a": tables.NUMBER("density in A %", format="%.3f"),
        "density b": tables.NUMBER("density in B %", format="%.3f"),
        "overlap": tables.NUMBER("examples in common", format="%.2f", help=DEFINITIONS["mean overlap of examples"]),
        "fate": tables.TEXT("", width="small"),
    }
    shown = tables.filled({name: column for name, column in columns.items() if column}, values) | (
        {"partner": None} if found.same_numbers else {}
    )
    picked = tables.chosen(values, shown, key=f"drift table {by}", height=min(len(rows) + 1, 14) * tables.ROW + 3)
    return None if picked is None else int(found.partner[picked])


def open_feature(kept: Kept, feature: int) -> None:
    """The feature's page in this checkpoint's index, or how to make one."""
    folder = index_folder(kept.folder)
    if not (folder / "CURRENT").is_file():
        raise SaelabError(f"{kept.folder.name} has no feature index.\n  fix:   saelab index {kept.folder}")
    run, name = folder.parent.parent.name, folder.name
    st.session_state[state.CHOICE] = Choice(run=run, sae=name, index=folder)
    st.switch_page("views/feature.py", query_params={"run": run, "sae": name, "feature": str(feature)})
