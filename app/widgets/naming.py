"""What a feature is called: by a person, by a rule, and the form in which a person writes it down."""

import streamlit as st

from saelab.app.widgets import notices, tokens
from saelab.errors import SaelabError
from saelab.features import LONGEST_LABEL, LONGEST_NOTE, Index, Label

KINDS = {
    "own": "Your own label.",
    "token": "A rule on the token itself, found by `saelab label`.",
    "after": "A rule on the token before, found by `saelab label`.",
    "pair": "A rule on two tokens in sequence, found by `saelab label`.",
    "triple": "A rule on three tokens in sequence, found by `saelab label`.",
    "place": "A rule on the place in text or line, found by `saelab label`.",
    "syntax": "A rule on Python's syntax, found by `saelab label`.",
}
NEW = "new label {}"  # keys of the form's fields, by feature
TEXT = "new note {}"


def badges(index: Index, feature: int) -> None:
    """The labels of a feature, a person's own first, each with what was measured of it."""
    own, found = index.notebook.notes.get(feature), index.automatic.get(feature)
    with st.container(horizontal=True, gap="small"):
        if own and own.label:
            st.badge(tokens.markdown(own.label), icon=":material/person:", color="blue", help=KINDS["own"])
        if found is not None:
            st.badge(tokens.markdown(found.text), icon=":material/sell:", color="gray" if own and own.label else "blue",
                     help=KINDS.get(found.kind or ""))  # fmt: skip
            _figures(found)
        if found is None and not (own and own.label):
            st.badge("no label", color="gray", help="`saelab label` looks for one.")
    if own and own.text:
        st.html(tokens.note(own.text))


def _figures(label: Label) -> None:
    if label.f1 is not None:
        st.badge(f"F1 {label.f1:.2f}", color="gray", help=_measured(label))
    if label.threshold:
        st.badge(f"above {tokens.figure(label.threshold)}", color="gray", help=_above(label))


def _measured(label: Label) -> str:
    parts = [f"precision {label.precision:.2f}" if label.precision is not None else "",
             f"recall {label.recall:.2f}" if label.recall is not None else ""]  # fmt: skip
    said = ", ".join(part for part in parts if part)
    return f"Of this label, on documents it was not chosen on{': ' + said if said else ''}."


def _above(label: Label) -> str:
    covers = f", where {label.covers:.0%} of its summed activation lies" if label.covers is not None else ""
    return f"The label holds where the feature is above {tokens.figure(label.threshold)}{covers}."


def form(index: Index, feature: int) -> None:
    """Label and note of one's own, kept beside the index. A file that cannot be read is told of and left alone."""
    book = index.notebook
    with st.popover("Name it", icon=":material/edit:"):
        if book.problem:
            notices.problem(SaelabError(book.problem))
        before = book.notes.get(feature)
        with st.form(f"note {feature}", border=False, enter_to_submit=True):
            label = st.text_input("Label", before.label if before else "", max_chars=LONGEST_LABEL,
                                  key=NEW.format(feature), placeholder="in a few words")  # fmt: skip
            text = st.text_area("Note", before.text if before else "", max_chars=LONGEST_NOTE, height=120,
                                key=TEXT.format(feature))  # fmt: skip
            if st.form_submit_button("Keep", type="primary"):
                _keep(index, feature, label, text)
        st.caption(f"Kept in `{index.path.name}/notes.json`. Empty fields remove it.")


def _keep(index: Index, feature: int, label: str, text: str) -> None:
    try:
        index.note(feature, label, text)
    except SaelabError as error:
        notices.problem(error)
        return
    st.rerun()
