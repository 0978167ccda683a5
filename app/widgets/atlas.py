"""The atlas' filter: one line of SQL that every chart and button writes, and a person may edit, copy and save."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from saelab.app.widgets import atlas_charts, charts, notices, pickers, state, tables
from saelab.app.widgets.tokens import markdown
from saelab.errors import SaelabError
from saelab.features import CLASS_COLUMNS, Atlas, Index, Share, Where, drop_filter, read_filters, save_filter

FILTER = "where"  # also its name in the address
ROUND = "atlas round"  # counts brushes: a chart with a new key has forgotten its brush
PAGE, PER_PAGE = "page of atlas", 50
ORDERS = ("density", "max", "mean", "count", "cosine", "f1", "label", "feature")
EXAMPLE = "density > 0.001 and max between 2 and 8 and label like 'comment%'"
LEAST = "atlas f1"
LEAST_HOW = (
    "F1 of the automatic label on documents it was not chosen on: 1 says exactly when the feature fires. Features "
    "without a measured label do not pass."
)
KINDS_HOW = (
    "Where a feature's label is from: a rule found by `saelab label`, on the token, what stands before it, its place "
    "or Python's syntax; or written by hand, which comes first."
)
DEFINITIONS = {
    "dead": "never above zero on the indexed tokens",
    "ultra-rare": "fires, but on fewer than 1 token in 100,000",
    "dense": "fires on more than 1 token in 10",
}


def where() -> Where:
    """The filter as it stands: its line, its buttons, the saved ones. A wrong one filters nothing and says so."""
    line, clear, keep = st.columns([0.74, 0.12, 0.14], vertical_alignment="bottom", gap="small")
    text = line.text_input("Filter (SQL)", key=FILTER, bind="query-params", placeholder=EXAMPLE, on_change=_anew,
                           icon=":material/filter_alt:", help=_columns())  # fmt: skip
    clear.button("Clear", on_click=_write, args=("",), disabled=not text, width="stretch")
    with keep.popover("Saved", width="stretch"):
        _saved(text or "")
    try:
        return Where.parse(text or "")
    except SaelabError as error:
        notices.problem(error)
        return Where()


def _columns() -> str:
    from saelab.features.where import COLUMNS

    listed = ", ".join(f"`{name}`" for name in COLUMNS)
    return f"Columns: {listed}. Comparisons, between, in, like, ilike, is null; and, or, not."


def _saved(text: str) -> None:
    """Filters kept beside the run: take one, keep this one, forget one."""
    run = state.choice().run_folder
    known = read_filters(run)
    for name, kept in known.items():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.button(markdown(name), on_click=_write, args=(kept,), key=f"take {name}", help=f"`{kept}`",
                      width="stretch")  # fmt: skip
            st.button("", icon=":material/delete:", on_click=drop_filter, args=(run, name), key=f"drop {name}",
                      help="Forget it", type="tertiary")  # fmt: skip
    if not known:
        st.caption("None yet. They are kept in filters.json in the run's folder.")
    with st.form("keep filter", border=False, clear_on_submit=True):
        name = st.text_input("Name", placeholder="strong and rare")
        if st.form_submit_button("Save this filter", disabled=not text):
            try:
                save_filter(run, (name or "").strip(), text)
                st.rerun()
            except SaelabError as error:
                notices.problem(error)


def _write(text: str) -> None:
    st.session_state[FILTER] = text
    _anew()


def _anew() -> None:
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    st.session_state.pop(PAGE, None)


def _narrow(columns: Sequence[str], condition: str | None) -> None:
    """Put a condition in place of what the filter said of these columns."""
    if condition is not None:
        _write(_written().replaced(columns, condition).text)


def _written() -> Where:
    """The filter in its line; none for one that cannot be read."""
    try:
        return Where.parse(st.session_state.get(FILTER) or "")
    except SaelabError:
        return Where()


def classes(index: Index, found: Atlas) -> None:
    """Dead, ultra-rare and dense features: how many, and a button that shows them alone; the least F1 of a label."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        shown = f"{int(found.passes.sum()):,} of {len(found.passes):,} features pass"
        st.markdown(f"**{shown}**", width="content")
        for share in found.classes:
            st.button(f"{share.name} {share.all:,}", help=f"{DEFINITIONS[share.name]}: `{share.condition}`",
                      on_click=_narrow, args=(CLASS_COLUMNS, share.condition), key=f"class {share.name}")  # fmt: skip
        if index.scored:
            st.space("stretch")
            _least_f1()


