"""What to steer by: features, strengths, mode and the rest, from the address, a saved recipe, and the form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import streamlit as st

from saelab.app.catalogue import headline
from saelab.app.widgets import links, notices, pickers, state, steer_link, tokens
from saelab.app.widgets.steer_link import Key
from saelab.errors import SaelabError
from saelab.features import Index
from saelab.intervene import Steer, SteerRecipe, SteerRequest, load_recipe

EQUATIONS = {
    "add": r"f_i' = f_i + s_i \, \mathrm{max}_i",
    "scale": r"f_i' = s_i \, f_i",
    "clamp": r"f_i' = s_i \, \mathrm{max}_i",
    "orthogonal": r"p_i' = s_i \, \mathrm{max}_i",
    "cap": r"p_i' = \min(p_i,\; s_i \, \mathrm{max}_i)",
}
DELTA = r"x' = x + \sum_i (f_i' - f_i)\, W_\mathrm{dec}[i]"
PROJECTED = r"p_i = \frac{\langle x, W_i \rangle}{|W_i|^2} \\ x' = x + \sum_i (p_i' - p_i)\, W_i"
MODES = (
    "add: as much on top everywhere. scale: only where it fires. clamp: the same strength everywhere. orthogonal: what "
    "stands along the direction is replaced. cap: only what stands out further is cut. All change x itself, by the "
    "difference alone, so the reconstruction error stays and cannot undo it."
)
POSITIONS = ("all", "prompt", "generated", "last")
WHERE = "All tokens, those of the prompt, those generated, or the prompt's last n. Special tokens are always left out."
CONTROLS = "Two more rows: pushed as far in a random direction, and along another feature."
CHAT = "Put the prompt through the model's chat template; refused where its tokenizer has none."
DOSE = "The first feature at strengths from -2 to 3, beside two controls that move the site just as far."
PROMPT = "def area(width, height):\n    "
ALL_ROWS, TWO_ROWS = ("default", "steered", "random", "other"), ("default", "steered")


@dataclass(frozen=True)
class Order:
    """What the form was sent off for: a text, or a curve over strengths."""

    recipe: SteerRecipe
    dose: bool = False


@dataclass(frozen=True)
class Chosen:
    """What decides how the form looks: features with the strengths to start from, the mode, and the linked rest."""

    strengths: dict[Key, float]
    mode: str
    start: SteerRequest
    positions: str = "all"
    last: int = 1


def chosen(index: Index) -> Chosen:
    """The features to steer and how; the equation of the mode stands beside it."""
    here, sizes = state.choice().sae, _sizes()
    linked = _linked(index, sizes)
    left, middle, right = st.columns([0.24, 0.38, 0.38], vertical_alignment="bottom")
    others = ", ".join(name for name in sizes if name != here)
    more = f" Of another site as NAME@12; there are: {others}." if others else ""
    words = ", ".join(steer_link.shown(key, here) for key in linked.strengths)
    typed = left.text_input("Features", words, help="One or several, as in 12, 40." + more)
    mode = middle.segmented_control("Mode", tuple(EQUATIONS), default=linked.mode, required=True, width="stretch",
                                    help=MODES) or linked.mode  # fmt: skip
    right.latex(_equation(mode))
    found, note = steer_link.typed(typed or "", here, sizes, state.MOST_FEATURES)
    notices.note(note)
    strengths = {key: linked.strengths.get(key, 1.0) for key in found}
    return Chosen(strengths, mode, linked.start, linked.positions, linked.last)


def _equation(mode: str) -> str:
    """What the mode does, and with what it does so; of a projection in two lines."""
    if mode in ("orthogonal", "cap"):
        return rf"\begin{{gathered}} {EQUATIONS[mode]} \qquad {PROJECTED} \end{{gathered}}"
    return rf"{EQUATIONS[mode]} \qquad {DELTA}"


def _sizes() -> dict[str, int]:
    """The SAEs of this run and its language model, the one that is looked at first: how many features each has."""
    now = state.choice()
    model = headline(now.checkpoint).model
    beside = [one for one in state.everything() if one.run == now.run and one != now]
    sizes = {now.sae: state.index().n_features}
    for one in beside:
        try:
            if headline(one.checkpoint).model == model:
                sizes[one.sae] = state.index_of(one).n_features
        except SaelabError as error:
            notices.note(f"{one.sae} cannot be steered beside this one: {error}")
    return sizes


def _linked(index: Index, sizes: Mapping[str, int]) -> Chosen:
    """What the address asks for: a recipe by name, or features with strengths and the rest beside them."""
    raw, here = st.query_params.get("steer"), state.choice().sae
    if raw and ":" not in raw:
        try:
            return _of_recipe(load_recipe(state.run(), raw), sizes)
        except SaelabError as error:
            notices.note(str(error))
            raw = None
    strengths, note = steer_link.steers(raw, here, sizes, state.MOST_FEATURES)
    notices.note(note)
    last = st.session_state.get(pickers.FEATURE, 0)
    start = strengths or {(here, last if last < index.n_features else 0): 1.0}
    mode, where = _word("mode", tuple(EQUATIONS)), _word("positions", POSITIONS)
    return Chosen(start, mode, _linked_request(), where, int(_figure("last", 1, state.MOST_TOKENS, 1)))


def _of_recipe(recipe: SteerRecipe, sizes: Mapping[str, int]) -> Chosen:
    strengths = {(name, one.feature): one.strength for name, steers in recipe.saes for one in steers}
    _, note = steer_link.typed(
        " ".join(f"{name}@{feature}" for name, feature in strengths), "", sizes, state.MOST_FEATURES
    )
    if note:
        raise SaelabError(note)
    first = recipe.saes[0][1][0]
    return Chosen(strengths, first.mode, recipe.request, first.positions, first.last)


def _linked_request() -> SteerRequest:
    prompt, note = links.text(st.query_params.get("text"), PROMPT, state.LONGEST_TEXT)
    notices.note(note)
    return SteerRequest(
        prompt,
        int(_figure("tokens", 1, state.MOST_TOKENS, 60)),
        _figure("temperature", 0, 2, 0.7),
        int(_figure("seed", 0, 10**6, 0)),
        _word("chat", ("no", "yes")) == "yes",
        ALL_ROWS if _word("controls", ("yes", "no")) == "yes" else TWO_ROWS,
    )


def form(what: Chosen) -> Order | None:
    """The rest of the recipe; None until it is sent off."""
    start = what.start
    with st.form("steer"):
        left, right = st.columns([0.5, 0.5], gap="large")
        with left:
            prompt = st.text_area("Prompt", start.prompt, height=150, max_chars=state.LONGEST_TEXT) or ""
        with right:
            strengths = {key: _strength(key, at) for key, at in what.strengths.items()}
        place = st.columns([0.2, 0.13, 0.14, 0.15, 0.14, 0.24], vertical_alignment="bottom")
        where = place[0].selectbox("Positions", POSITIONS, POSITIONS.index(what.positions), help=WHERE)
        last = place[1].number_input("Last n", 1, state.MOST_TOKENS, what.last, help="For the positions “last”.")
        count = place[2].number_input("Tokens", 1, state.MOST_TOKENS, start.steps)
        temperature = place[3].number_input("Temperature", 0.0, 2.0, float(start.temperature), step=0.1,
                                            help="0 takes the likeliest token.")  # fmt: skip
        seed = place[4].number_input("Seed", 0, 10**6, start.seed)
        with place[5]:
            controls = st.toggle("Controls", len(start.rows) > 2, help=CONTROLS)
            chat = st.toggle("Chat template", start.chat, help=CHAT)
        sent, curve = _buttons(bool(strengths))
    if not sent and not curve:
        return None
    rows = ALL_ROWS if controls else TWO_ROWS
    request = SteerRequest(prompt, int(count), float(temperature), int(seed), bool(chat), rows)
    how = _How(what.mode, where, int(last))
    return Order(SteerRecipe(_by_sae(strengths, how), request), curve)


def _buttons(ready: bool) -> tuple[bool, bool]:
    with st.container(horizontal=True):
        sent = st.form_submit_button("Generate", type="primary", icon=":material/play_arrow:", disabled=not ready)
        curve = st.form_submit_button("Dose curve", icon=":material/show_chart:", help=DOSE, disabled=not ready)
    return sent, curve


@dataclass(frozen=True)
class _How:
    """What all features of a form share."""

    mode: str
    positions: str
    last: int = field(default=1)


def _by_sae(strengths: Mapping[Key, float], how: _How) -> tuple[tuple[str, tuple[Steer, ...]], ...]:
    """SAE by SAE, in the order in which each was first named."""
    order = list(dict.fromkeys(name for name, _ in strengths))
    keys = sorted(strengths, key=lambda key: order.index(key[0]))
    return tuple(
        (name, tuple(Steer(key[1], strengths[key], how.mode, how.positions, how.last) for key in group))
        for name, group in groupby(keys, key=lambda key: key[0])
    )


def _strength(key: Key, start: float) -> float:
    """A slider in units of the feature's maximum, named by what the feature stands for."""
    name, feature = key
    index = state.index_of(state.named(name))
    label, maximum = index.labels.get(feature), index.stats(feature).max
    stands_for = f" · {tokens.markdown(label.text)}" if label else ""
    shown = tokens.markdown(steer_link.shown(key, state.choice().sae))
    return st.slider(f"**{shown}**{stands_for} · strength in units of its maximum, {maximum:.3g}",
                     -links.STRONGEST, links.STRONGEST, start, 0.1, key=f"strength of {name} {feature} from {start}",
                     help="1 is the strongest that text ever made it; from about 5 on text breaks down.")  # fmt: skip


def _figure(name: str, low: float | int, high: float | int, default: float | int) -> float:
    value, note = links.number(name, st.query_params.get(name), float(low), float(high), float(default))
    notices.note(note)
    return value


def _word(name: str, known: tuple[str, ...]) -> str:
    value, note = links.one_of(name, st.query_params.get(name), known)
    notices.note(note)
    return value


def keep_in_link(recipe: SteerRecipe) -> None:
    """Put the whole recipe in the address."""
    first, request = recipe.saes[0][1][0], recipe.request
    strengths = {(name, one.feature): one.strength for name, steers in recipe.saes for one in steers}
    st.query_params.update(
        {
            **pickers.here(),
            "steer": steer_link.written(strengths, state.choice().sae),
            "mode": first.mode,
            "positions": first.positions,
            "last": str(first.last),
            "text": request.prompt,
            "tokens": str(request.steps),
            "temperature": f"{request.temperature:g}",
            "seed": str(request.seed),
            "controls": "yes" if len(request.rows) > len(TWO_ROWS) else "no",
            "chat": "yes" if request.chat else "no",
        }
    )
