"""Headline numbers, as a row of tiles."""

import streamlit as st

from saelab.app.catalogue import Headline
from saelab.features import FeatureFilter, FeatureStats, Index

DEFINITIONS = {
    "FVU": "Fraction of variance unexplained on held-out documents: 0 is perfect, 1 no better than the mean row.",
    "L0": "Features that fire on a token, on average, on held-out documents.",
    "dead": "Share of features that never fired on the indexed tokens.",
    "CE recovered": "Share of the model's loss that is kept when the SAE's output replaces the activations: "
    "1 loses nothing, 0 is as bad as setting them to zero. Measured by `saelab eval --only fidelity`.",
}


def origin(told: Headline, index: Index) -> str:
    """One line: what kind of SAE, of which model, where, over how much text."""
    return f"{told.variant or 'SAE'} · {index.n_features:,} features · {told.model} · `{index.site}`"


def headline(told: Headline, index: Index) -> None:
    """The figures of a checkpoint; a dash for one that nobody has measured."""
    dead = index.features(where=FeatureFilter(alive=False), limit=0).total
    tiles = [
        ("FVU", _number(told.fvu, ".3f")),
        ("L0", _number(told.l0, ".1f")),
        ("dead", f"{dead / index.n_features:.1%}"),
        ("CE recovered", _number(told.ce_recovered, ".1%")),
    ]
    tiles_row([*((name, value, DEFINITIONS[name]) for name, value in tiles),
               ("tokens indexed", f"{index.n_tokens:,}", index.facts.get("how density", ""))])  # fmt: skip


def statistics(stats: FeatureStats, how: str) -> None:
    """The numbers of one feature."""
    tiles_row(
        [
            ("density", f"{stats.density:.3%}", how),
            ("tokens", f"{stats.count:,}", "Tokens on which it fires."),
            ("contexts", f"{stats.contexts:,}", "Contexts in which it fires at least once."),
            ("max", _number(stats.max, ".3f"), "Its strongest activation: the unit of steering strength."),
            ("mean", _number(stats.mean, ".3f"), "Over the tokens on which it fires."),
            ("enc·dec", _number(stats.cosine, ".3f"), "Cosine of its encoder column and decoder row."),
        ]
    )


def tiles_row(tiles: list[tuple[str, str, str]]) -> None:
    """Tiles of (name, value, definition), as wide as the page."""
    for column, (name, value, help_) in zip(st.columns(len(tiles), gap="small"), tiles, strict=True):
        column.metric(name, value, help=help_ or None, border=True)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
