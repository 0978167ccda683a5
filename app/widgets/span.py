"""The text of which features are sought, token by token: click one, or drag over several, to look at these alone.

One component draws all tokens. They come as markup from `tokens`, where they are escaped; the script only reads which
token the pointer is on. The choice stands in the address as `?span=3-9`, counted from 0, both ends included.
"""

from typing import Any

import streamlit as st

from saelab.app.widgets import links, notices, tokens
from saelab.features import TextActivations

HOW = "Click a token, or drag over several, to look at these alone; click them again for the whole text."
SCRIPT = """
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector('.sl-pick');
  root.innerHTML = data.html;
  const place = (target) => {
    const token = target && target.closest ? target.closest('[data-i]') : null;
    return token ? Number(token.dataset.i) : null;
  };
  const show = (first, last) => root.querySelectorAll('[data-i]').forEach((token) => {
    const i = Number(token.dataset.i);
    token.classList.toggle('in', first !== null && i >= first && i <= last);
  });
  let from = null;
  show(data.first, data.last);
  root.onpointerdown = (event) => {
    from = place(event.target);
    if (from === null) return;
    event.preventDefault();
    show(from, from);
  };
  root.onpointerover = (event) => {
    const to = place(event.target);
    if (from !== null && to !== null) show(Math.min(from, to), Math.max(from, to));
  };
  root.onpointerup = (event) => {
    const to = place(event.target);
    if (from === null) return;
    const span = to === null ? [from, from] : [Math.min(from, to), Math.max(from, to)];
    from = null;
    const again = span[0] === data.first && span[1] === data.last;
    setStateValue('span', again ? [-1, -1] : span);
  };
}
"""


def pick(found: TextActivations, lines: bool = True) -> tuple[int, int] | None:
    """Draw the tokens; the first and last of the chosen ones, None for the whole text."""
    n = len(found.tokens)
    chosen, note = links.span(st.query_params.get("span"), n)
    notices.note(note)
    st.caption(HOW)
    key = f"span {hash(found.text)}"
    clicked = _component()(
        key=key, data=payload(found, chosen, lines), default={"span": None}, on_span_change=lambda: None
    )
    last = st.session_state.get("span seen")
    now = (key, tuple(clicked.span) if clicked.span else None)
    if now[1] is not None and now != last:
        st.session_state["span seen"] = now
        st.query_params.pop("feature", None)  # the best one there is shown
        chosen = None if now[1][0] < 0 else (max(0, now[1][0]), min(n - 1, now[1][1]))
        if chosen is None:
            st.query_params.pop("span", None)
        else:
            st.query_params["span"] = f"{chosen[0]}-{chosen[1]}"
        st.rerun()
    return chosen


def chosen_in(found: TextActivations) -> tuple[int, int] | None:
    """The tokens the address names, None for the whole text."""
    return links.span(st.query_params.get("span"), len(found.tokens))[0]


def payload(found: TextActivations, chosen: tuple[int, int] | None, lines: bool) -> dict[str, Any]:
    """What the component is told: escaped markup, and which tokens are chosen."""
    counts = [len(firing) for firing in found.features]
    inner = tokens.spans(found.tokens, [0.0] * len(counts), 1.0, notes=[f"token {i}" for i in range(len(counts))],
                         lines=lines, numbered=True)  # fmt: skip
    first, last = chosen or (None, None)
    return {"html": tokens.text_block(inner), "first": first, "last": last}


def _component() -> Any:
    return st.components.v2.component(
        "saelab_span", html='<div class="sl-pick"></div>', js=SCRIPT, isolate_styles=False
    )
