"""Page: generate with features turned up or down, beside the same generation without."""

import streamlit as st

from saelab.app.widgets import dose, generation, keep, notices, recipe, state

index = state.index()
title, saved = st.columns([0.7, 0.3], vertical_alignment="center")
title.header("Steer", anchor=False)
with saved:
    keep.list_saved()
order = recipe.form(recipe.chosen(index))
if order is not None:
    recipe.keep_in_link(order.recipe)
    if order.dose:
        dose.run(order.recipe)
        generation.show_last()
    else:
        dose.forget()
        generation.run(order.recipe)
elif not any([dose.show_last(), generation.show_last()]):
    notices.empty("Default and steered, side by side", "Choose features and strengths, then generate.")
keep.offer(generation.last_recipe())
