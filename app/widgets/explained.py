"""What to explain: a text, a position and a target, from the address and from the form."""

from dataclasses import dataclass

import streamlit as st

from saelab.app.widgets import links, notices, removal, state
from saelab.intervene import Attribution, Target, attribute, one_token, prompt_ids

KINDS = {"logit": "logit of a token", "difference": "logit difference", "loss": "loss"}
EQUATION = (
    r"\mathrm{attribution}_i = \sum_t f_i(t)\, \frac{\partial L}{\partial f_i(t)} "
    r"\qquad \mathrm{ablated}_i = L - L_{f_i = 0}"
)
WHERE = "The token after which the prediction stands; -1 or empty for the last. Empty for the loss: the mean over all."
ERROR = (
    "On: what the SAE does not reproduce is put back as a constant, so the model computes what it always does. Off: "
    "the model reads the reproduction alone, and every number is of that model."
)
MOST_VERIFIED, LISTED = 60, 100
PROMPT = "for i in range(10):\n    print("


@dataclass(frozen=True)
class Question:
    """All that decides an attribution. An empty token is the likeliest one."""

    prompt: str
    kind: str
    token: str
    against: str
    position: int | None
    verify: int
    keep_error: bool


def form() -> Question | None:
    """What is asked for: by the form just sent, else by the address if it brings a text; None when by neither."""
    linked = _linked()
    left, right = st.columns([0.4, 0.6], vertical_alignment="bottom")
    kind = left.segmented_control("Target L", tuple(KINDS), default=linked.kind, required=True, width="stretch",
                                  format_func=KINDS.__getitem__) or linked.kind  # fmt: skip
    right.latex(EQUATION)
    with st.form("attribute"):
        prompt = st.text_area("Text", linked.prompt, height=130, max_chars=state.LONGEST_TEXT)
        place = st.columns([0.2, 0.2, 0.17, 0.18, 0.25], vertical_alignment="bottom")
        token = place[0].text_input("Token", linked.token, placeholder="the likeliest", max_chars=40,
                                    disabled=kind == "loss", help="With the space before it.")  # fmt: skip
        against = place[1].text_input("Less that of", linked.against, max_chars=40, disabled=kind != "difference")
        position = place[2].number_input("Position", -1, state.LONGEST_TEXT, linked.position, placeholder="last",
                                         help=WHERE)  # fmt: skip
        verify = place[3].number_input("Verify", 0, MOST_VERIFIED, linked.verify, help="Features ablated one by one.")
        keep = place[4].toggle("Keep the error term", linked.keep_error, help=ERROR)
        sent = st.form_submit_button("Attribute", type="primary", icon=":material/play_arrow:")
    if not sent:
        return linked if "text" in st.query_params else None
    where = None if position is None else int(position)
    asked = Question(prompt or "", kind, token or "", against or "", where, int(verify), bool(keep))
    _keep_in_link(asked)
    return asked


def _keep_in_link(asked: Question) -> None:
    st.query_params.update({"text": asked.prompt, "target": asked.kind, "verify": str(asked.verify),
                            "error": "kept" if asked.keep_error else "dropped"})  # fmt: skip
    rest = {"token": asked.token, "against": asked.against,
            "position": "" if asked.position is None else str(asked.position)}  # fmt: skip
    for name, value in rest.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def _linked() -> Question:
    query = st.query_params
    prompt, first = links.text(query.get("text"), PROMPT, state.LONGEST_TEXT)
    kind, second = links.one_of("target", query.get("target"), tuple(KINDS))
    error, third = links.one_of("error", query.get("error"), ("kept", "dropped"))
    verify, fourth = links.number("verify", query.get("verify"), 0.0, float(MOST_VERIFIED), 20.0)
    position, fifth = removal.place_in_link(state.LONGEST_TEXT)
    notices.note(first or second or third or fourth or fifth)
    token, against = query.get("token", "")[:40], query.get("against", "")[:40]
    return Question(prompt, kind, token, against, position, int(verify), error == "kept")


def answered(asked: Question) -> Attribution:
    """The attribution, computed once for what is asked."""

    def compute() -> Attribution:
        with state.models() as (lm, sae), st.spinner("Gradient, then one ablation after the other …"):
            token = one_token(lm, asked.token) if asked.token and asked.kind != "loss" else None
            against = one_token(lm, asked.against) if asked.against and asked.kind == "difference" else None
            target = Target(asked.kind, asked.position, token, against)
            return attribute(lm, sae, prompt_ids(lm, asked.prompt), target, keep_error=asked.keep_error,
                             verify=asked.verify, limit=LISTED)  # fmt: skip

    return state.once("attribution", asked, compute)
