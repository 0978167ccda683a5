"""Tokens in the terminal: the stronger a feature fires, the stronger the background."""

from rich.text import Text

from saelab import signs
from saelab.features import Example

SHADES = ("", "on #14343b", "on #175665", "on #1b7c93", "on #20a3c2 bold")  # one blue ramp, read on dark and light


def coloured(example: Example, maximum: float) -> Text:
    """One example as a line: document, activation at its peak, and its tokens shaded by activation / `maximum`."""
    line = Text(f"{example.activation:8.3f}  {example.document:<28.28}  ")
    tokens = example.tokens or tuple(f"<{number}>" for number in example.ids)
    for token, activation in zip(tokens, example.activations, strict=True):
        level = 0 if activation <= 0 else 1 + min(3, int(4 * activation / max(maximum, 1e-9)))
        line.append(signs.token(token), style=SHADES[level])
    return line
