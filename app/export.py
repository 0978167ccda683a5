"""A feature's page as one HTML file that opens from disk: no script, no picture or font from elsewhere, both themes.

The content security policy in its head lets a browser load nothing at all, whatever the page's text says.
"""

from collections.abc import Sequence

from saelab.app.widgets import tokens
from saelab.app.widgets.style import css
from saelab.explain.kept import SCORES, explanation_of
from saelab.features import Example, FeatureCard, Histogram, Index, Label

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SHOWN = 10  # neighbours and tokens per list
LAYOUT = """
body { font: 15px/1.5 "Source Sans", system-ui, sans-serif; max-width: 72rem; margin: 1.5rem auto; padding: 0 1rem;
  color: var(--sl-ink); background: var(--sl-on); }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 1.6rem 0 .3rem; }
p, caption, figcaption, dd { color: var(--sl-muted); font-size: .85rem; margin: .2rem 0; }
table.facts { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
table.facts td, table.facts th { padding: .2rem .8rem .2rem 0; text-align: left; font-weight: 400;
  border-bottom: 1px solid var(--sl-faint); }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; } figure { margin: 0; }
.own { font-weight: 600; } rect { fill: var(--sl-blue); } svg text { fill: var(--sl-muted); font-size: 11px; }
dt { font-size: .85rem; margin-top: .4rem; }
"""


def feature_page(index: Index, feature: int, examples: int = 20) -> str:
    """The page. Raises FeatureIndexError when there is no such feature."""
    card = index.card(feature, examples)
    name = f"Feature {feature} of {index.checkpoint.name}"
    parts = [
        f"<h1>{tokens.escaped(name)}</h1>",
        _called(index, feature),
        _statistics(card, index),
        "<h2>How strongly it fires</h2>" + _histogram(card.histogram) if card.stats.count else "",
        _effects(card),
        _examples("Strongest examples", card.top, card),
        *(
            _examples(f"Rank quantile {q + 1} of {len(card.quantiles)}", found, card)
            for q, found in reversed(list(enumerate(card.quantiles)))
        ),
        _related(card),
        _computed(index),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{tokens.escaped(name)}</title>'
        f"<style>{css('light')}\n@media (prefers-color-scheme: dark) {{ {css('dark')} }}\n{LAYOUT}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _called(index: Index, feature: int) -> str:
    """The labels and the note."""
    own, found = index.notebook.notes.get(feature), index.automatic.get(feature)
    said = f'<p class="own">{tokens.escaped(own.label)}</p>' if own and own.label else ""
    if found is not None:
        said += f"<p>{tokens.escaped(found.text)}{_figures(found)}</p>"
    return said + (tokens.note(own.text) if own and own.text else "") + _explained(index, feature)


def _explained(index: Index, feature: int) -> str:
    """What a language model said of it, if one was asked."""
    found = explanation_of(index, feature)
    if found is None:
        return ""
    scores = [(name, getattr(found, name)) for name in SCORES]
    figures = [f"{name} {score.balanced_accuracy:.2f}, of chance 0.5" for name, score in scores if score is not None]
    who = ", ".join([f"{found.model} at {found.url}, {found.when}", *figures])
    return f"<p>{tokens.escaped(found.text)} ({tokens.escaped(who)})</p>"


def _figures(label: Label) -> str:
    figures = {"F1": label.f1, "precision": label.precision, "recall": label.recall, "above": label.threshold}
    said = ", ".join(f"{name} {value:.3g}" for name, value in figures.items() if value is not None)
    return f" ({said}; on documents it was not chosen on)" if said else ""


def _statistics(card: FeatureCard, index: Index) -> str:
    stats = card.stats
    rows = [
        ("density", f"{stats.density:.4%} of {index.n_tokens:,} tokens"),
        ("tokens, contexts", f"{stats.count:,}, {stats.contexts:,}"),
        ("maximum, mean, standard deviation", f"{stats.max:.4g}, {stats.mean:.4g}, {stats.std:.4g}"),
        ("quantiles", ", ".join(f"{level:.0%}: {value:.3g}" for level, value in stats.quantiles)),
        ("cosine of encoder and decoder", "–" if stats.cosine is None else f"{stats.cosine:.3f}"),
    ]
    return _table("", rows)


def _table(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{tokens.escaped(a)}</th><td>{tokens.escaped(b)}</td></tr>" for a, b in rows)
    return f'<table class="facts">{f"<caption>{tokens.escaped(caption)}</caption>" if caption else ""}{lines}</table>'


def _histogram(found: Histogram, width: int = 620, height: int = 130) -> str:
    """Tokens by activation, in bins of equal ratio, so equally wide on the picture."""
    counts = found.counts
    top, bar = max(counts, default=1), width / max(1, len(counts))
    bars = "".join(
        f'<rect x="{i * bar:.1f}" y="{height - height * n / top:.1f}" width="{max(0.5, bar - 1):.1f}" '
        f'height="{height * n / top:.1f}"><title>{found.edges[i]:.3g} to {found.edges[i + 1]:.3g}: {n:,}</title></rect>'
        for i, n in enumerate(counts)
    )
    ends = (
        f'<text x="0" y="{height + 14}">{found.edges[0]:.3g}</text>'
        f'<text x="{width}" y="{height + 14}" text-anchor="end">{found.edges[-1]:.3g}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {width} {height + 18}" width="{width}" role="img" '
        f'aria-label="histogram of activations">{bars}{ends}</svg>'
        f"<figcaption>tokens by activation, four bins per factor of two; the highest bar is {top:,} tokens</figcaption>"
        "</figure>"
    )


def _effects(card: FeatureCard) -> str:
    if card.effects is None:
        return ""
    sides = (("promotes", card.effects.promoted, "up"), ("suppresses", card.effects.suppressed, "down"))
    drawn = [tokens.changes(name, [(e.token, e.id, e.logit) for e in found[:SHOWN]], way) for name, found, way in sides]
    return f'<h2>What it writes</h2><div class="two"><div>{drawn[0]}</div><div>{drawn[1]}</div></div>'


def _examples(title: str, found: Sequence[Example], card: FeatureCard) -> str:
    if not found:
        return ""
    strips = tokens.strips(tokens.example_strip(one, card.stats.max, lines=False) for one in found)
    return f"<h2>{tokens.escaped(title)}</h2>{strips}"


def _related(card: FeatureCard) -> str:
    near = [(f"{one.feature}", f"{one.cosine:.3f} {_words(one.label)}") for one in card.neighbours[:SHOWN]]
    both = [(f"{one.feature}", f"{one.jaccard:.3f} {_words(one.label)}") for one in card.coactive[:SHOWN]]
    return (
        f'<h2>Features beside it</h2><div class="two"><div>{_table("points the same way: cosine", near)}</div>'
        f"<div>{_table('fires together: Jaccard index', both)}</div></div>"
    )


def _words(label: Label | None) -> str:
    return label.text if label else ""


def _computed(index: Index) -> str:
    """What it was made from, and the definition of every number."""
    facts = index.facts
    origin = [(name, str(facts.get(name))) for name in ("checkpoint", "weights", "store", "site", "tokens", "features")]
    how = "".join(
        f"<dt>{tokens.escaped(name.removeprefix('how '))}</dt><dd>{tokens.escaped(str(facts[name]))}</dd>"
        for name in sorted(facts)
        if name.startswith("how ")
    )
    return f"<h2>How it was computed</h2>{_table('', origin)}<dl>{how}</dl>"
