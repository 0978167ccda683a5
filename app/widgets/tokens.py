"""Text as HTML: the only place where a model's or a file's text becomes markup.

Every token is escaped, and whatever could not be seen, could move its neighbours or would fill the page is shown as a
sign or cut (`saelab.signs`). Shades are CSS classes s1 to s16 (see `style`), so no number from outside ever enters a
style.
"""

import html
import math
import re
from collections.abc import Iterable, Sequence

from saelab.features import Example
from saelab.signs import cut, named, quoted, sign, visible

__all__ = ["named", "quoted", "visible"]  # of the signs, what pages take from here
STEPS = 16
WIDE = re.compile(r" {3,}")  # indentation, which on one line only takes room
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&=])")


def tick(text: str) -> str:
    """A token as a label of a chart, where Plotly reads tags and these three entities, but no &quot;.

    Spaces at its end would only move it away from its place.
    """
    return html.escape(named(text).rstrip(" "), quote=False)


def escaped(text: str) -> str:
    """`text` as the content of an element or an attribute."""
    return html.escape(visible(text), quote=True)


def markdown(text: str) -> str:
    """`text` where Streamlit reads Markdown (titles, labels, messages): every sign of it taken literally."""
    return MARKDOWN.sub(r"\\\1", visible(text))


def step(value: float, maximum: float) -> int:
    """The shade of `value` on a scale that ends at `maximum`: 0 for none, 1 to STEPS, negative below zero."""
    if not (math.isfinite(value) and math.isfinite(maximum) and maximum > 0) or value == 0:
        return 0
    shade = max(1, min(STEPS, math.ceil(STEPS * abs(value) / maximum)))
    return shade if value > 0 else -shade


def spans(
    tokens: Sequence[str],
    values: Sequence[float | None],
    maximum: float,
    *,
    notes: Sequence[str] | None = None,
    peak: int | None = None,
    lines: bool = False,
    numbered: bool = False,
) -> str:
    """Tokens, each shaded by its value (blue above zero, orange below) and naming it, or its note, when pointed at.

    With `lines`, line breaks break lines; without, all stands on one line and indentation takes two spaces. With
    `numbered`, each says which token it is of (`data-i`).
    """
    said = notes or [figure(value) for value in values]
    return "".join(
        _span(token, step(value or 0.0, maximum), note, i == peak, lines, i if numbered else None)
        for i, (token, value, note) in enumerate(zip(tokens, values, said, strict=True))
    )


def _span(token: str, shade: int, note: str, peak: bool, lines: bool, number: int | None) -> str:
    """One token; where line breaks break lines, one span for each of the lines it reaches into."""
    name = " ".join(filter(None, [_shade_class(shade), "pk" if peak else ""]))
    mark = f' class="{name}"' if name else ""
    tip = f' data-v="{escaped(note)}"' if note else ""
    tip += f' data-i="{number}"' if number is not None else ""
    token = cut(token)
    parts = re.split(r"(?<=\n)(?=.)", token, flags=re.DOTALL) if lines else [WIDE.sub("  ", token)]
    drawn = "\n".join(f"<span{mark}{tip}>{signed(part)}</span>" for part in parts)
    return drawn + "\n" if lines and token.endswith("\n") else drawn


def _shade_class(shade: int) -> str:
    return f"{'s' if shade > 0 else 'o'}{abs(shade)}" if shade else ""


def signed(token: str) -> str:
    """One token, its signs set in a lighter colour than its text."""
    return "".join(
        f"<i>{escaped(character)}</i>" if sign(character) != character else escaped(character) for character in token
    )


def figure(value: float | None) -> str:
    """A number in four significant digits; nothing for none and for zero."""
    return f"{value:#.4g}" if value else ""


def text_block(inner: str) -> str:
    """A run of spans as one block of text."""
    return f'<div class="sl-text">{inner}</div>'


def note(text: str) -> str:
    """What a person wrote, its line breaks kept."""
    return f'<div class="sl-note">{"<br>".join(escaped(line) for line in text.splitlines())}</div>'


def aside(text: str) -> str:
    """A remark in small grey letters, in which nothing becomes a link."""
    return f'<span class="sl-key">{escaped(text)}</span>'


def strip(value: float, where: str, note: str, inner: str) -> str:
    """One example: how strongly it fires, the text around it, and where it stands."""
    return (
        f'<div class="sl-ex"><div title="{escaped(note)}"><div class="sl-val">{escaped(figure(value))}</div>'
        f'<div class="sl-doc">{escaped(where)}</div></div><div class="sl-body">{inner}</div></div>'
    )


def example_strip(example: Example, maximum: float, lines: bool) -> str:
    """An example of a feature whose strongest activation is `maximum`."""
    pieces = example.tokens or tuple(f" {token}" for token in example.ids)
    inner = spans(pieces, example.activations, maximum, peak=example.peak, lines=lines)
    rank = f"; rank {example.rank + 1:,} of its contexts" if example.rank >= 0 else ""
    where = f"{example.document}:{example.pos}"
    return strip(example.activation, where, f"{example.document}, token {example.pos:,}{rank}", inner)


def strips(pieces: Iterable[str]) -> str:
    """A list of examples as one element."""
    return f'<div class="sl-list">{"".join(pieces)}</div>'


def changes(name: str, found: Sequence[tuple[str, int, float]], way: str) -> str:
    """Tokens as (text, id, change of the logit), a bar for each; `way` is "up" (blue) or "down" (orange)."""
    strongest = max((abs(logit) for _, _, logit in found), default=0.0) or 1.0
    lines = "".join(_change(token, id_, logit, abs(logit) / strongest, way) for token, id_, logit in found)
    return f'<div class="sl-head">{escaped(name)}</div><table class="sl-tok">{lines}</table>'


def _change(token: str, id_: int, logit: float, share: float, way: str) -> str:
    bare = token.rstrip(" ")  # spaces at the end are seen: "↵␣␣" and "↵␣␣␣␣" are two tokens
    shown = signed(cut(bare)) + (f"<i>{cut('␣' * (len(token) - len(bare)))}</i>" if token != bare else "")
    return (
        f'<tr><td title="{escaped(quoted(token))}, token {id_}">{shown}</td><td><div class="sl-bar {way}">'
        f'<progress value="{share:.3f}" max="1"></progress><span>{logit:+.3f}</span></div></td></tr>'
    )


def lines(text: str) -> str:
    """A whole text, its line breaks kept."""
    return f"{signed(chr(10))}\n".join(signed(line) for line in text.split("\n"))
