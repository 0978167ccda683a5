"""What to steer by: features, strengths, mode and the rest, from the address and from the form."""

from dataclasses import dataclass

import streamlit as st

from saelab.app.widgets import links, notices, pickers, state, tokens
from saelab.features import Index
from saelab.intervene import Steer

EQUATIONS = {
    "add": r"f_i' = f_i + s_i \cdot \mathrm{max}_i",
    "scale": r"f_i' = s_i \cdot f_i",
    "clamp": r"f_i' = s_i \cdot \mathrm{max}_i",
}
DELTA = r"x' = x + \sum_i (f_i' - f_i)\, W_\mathrm{dec}[i]"
POSITIONS = ("all", "prompt", "generated", "last")
WHERE = "All tokens, those of the prompt, those generated, or the prompt's last."
DOSE = "The first feature at strengths from -2 to 3, beside two controls that move the site just as far."
PROMPT = "def area(width, height):\n    "


@dataclass(frozen=True)
class Recipe:
    """All that decides what is generated."""

    steers: tuple[Steer, ...]
    prompt: str
    tokens: int
    temperature: float
    seed: int
    dose: bool = False  # a curve over strengths, instead of one text


@dataclass(frozen=True)
class Chosen:
    """What decides how the form looks: features with the strengths to start from, and the mode."""

    strengths: dict[int, float]
    mode: str


def features_and_mode(index: Index) -> Chosen:
    """The features to steer and how; the equation of the mode stands beside it."""
    linked, note = links.steers(st.query_params.get("steer"), index.n_features, state.MOST_FEATURES)
    notices.note(note)
    mode, note = links.one_of("mode", st.query_params.get("mode"), tuple(EQUATIONS))
    notices.note(note)
    left, middle, right = st.columns([0.3, 0.25, 0.45], vertical_alignment="bottom")
    start = linked or {_last(index.n_features): 1.0}
    typed = left.text_input("Features", ", ".join(map(str, start)), help="One or several, as in 12, 40.")
    mode = middle.segmented_control("Mode", tuple(EQUATIONS), default=mode, required=True, width="stretch") or mode
    right.latex(rf"{EQUATIONS[mode]} \qquad {DELTA}")
    found, note = links.features(typed or "", index.n_features, state.MOST_FEATURES)
    notices.note(note)
    return Chosen({feature: start.get(feature, 1.0) for feature in found}, mode)


def _last(n: int) -> int:
    last = st.session_state.get(pickers.FEATURE, 0)
    return last if last < n else 0


def form(index: Index, chosen: Chosen) -> Recipe | None:
    """The rest of the recipe; None until it is sent off."""
    with st.form("steer"):
        left, right = st.columns([0.5, 0.5], gap="large")
        with left:
            prompt = _linked_prompt()
        with right:
            strengths = {feature: _strength(index, feature, at) for feature, at in chosen.strengths.items()}
        figures = st.columns([0.18, 0.14, 0.14, 0.14, 0.2, 0.2], vertical_alignment="bottom")
        linked = POSITIONS.index(_word("positions", POSITIONS))
        where = figures[0].selectbox("Positions", POSITIONS, linked, help=WHERE)
        most = state.MOST_TOKENS
        count = figures[1].number_input("Tokens", 1, most, int(_figure("tokens", 1, most, 60)))
        temperature = figures[2].number_input("Temperature", 0.0, 2.0, _figure("temperature", 0, 2, 0.7), step=0.1,
                                              help="0 takes the likeliest token.")  # fmt: skip
        seed = figures[3].number_input("Seed", 0, 10**6, int(_figure("seed", 0, 10**6, 0)))
        sent = figures[4].form_submit_button("Generate", type="primary", icon=":material/play_arrow:", width="stretch",
                                             disabled=not strengths)  # fmt: skip
        curve = figures[5].form_submit_button("Dose curve", icon=":material/show_chart:", width="stretch", help=DOSE,
                                              disabled=not strengths)  # fmt: skip
    if not sent and not curve:
        return None
    steers = tuple(Steer(feature, strength, chosen.mode, where) for feature, strength in strengths.items())
    return Recipe(steers, prompt, int(count), float(temperature), int(seed), curve)


def _linked_prompt() -> str:
    linked, note = links.text(st.query_params.get("text"), PROMPT, state.LONGEST_TEXT)
    notices.note(note)
    return st.text_area("Prompt", linked, height=150, max_chars=state.LONGEST_TEXT) or ""


def _strength(index: Index, feature: int, start: float) -> float:
    """A slider in units of the feature's maximum, named by what the feature stands for."""
    label, maximum = index.labels.get(feature), index.stats(feature).max
    stands_for = f" · {tokens.markdown(label.text)}" if label else ""
    return st.slider(f"**{feature}**{stands_for} · strength in units of its maximum, {maximum:.3g}",
                     -links.STRONGEST, links.STRONGEST, start, 0.1, key=f"strength of {feature}",
                     help="1 is the strongest that text ever made it; from about 5 on text breaks down.")  # fmt: skip


def _figure(name: str, low: float | int, high: float | int, default: float | int) -> float:
    value, note = links.number(name, st.query_params.get(name), float(low), float(high), float(default))
    notices.note(note)
    return value


def _word(name: str, known: tuple[str, ...]) -> str:
    value, note = links.one_of(name, st.query_params.get(name), known)
    notices.note(note)
    return value


def keep_in_link(recipe: Recipe) -> None:
    """Put the whole recipe in the address."""
    first = recipe.steers[0]
    st.query_params.update(
        {
            **pickers.here(),
            "steer": links.steering({one.feature: one.strength for one in recipe.steers}),
            "mode": first.mode,
            "positions": first.positions,
            "text": recipe.prompt,
            "tokens": str(recipe.tokens),
            "temperature": f"{recipe.temperature:g}",
            "seed": str(recipe.seed),
        }
    )