def _least_f1() -> None:
    """The smallest F1 of a label that passes: what the filter says of it, and a field that writes it there."""
    st.session_state[LEAST] = _written().at_least("f1")
    st.markdown("F1 at least", width="content", help=LEAST_HOW)
    st.number_input("F1 at least", 0.0, 1.0, None, 0.1, key=LEAST, placeholder="any", on_change=_least_written,
                    width=120, label_visibility="collapsed")  # fmt: skip


def _least_written() -> None:
    least = st.session_state[LEAST]
    _write(_written().replaced(("f1",), "" if least is None else f"f1 >= {least:g}").text)


def as_command(index: Index, asked: Where) -> None:
    """The same question for the terminal, with a button to copy it."""
    where = ["--where", asked.text] if asked.text else []
    st.code(shlex.join(["saelab", "atlas", str(state.choice().checkpoint), *where]), language="bash")


def density_chart(found: Atlas) -> None:
    st.subheader("How often against how strongly", anchor=False, help="Density: share of the counted tokens on which "
                 "a feature fires. Maximum: its strongest activation. Dead features have no place here.")  # fmt: skip
    _brushed("density", atlas_charts.density_by_maximum(found), ("density", "max"), exponents=True)


def map_chart(found: Atlas, how: str) -> None:
    st.subheader("Map of decoder directions", anchor=False, help=how or None)
    _brushed("map", atlas_charts.decoder_map(found), ("pc1", "pc2"), exponents=False)


def cosine_chart(found: Atlas) -> None:
    st.subheader("Encoder against decoder", anchor=False, help="Cosine of a feature's encoder column and its decoder "
                 "row. Low: what it reads is not what it writes.")  # fmt: skip
    if not found.cosines:
        notices.empty("Not defined", "Encoder and decoder stand in different spaces.")
        return
    _clicked("cosine", atlas_charts.bars(found.cosines, "cosine of encoder and decoder"), ("cosine",))


def kinds_chart(title: str, help_: str, name: str, shares: Sequence[Share]) -> None:
    st.subheader(title, anchor=False, help=help_)
    _clicked(name, atlas_charts.bars(shares, "features", horizontal=True), (name,))


def _brushed(name: str, figure: Any, columns: tuple[str, str], exponents: bool) -> None:
    """A chart over which a box is drawn."""
    _draw(name, figure, "box", columns, lambda drawn: atlas_charts.condition_of(drawn, *columns, exponents))


def _clicked(name: str, figure: Any, columns: tuple[str, ...]) -> None:
    """A chart whose bars are clicked. Streamlit passes clicks on only where dragging draws no box."""
    _draw(name, figure, "points", columns, atlas_charts.kind_of)


def _draw(name: str, figure: Any, mode: str, columns: tuple[str, ...], said: Callable[[Any], str | None]) -> None:
    """A chart; what is selected on it says a condition, which takes the place of what the filter said of `columns`."""
    key = f"atlas {name} {st.session_state.get(ROUND, 0)}"

    def selected() -> None:
        _narrow(columns, said(st.session_state[key]["selection"]))

    st.plotly_chart(figure, key=key, on_select=selected, selection_mode=mode, config=charts.CONFIG)


def table(index: Index, asked: Where) -> int | None:
    """The features that pass, sorted; the one that was chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        order = st.selectbox("Sort by", ORDERS, key="order", bind="query-params", on_change=_anew, width=200)
        way = st.segmented_control("Order", ("high", "low"), default="high", required=True, key="way",
                                   bind="query-params", on_change=_anew)  # fmt: skip
        st.space("stretch")
        offset = (st.session_state.get(PAGE, 1) - 1) * PER_PAGE
        found = index.features(order, way == "high", asked, PER_PAGE, offset)
        if found.total > PER_PAGE:
            st.pagination(-(-found.total // PER_PAGE), key=PAGE, max_visible_pages=5)
    if not found.rows:
        notices.empty("No feature passes", "Widen the filter, or clear it.")
        return None
    return tables.features(found.rows, key=f"atlas table {asked.text} {order} {way} {offset}")


def open_feature(feature: int) -> None:
    """The feature's page."""
    st.switch_page("views/feature.py", query_params={**pickers.here(), "feature": str(feature)})
