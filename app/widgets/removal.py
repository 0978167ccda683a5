"""What to ablate: features, mode and text, from the address and from the form."""

from dataclasses import dataclass
from typing import Literal

import streamlit as st

from saelab.app.widgets import links, notices, pickers, state
from saelab.errors import SaelabError
from saelab.features import Index
from saelab.intervene import Ablation, ablate

EQUATIONS = {"zero": r"f_i' = 0", "mean": r"f_i' = \overline{f_i}"}
DELTA = r"x' = x + \sum_i (f_i' - f_i)\, W_\mathrm{dec}[i]"


@dataclass(frozen=True)
class Removal:
    """Which features to take away from which text, and what to put in their place."""

    features: tuple[int, ...]
    prompt: str
    mode: Literal["zero", "mean"]


def form(index: Index) -> Removal | None:
    """What is asked for: by the form just sent, else by the address if it brings a text; None when by neither."""
    linked, missing = _linked(index)
    notices.note(missing)
    with st.form("ablate"):
        left, middle, right = st.columns([0.3, 0.25, 0.45], vertical_alignment="bottom")
        typed = left.text_input("Features", ", ".join(map(str, linked.features)), help="One or several, as in 12, 40.")
        mode = middle.segmented_control("Mode", tuple(EQUATIONS), default=linked.mode, required=True, width="stretch")
        right.latex(rf"{EQUATIONS['zero']} \;\text{{or}}\; {EQUATIONS['mean']} \qquad {DELTA}")
        prompt = st.text_area("Text", linked.prompt, height=130, max_chars=state.LONGEST_TEXT)
        sent = st.form_submit_button("Measure", type="primary", icon=":material/play_arrow:")
    if not sent:
        return linked if "text" in st.query_params and linked.features else None
    kind: Literal["zero", "mean"] = "mean" if mode == "mean" else "zero"
    features, note = links.features(typed or "", index.n_features, state.MOST_FEATURES)
    notices.note(note)
    st.query_params.update({"feature": ",".join(map(str, features)), "mode": kind, "text": prompt or ""})
    return Removal(tuple(features), prompt or "", kind) if features else None


def _linked(index: Index) -> tuple[Removal, str | None]:
    """What the address asks for, with defaults where it is silent or wrong, and the first thing wrong with it."""
    last = str(st.session_state.get(pickers.FEATURE, 0))
    features, first = links.features(st.query_params.get("feature", last), index.n_features, state.MOST_FEATURES)
    mode, second = links.one_of("mode", st.query_params.get("mode"), tuple(EQUATIONS))
    prompt, third = links.text(st.query_params.get("text"), state.SAMPLE, state.LONGEST_TEXT)
    kind: Literal["zero", "mean"] = "mean" if mode == "mean" else "zero"
    return Removal(tuple(features or [0]), prompt, kind), first or second or third


def measured(asked: Removal, index: Index) -> Ablation:
    """The ablation, computed once for what is asked."""

    def compute() -> Ablation:
        with state.models() as (lm, sae):
            ids = lm.prompt(asked.prompt)
            if len(ids) > lm.context:
                raise SaelabError(
                    f"the text has {len(ids)} tokens, but {lm.name} reads {lm.context}.\n  fix:   shorten the text"
                )
            means = index.mean(asked.features) if asked.mode == "mean" else None
            return ablate(lm, sae, asked.features, ids, mode=asked.mode, means=means)

    return state.once("ablation", asked, compute)
