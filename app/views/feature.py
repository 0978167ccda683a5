"""Page: one feature: how often and how strongly it fires, on what, what it writes, and what it resembles."""

import streamlit as st

from saelab.app.widgets import (
    cards,
    charts,
    elsewhere,
    figures,
    keepsake,
    naming,
    notices,
    pickers,
    samples,
    sources,
    state,
    words,
)

index = state.index()
feature = pickers.feature(index.n_features)
card = index.card(feature)
how = index.facts

left, right = st.columns([0.55, 0.45], vertical_alignment="top")
with left:
    st.header(f"Feature {feature}", anchor=False)
    naming.badges(index, feature)
    with st.container(horizontal=True, gap="small"):
        naming.form(index, feature)
        keepsake.download(index, feature)
    words.panel(index, card)
with right:
    pickers.step_through(feature, index.n_features)
    cards.onward(feature)
figures.statistics(card.stats, how.get("how density", ""))

examples, facts = st.columns([0.62, 0.38], gap="large")
with examples:
    if card.stats.count == 0:
        notices.empty("A dead feature", f"It never fired on {index.n_tokens:,} tokens, so there are no examples.")
    else:
        view = pickers.examples_view()
        samples.shown(card, index, view.kind, view.lines)
        samples.check(card, index)
        sources.panel(card, index)
with facts:
    if card.stats.count:
        log_y = pickers.histogram_scale(how.get("how histogram", ""))
        charts.draw(charts.activation(card.histogram, log_y), key="histogram")
    cards.effects(card.effects, how.get("how logits", ""))
    cards.related(card.neighbours, card.coactive, how)
    elsewhere.nearest(feature)
