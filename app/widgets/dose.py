"""A dose curve: what a feature does as its strength grows, beside controls that move the site just as far."""

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from saelab.app.widgets import charts, notices, progress, state, tables, tokens
from saelab.app.widgets.style import BLUE, GREY, ORANGE, theme
from saelab.intervene import DoseCurve, SteerRecipe, at_equal_kl, dose_curve

SEEDS, MOST_WRITTEN = 4, 40  # continuations of each strength, and tokens of each
NAMES = {"feature": "the feature", "random": "random direction", "other": "another feature"}
PANELS = ("probability of the<br>promoted tokens", "KL of the next<br>token (nats)", "perplexity", "repetition")
HOW = (
    "Probability and KL: of the next token after the prompt. Perplexity: of {seeds} continuations under the unsteered "
    "model. Repetition: share of their 3-grams that stood there before. The controls move the site as far, in a random "
    "direction and along feature {other}. Worth steering with where the blue curve of the first panel rises and the "
    "others' does not, before perplexity and repetition do."
)


def run(recipe: SteerRecipe) -> None:
    """Compute and draw; only the first of several features has a curve."""
    (name, (one, *_)), asked = recipe.saes[0], recipe.request
    choice = state.named(name)
    index = state.index_of(choice)
    targets = index.card(one.feature).promoted_tokens
    if not targets:
        notices.empty("No promoted tokens are known", "Build the index with the language model at hand.")
        return
    bar = st.empty()
    try:
        with state.stoppable(), state.models() as (lm, _):
            curve = dose_curve(
                lm, state.sae_of(choice), one, float(index.maximum([one.feature])[0]), asked.prompt, targets,
                steps=min(asked.steps, MOST_WRITTEN), seeds=SEEDS, temperature=asked.temperature, chat=asked.chat,
                progress=progress.Bar(bar, "Writing at every strength"),
            )  # fmt: skip
    finally:
        bar.empty()
    st.session_state[_last()] = curve
    _draw(curve)


def show_last() -> bool:
    """The curve that was drawn last in this session, if any was."""
    curve = st.session_state.get(_last())
    if curve is None:
        return False
    _draw(curve)
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
    st.caption("Promoted tokens: " + tokens.markdown(", ".join(map(tokens.quoted, curve.targets))))
    _own(curve)
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


def _own(curve: DoseCurve) -> None:
    """The feature beside its controls where they move the prediction as far."""
    found = at_equal_kl(curve)
    columns = {
        "way": tables.TEXT("control", width="medium"),
        "strength": tables.NUMBER("strength", format="%.1f", width="small"),
        "kl": tables.NUMBER("KL (nats)", format="%.3f"),
        "control": tables.NUMBER("p, control", format="%.4f", help="Probability of the promoted tokens."),
        "feature": tables.NUMBER("p, feature", format="%.4f", help="Where it moves the prediction as far; between its "
                                 "own strengths interpolated linearly in KL, empty beyond them."),
        "above": tables.NUMBER("above", format="%+.4f", help="The feature's less the control's."),
    }  # fmt: skip
    rows = [(NAMES[one.way], one.strength, one.kl, one.control, one.feature, one.above) for one in found]
    with st.expander("How much of it is the feature's own: at equal KL"):
        values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
        st.dataframe(values, column_config=columns, hide_index=True, row_height=tables.ROW)


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
