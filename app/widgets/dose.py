"""A dose curve: what a feature does as its strength grows, beside controls that move the site just as far."""

from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from saelab.app.widgets import charts, notices, state, tables, tokens
from saelab.app.widgets.recipe import Recipe
from saelab.app.widgets.style import BLUE, GREY, ORANGE, theme
from saelab.features import Index
from saelab.intervene import DoseCurve, dose_curve

SEEDS, MOST_WRITTEN = 4, 40  # continuations of each strength, and tokens of each
NAMES = {"feature": "the feature", "random": "random direction", "other": "another feature"}
PANELS = ("probability of the<br>promoted tokens", "KL of the next<br>token (nats)", "perplexity", "repetition")
HOW = (
    "Probability and KL: of the next token after the prompt. Perplexity: of {seeds} continuations under the unsteered "
    "model. Repetition: share of their 3-grams that stood there before. The controls move the site as far, in a random "
    "direction and along feature {other}. Worth steering with where the blue curve of the first panel rises and the "
    "others' does not, before perplexity and repetition do."
)


@dataclass
class Shown:
    """The curve that was computed last in this session."""

    recipe: Recipe
    curve: DoseCurve


def run(recipe: Recipe, index: Index) -> None:
    """Compute and draw; only the first of several features has a curve."""
    one = recipe.steers[0]
    targets = index.card(one.feature).promoted_tokens
    if not targets:
        notices.empty("No promoted tokens are known", "Build the index with the language model at hand.")
        return
    with state.models() as (lm, sae), st.spinner("Writing at every strength, with both controls …"):
        curve = dose_curve(
            lm, sae, one, float(index.maximum([one.feature])[0]), recipe.prompt, targets,
            steps=min(recipe.tokens, MOST_WRITTEN), seeds=SEEDS, temperature=recipe.temperature,
        )  # fmt: skip
    st.session_state[_last()] = Shown(recipe, curve)
    _draw(curve)


def show_last() -> bool:
    """The curve that was drawn last in this session, if any was."""
    shown = st.session_state.get(_last())
    if shown is None:
        return False
    _draw(shown.curve)
    return True


def forget() -> None:
    """A text is shown from now on."""
    st.session_state.pop(_last(), None)


def _last() -> str:
    return f"last dose curve with {state.choice().checkpoint}"


def _draw(curve: DoseCurve) -> None:
    st.subheader(f"Dose curve of feature {curve.steer.feature}", anchor=False)
    charts.draw(figure(curve), key="dose")
    st.caption(HOW.format(seeds=curve.seeds, other=curve.other))
    st.caption("Promoted tokens: " + " ".join(tokens.markdown(tokens.named(one)) for one in curve.targets))
    _texts(curve)


def figure(curve: DoseCurve) -> go.Figure:
    """Four panels over strength, three ways in each."""
    chart = make_subplots(rows=1, cols=4, subplot_titles=PANELS, horizontal_spacing=0.06)
    hues = {"feature": BLUE[theme()], "random": GREY[theme()], "other": ORANGE[theme()]}
    for way, name in NAMES.items():
        doses = curve.of(way)
        values = ("target", "kl", "perplexity", "repetition")
        for column, value in enumerate(values, start=1):
            chart.add_scatter(
                x=[one.strength for one in doses], y=[getattr(one, value) for one in doses], name=name,
                legendgroup=way, showlegend=column == 1, mode="lines+markers", row=1, col=column,
                line={"color": hues[way], "dash": "solid" if way == "feature" else "dot"}, marker={"size": 6},
                hovertemplate="%{y:.3g}",
            )  # fmt: skip
    chart.update_layout(
        height=300, margin={**charts.MARGIN, "t": 44}, hovermode="x unified",
        legend={"orientation": "h", "y": -0.25, "x": 0, "xanchor": "left"},
    )  # fmt: skip
    chart.update_annotations(font_size=12)
    chart.update_xaxes(title="strength (× maximum)", zeroline=True)
    chart.update_yaxes(rangemode="tozero")
    return chart


def _texts(curve: DoseCurve) -> None:
    """What was written, a line per strength and way."""
    rows = [(one.strength, NAMES[one.way], one.texts[0]) for one in curve.doses]
    columns = {
        "strength": tables.NUMBER("strength", format="%.1f", width="small"),
        "way": tables.TEXT("moved along", width="small"),
        "text": tables.TEXT("first continuation", width="large"),
    }
    with st.expander("What was written"):
        values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
        st.dataframe(values, column_config=columns, hide_index=True, row_height=tables.ROW)
