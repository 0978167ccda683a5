"""What to ablate: features, mode, text and the rest, from the address and from the form."""

from dataclasses import dataclass

import streamlit as st

from saelab.app.widgets import links, notices, pickers, state
from saelab.features import Index
from saelab.intervene import Ablation, ablate, one_token, prompt_ids
from saelab.runs import means_of

EQUATIONS = {
    "zero": r"f_i' = 0",
    "mean": r"f_i' = \overline{f_i}",
    "firing-mean": r"f_i' = \overline{f_i \mid f_i > 0}",
    "resample": r"f_i'(t) = f_i(\tau_t), \; \tau_t \text{ of another text}",
}
MODES = (
    "mean: over all tokens of the index. firing-mean: over those on which the feature fires. resample: its activation "
    "on a token of another text, drawn for each position by the seed, the same token for all features."
)
DELTA = r"x' = x + \sum_i (f_i' - f_i)\, W_\mathrm{dec}[i]"
DROPPED = r"x' = \hat{x} + \sum_i (f_i' - f_i)\, W_\mathrm{dec}[i]"
ERROR = (
    "On: what the SAE does not reproduce stays. Off: the model reads the reproduction alone, and is compared to "
    "itself reading it, so that the features' effect is not mixed with that of the lost error."
)
OTHER = "import os\nimport sys\n\n\nclass Reader:\n    def __init__(self, path):\n        self.path = path\n"


@dataclass(frozen=True)
class Removal:
    """Which features to take away from which text, where, and what to put in their place."""

    features: tuple[int, ...]
    prompt: str
    mode: str
    other: str
    seed: int
    position: int | None  # None: every position
    token: str  # whose logit is followed; empty: the next one's
    keep_error: bool


def form(index: Index) -> Removal | None:
    """What is asked for: by the form just sent, else by the address if it brings a text; None when by neither."""
    linked = _linked(index)
    left, right = st.columns([0.5, 0.5], vertical_alignment="bottom")
    mode = left.segmented_control("Mode", tuple(EQUATIONS), default=linked.mode, required=True, width="stretch",
                                  help=MODES) or linked.mode  # fmt: skip
    right.latex(rf"{EQUATIONS[mode]} \qquad {DELTA if linked.keep_error else DROPPED}")
    with st.form("ablate"):
        place = st.columns([0.3, 0.15, 0.17, 0.13, 0.25], vertical_alignment="bottom")
        typed = place[0].text_input("Features", ", ".join(map(str, linked.features)), help="As in 12, 40.")
        position = place[1].number_input("Position", -1, state.LONGEST_TEXT, linked.position, placeholder="all",
                                         help="One token, -1 for the last; empty for every token.")  # fmt: skip
        token = place[2].text_input("Target token", linked.token, placeholder="the next one", max_chars=40,
                                    help="Whose logit is followed. Empty: of each position, the next one.")  # fmt: skip
        seed = place[3].number_input("Seed", 0, 10**6, linked.seed, help="For resample.", disabled=mode != "resample")
        keep = place[4].toggle("Keep the error term", linked.keep_error, help=ERROR)
        prompt, other = _texts(linked, mode)
        sent = st.form_submit_button("Measure", type="primary", icon=":material/play_arrow:")
    if not sent:
        return linked if "text" in st.query_params and linked.features else None
    features, note = links.features(typed or "", index.n_features, state.MOST_FEATURES)
    notices.note(note)
    where = None if position is None else int(position)
    asked = Removal(tuple(features), prompt, mode, other, int(seed), where, token or "", bool(keep))
    _keep_in_link(asked)
    return asked if features else None


def _texts(linked: Removal, mode: str) -> tuple[str, str]:
    """The text, and for resample the one that activations come from."""
    columns = st.columns(2 if mode == "resample" else 1, gap="large")
    text = columns[0].text_area("Text", linked.prompt, height=130, max_chars=state.LONGEST_TEXT)
    if mode != "resample":
        return text or "", linked.other
    other = columns[1].text_area("Other text", linked.other, height=130, max_chars=state.LONGEST_TEXT)
    return text or "", other or ""


def _keep_in_link(asked: Removal) -> None:
    st.query_params.update({
        "feature": ",".join(map(str, asked.features)), "mode": asked.mode, "text": asked.prompt,
        "error": "kept" if asked.keep_error else "dropped",
    })  # fmt: skip
    rest = {
        "position": "" if asked.position is None else str(asked.position),
        "token": asked.token,
        "other": asked.other if asked.mode == "resample" else "",
        "seed": str(asked.seed) if asked.mode == "resample" else "",
    }
    for name, value in rest.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def _linked(index: Index) -> Removal:
    """What the address asks for, with defaults where it is silent or wrong, and a note of what is wrong with it."""
    query = st.query_params
    last = str(st.session_state.get(pickers.FEATURE, 0))
    features, first = links.features(query.get("feature", last), index.n_features, state.MOST_FEATURES)
    mode, second = links.one_of("mode", query.get("mode"), tuple(EQUATIONS))
    prompt, third = links.text(query.get("text"), state.SAMPLE, state.LONGEST_TEXT)
    other, fourth = links.text(query.get("other"), OTHER, state.LONGEST_TEXT)
    error, fifth = links.one_of("error", query.get("error"), ("kept", "dropped"))
    seed, sixth = links.number("seed", query.get("seed"), 0.0, 1e6, 0.0)
    position, seventh = place_in_link(state.LONGEST_TEXT)
    notices.note(first or second or third or fourth or fifth or sixth or seventh)
    token = query.get("token", "")[:40]
    return Removal(tuple(features or [0]), prompt, mode, other, int(seed), position, token, error == "kept")


def place_in_link(most: int) -> tuple[int | None, str | None]:
    """The position the address names, -1 for the last token; None for none."""
    raw = st.query_params.get("position")
    if raw is None:
        return None, None
    value, note = links.number("position", raw, -1.0, float(most), -1.0)
    return (None if note else int(value)), note


def measured(asked: Removal, index: Index) -> Ablation:
    """The ablation, computed once for what is asked."""

    def compute() -> Ablation:
        with state.models() as (lm, sae):
            return ablate(
                lm, sae, asked.features, prompt_ids(lm, asked.prompt), mode=asked.mode,
                means=means_of(index, asked.features, asked.mode), seed=asked.seed, position=asked.position,
                source=prompt_ids(lm, asked.other) if asked.mode == "resample" else None,
                target=one_token(lm, asked.token) if asked.token else None, keep_error=asked.keep_error,
            )  # fmt: skip

    return state.once("ablation", asked, compute)
