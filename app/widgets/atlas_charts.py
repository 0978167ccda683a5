"""The figures of the atlas: what passes the filter is coloured, the rest is grey, and a brush becomes a condition."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from saelab.app.widgets.charts import MARGIN
from saelab.app.widgets.style import BLUE, GREY, theme
from saelab.app.widgets.tokens import tick
from saelab.features import Atlas, Share

MOST_POINTS = 12_000  # drawn at once; a browser stays quick, and the eye sees no difference
HEIGHT = 330
OUTSIDE = {"light": "rgba(102, 112, 133, .28)", "dark": "rgba(152, 162, 179, .26)"}


def density_by_maximum(atlas: Atlas) -> go.Figure:
    """A point per feature that fires, both axes logarithmic; their values are the exponents, as brushes give them."""
    drawn = atlas.drawn(MOST_POINTS)
    fires = drawn[(atlas.density[drawn] > 0) & (atlas.max[drawn] > 0)]
    x, y = np.log10(atlas.density[fires]), np.log10(atlas.max[fires])
    figure = _points(fires, x, y, atlas.passes[fires])
    for axis, values, title in ((figure.update_xaxes, x, "density (share of tokens)"),
                                (figure.update_yaxes, y, "maximum activation")):  # fmt: skip
        places, texts = _powers(values)
        axis(title=title, tickvals=places, ticktext=texts)
    return figure


def decoder_map(atlas: Atlas) -> go.Figure:
    """A point per feature at the place of its decoder row on two principal components."""
    drawn = atlas.drawn(MOST_POINTS)
    figure = _points(drawn, atlas.pc1[drawn], atlas.pc2[drawn], atlas.passes[drawn])
    first, second = atlas.map_variance or (0.0, 0.0)
    figure.update_xaxes(title=f"pc1 ({first:.1%} of variance)")
    figure.update_yaxes(title=f"pc2 ({second:.1%} of variance)")
    return figure


def bars(shares: Sequence[Share], x: str, horizontal: bool = False) -> go.Figure:
    """Per kind how many features there are (grey) and how many of them pass (blue); a bar knows its condition."""
    names = [tick(share.name) for share in shares]
    known = [share.condition for share in shares]
    passing, outside = [share.passing for share in shares], [share.all - share.passing for share in shares]
    parts = (
        ("passing", passing, BLUE[theme()], "%{customdata[1]:,} pass"),
        ("outside", outside, OUTSIDE[theme()], "%{customdata[1]:,} do not pass"),
    )
    figure = go.Figure()
    for name, counts, colour, said in parts:
        where = {"x": counts, "y": names, "orientation": "h"} if horizontal else {"x": names, "y": counts}
        figure.add_bar(
            **where, name=name, marker={"color": colour, "line": {"width": 0}},
            customdata=list(zip(known, counts, names, strict=True)),
            hovertemplate=f"<b>%{{customdata[2]}}</b><br>{said}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", height=HEIGHT - 90, margin=MARGIN, showlegend=False, bargap=0.15)
    figure.update_xaxes(fixedrange=True)  # a drag would move the bars away
    figure.update_yaxes(fixedrange=True)
    if horizontal:
        figure.update_layout(height=max(120, 21 * len(shares) + 60))
        figure.update_yaxes(autorange="reversed")
        figure.update_xaxes(title="features")
    else:
        figure.update_xaxes(title=x, nticks=9)
        figure.update_yaxes(title="features")
    return figure


def condition_of(brush: Mapping[str, Any], x: str, y: str, exponents: bool) -> str | None:
    """A box on two columns as a condition; None when it is no box. `exponents`: its numbers are powers of ten."""
    boxes = brush.get("box") or []
    if not boxes:
        return None
    parts = []
    for name, ends in ((x, boxes[0].get("x")), (y, boxes[0].get("y"))):
        if not ends or len(ends) < 2 or not all(isinstance(end, int | float) and math.isfinite(end) for end in ends):
            return None
        low, high = sorted(10.0**end if exponents else float(end) for end in ends[:2])
        parts.append(f"{name} between {low:.4g} and {high:.4g}")
    return " and ".join(parts)


def kind_of(brush: Mapping[str, Any]) -> str | None:
    """The condition of the bars that were clicked."""
    conditions = list(dict.fromkeys(point["customdata"][0] for point in brush.get("points") or []))
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else "(" + " or ".join(f"({one})" for one in conditions) + ")"


def _points(feature: np.ndarray, x: np.ndarray, y: np.ndarray, passes: np.ndarray) -> go.Figure:
    """Two layers of points: grey those outside the filter, above them those that pass."""
    figure = go.Figure()
    for name, some, colour in (("outside", ~passes, OUTSIDE[theme()]), ("passing", passes, BLUE[theme()])):
        figure.add_scattergl(
            x=x[some], y=y[some], customdata=feature[some], mode="markers", name=name,
            marker={"color": colour, "size": 4 if len(x) > 3000 else 5, "opacity": 0.75 if name == "passing" else 1},
            hovertemplate="feature <b>%{customdata}</b><extra></extra>",
            selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 0.5}},
        )  # fmt: skip
    figure.update_layout(height=HEIGHT, margin=MARGIN, showlegend=False, dragmode="select",
                         newselection={"line": {"color": GREY[theme()], "width": 1}})  # fmt: skip
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False)
    return figure


def _powers(exponents: np.ndarray) -> tuple[list[float], list[str]]:
    """Ticks at whole exponents, written as numbers; at 2 and 5 times them too where there are few."""
    if not len(exponents):
        return [0.0], ["1"]
    powers = range(math.floor(exponents.min()), math.ceil(exponents.max()) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    return [math.log10(value) for value in values], [f"{value:g}" for value in values]
