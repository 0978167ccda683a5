"""Recipes that are kept beside the run: a list of links, and what to do with the one that was generated last."""

import streamlit as st

from saelab.app.widgets import notices, pickers, state
from saelab.errors import SaelabError
from saelab.intervene import SteerRecipe, recipe_names, save_recipe

NAMED = "recipe name"


def list_saved() -> None:
    """Links to the recipes of this run."""
    names = recipe_names(state.run())
    with st.popover(f"Saved recipes ({len(names)})", icon=":material/bookmark:", width="stretch", disabled=not names):
        for name in names:
            st.page_link("views/steer.py", label=name, icon=":material/alt_route:",
                         query_params={**pickers.here(), "steer": name})  # fmt: skip


def offer(recipe: SteerRecipe | None) -> None:
    """Save it under a name, or take it along as a Python program."""
    if recipe is None:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", key=NAMED, placeholder="quiet-comments", width=260, max_chars=100,
                             help="Kept as recipes/NAME.json beside the run; the link is ?steer=NAME.")  # fmt: skip
        if st.button("Save recipe", icon=":material/bookmark_add:"):
            _save(name or "", recipe)
        st.download_button("Python", recipe.snippet(state.run()), "steer.py", "text/x-python", on_click="ignore",
                           icon=":material/code:", help="The same generation as a program.")  # fmt: skip


def _save(name: str, recipe: SteerRecipe) -> None:
    try:
        path = save_recipe(state.run(), name, recipe)
    except SaelabError as error:
        notices.problem(error)
        return
    st.query_params.from_dict({**pickers.here(), "steer": name})
    st.success(f"Kept as {path.parent.name}/{path.name}; the address above now opens it.", icon=":material/bookmark:")
