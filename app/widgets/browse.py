"""How the table of features is asked for: filters, order, page. What is asked stands in the address."""

from dataclasses import dataclass

import streamlit as st

from saelab.features import FeatureFilter

PER_PAGE = 100
PAGE = "page of features"
DENSITIES = ("0", "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1")
ORDERS = ("density", "f1", "max", "mean", "count", "cosine", "feature", "label")
NAMES = {"f1": "F1", "count": "tokens", "cosine": "enc·dec"}
F1_HOW = "Of the automatic label, on documents it was not chosen on. Features without a measured one are left out."
FIRING = {"all": None, "firing": True, "dead": False}


@dataclass(frozen=True)
class Query:
    """One page of the table."""

    order: str
    descending: bool
    where: FeatureFilter
    offset: int


def filters(labelled: bool, scored: bool) -> Query:
    """Draw the filters: `labelled`, some features have labels to search in; `scored`, some labels an F1 to sort by."""
    first, second, third = st.columns([0.5, 0.3, 0.2], vertical_alignment="bottom")
    example = "comment" if labelled else "no labels yet: saelab eval --only syntax"
    label = first.text_input("Label contains", key="label", bind="query-params", on_change=_first_page,
                             placeholder=example, disabled=not labelled, icon=":material/search:")  # fmt: skip
    order = second.selectbox("Sort by", ORDERS, index=ORDERS.index("f1" if scored else "density"), key="order",
                             bind="query-params", on_change=_first_page,
                             format_func=lambda name: NAMES.get(name, name))  # fmt: skip
    way = third.segmented_control("Order", ("high", "low"), default="high", required=True, key="way",
                                  bind="query-params", on_change=_first_page, width="stretch",
                                  label_visibility="collapsed")  # fmt: skip
    wide, least, narrow = st.columns([0.45, 0.2, 0.35], gap="medium")
    low, high = wide.select_slider("Density between", DENSITIES, value=("0", "1"), key="density", on_change=_first_page)
    f1 = least.number_input("F1 at least", 0.0, 1.0, value=None, step=0.1, key="f1", bind="query-params",
                            placeholder="any", on_change=_first_page, disabled=not scored, help=F1_HOW)  # fmt: skip
    firing = narrow.segmented_control("Fires", tuple(FIRING), default="all", required=True, key="fires",
                                      bind="query-params", on_change=_first_page)  # fmt: skip
    where = FeatureFilter(
        min_density=None if low == "0" else float(low),
        max_density=None if high == "1" else float(high),
        label=(label or "").strip() or None,
        min_f1=f1 if scored else None,
        alive=FIRING[firing or "all"],
    )
    return Query(order, way == "high", where, (st.session_state.get(PAGE, 1) - 1) * PER_PAGE)


def _first_page() -> None:
    st.session_state.pop(PAGE, None)


def pages(total: int) -> None:
    """How many features match, and the pages of the table when it has several."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(f"{total:,} features. Tick one to open it.", width="content")
        if total > PER_PAGE:
            st.pagination(-(-total // PER_PAGE), key=PAGE, max_visible_pages=5)
