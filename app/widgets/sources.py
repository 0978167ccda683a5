"""Where an attention feature comes from: the tokens and heads whose values make up its pre-activation."""

import plotly.graph_objects as go
import streamlit as st

from saelab.app.widgets import charts, figures, notices, state, stored, tables, tokens
from saelab.app.widgets.samples import NO_STORE
from saelab.app.widgets.style import BLUE, ORANGE, theme
from saelab.errors import SaelabError
from saelab.features import FeatureCard, Index, SourceAttention, sources_of
from saelab.features.source_attention import reads_attention

ASKED = "sources asked for"
ALL = "all heads"
LISTED = 12
EQUATION = (
    r"\mathrm{pre}_i(t) = \sum_{h,s} A_h(t,s)\, \langle v_h(s),\, W_{enc,h}[:,i] \rangle + b_{enc,i} - \langle b_{dec},"
    r"\, W_{enc}[:,i] \rangle"
)
HOW = (
    "Exact, as z is a sum over source tokens: what head h takes (A, its attention) of token s's value v, read by the "
    "feature's encoder. The attention patterns are taken as they are. Contributions are in units of the feature's "
    "activation; with the bias they add up to the pre-activation, which a threshold or TopK may still set to zero."
)
PLACE = "Blue tokens add to it, orange ones take from it; outlined: the token on which it fires. Point at one for more."


@st.fragment
def panel(card: FeatureCard, index: Index) -> None:
    """One of the strongest examples taken apart; nothing for an SAE that does not read attention's z."""
    if not card.top or not reads_attention(index.site):
        return
    store = stored.store()
    with st.expander("Which source tokens it comes from", icon=":material/hub:", expanded=_asked(card) is not None):
        if store is None:
            st.caption(NO_STORE)
            return
        with st.form("sources", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            rank = st.number_input("Example, by rank", 1, len(card.top), 1, width=160)
            if st.form_submit_button("Take apart", icon=":material/play_arrow:"):
                st.session_state[ASKED] = (card.feature, int(rank))
        if (chosen := _asked(card)) is not None:
            _drawn(card, chosen)
        st.latex(EQUATION)
        st.caption(HOW)


def _asked(card: FeatureCard) -> int | None:
    """The rank that was asked for of this feature."""
    feature, rank = st.session_state.get(ASKED, (None, 0))
    return rank if feature == card.feature and 1 <= rank <= len(card.top) else None


def _drawn(card: FeatureCard, rank: int) -> None:
    try:
        found = _found(card, rank)
    except SaelabError as error:
        notices.problem(error)
        return
    figures.tiles_row(
        [
            ("contributions", f"{found.total - found.bias:.4f}", "Of all tokens through all heads."),
            ("bias", f"{found.bias:+.4f}", "b_enc, less what b_dec takes off what is read."),
            ("pre-activation", f"{found.pre_activation:.4f}", "Of the encoder on the model's own z: their sum."),
            ("activation", f"{found.activation:.4f}", "What becomes of it."),
        ]
    )
    head = st.selectbox("Head", [ALL, *range(len(found.contributions))], key="source head", width=160)
    _text(found, None if head == ALL else int(head))
    charts.draw(heads(found), key="heads")
    _strongest(found)


def _found(card: FeatureCard, rank: int) -> SourceAttention:
    """Computed once for a feature and a rank."""

    def compute() -> SourceAttention:
        store = stored.store()
        assert store is not None
        with state.models() as (lm, sae), st.spinner("Running the text …"):
            return sources_of(lm, sae, stored.rows(store), card.feature, card.top[rank - 1].row)

    return state.once("source attention", (card.feature, rank), compute)


def _text(found: SourceAttention, head: int | None) -> None:
    values = found.by_token(head)
    notes = [_note(found, token, head) for token in range(len(values))]
    strongest = max(map(abs, values), default=0.0)
    with st.container(border=True):
        st.html(tokens.text_block(tokens.spans(found.tokens, values, strongest, notes=notes, peak=len(values) - 1,
                                               lines=True)))  # fmt: skip
    st.caption(PLACE)


def _note(found: SourceAttention, token: int, head: int | None) -> str:
    """What a token says when it is pointed at: its contribution, and the head most of it goes through."""
    most = (
        max(range(len(found.contributions)), key=lambda h: abs(found.contributions[h][token])) if head is None else head
    )
    own, weight = found.contributions[most][token], found.weights[most][token]
    total = found.by_token(head)[token]
    return f"{total:+.4f}; head {most}: {own:+.4f}, attention {weight:.1%}"


def heads(found: SourceAttention) -> go.Figure:
    """What each head brings, summed over the tokens."""
    values = found.by_head
    bars = go.Bar(
        x=[f"head {number}" for number in range(len(values))], y=values,
        marker={"color": [(BLUE if value >= 0 else ORANGE)[theme()] for value in values], "line": {"width": 0}},
        hovertemplate="%{x}: <b>%{y:+.4f}</b><extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    figure.update_layout(height=190, margin=charts.MARGIN, showlegend=False, bargap=0.4)
    figure.update_yaxes(title="contribution (activation)", zeroline=True)
    return figure


def _strongest(found: SourceAttention) -> None:
    rows = found.strongest(LISTED)
    values = {
        "token": [tokens.named(found.tokens[one.token]) for one in rows],
        "position": [one.token for one in rows],
        "head": [one.head for one in rows],
        "contribution": [one.contribution for one in rows],
        "attention": [100 * one.weight for one in rows],
    }
    columns = {
        "token": tables.TEXT("source token"),
        "position": tables.NUMBER("position", format="%d", help="In the text that the model read, BOS included."),
        "head": tables.NUMBER("head", format="%d"),
        "contribution": tables.NUMBER("contribution", format="%+.4f", help="In units of the feature's activation."),
        "attention": tables.NUMBER("attention %", format="%.1f", help="Of the head to this token."),
    }
    st.dataframe(values, column_config=columns, hide_index=True, row_height=tables.ROW,
                 height=(len(rows) + 1) * tables.ROW + 3)  # fmt: skip
