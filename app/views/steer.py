"""Page: generate with features turned up or down, beside the same generation without."""

import streamlit as st

from saelab.app.widgets import dose, generation, notices, recipe, state

index = state.index()
st.header("Steer", anchor=False)
chosen = recipe.features_and_mode(index)
order = recipe.form(index, chosen)
if order is not None:
    recipe.keep_in_link(order)
    if order.dose:
        dose.run(order, index)
    else:
        dose.forget()
        generation.run(order, index)
elif not dose.show_last() and not generation.show_last():
    notices.empty("Default and steered, side by side", "Choose features and strengths, then generate.")
