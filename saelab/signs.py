"""Text from a model or a file, made visible: nothing in it moves its neighbours, hides, or fills a page.

The same signs on pages, in the terminal, and in the words of rules. What comes out is text still, not markup.
"""

import unicodedata

SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # Unicode categories without a glyph of their own
LONGEST = 40  # characters of one token that are shown: with the length said, as many as a column takes at 1280


def sign(character: str) -> str:
    """What is shown of a character: itself, a sign, or ⟨U+202E⟩ for one that has no sign."""
    if character in SIGNS:
        return SIGNS[character]
    if ord(character) < 32:
        return chr(0x2400 + ord(character))  # ␀ ␁ ␂ …
    if character == "\N{NO-BREAK SPACE}" or unicodedata.category(character) in HIDDEN:
        return f"⟨U+{ord(character):04X}⟩"
    return character


def visible(text: str) -> str:
    """`text` on one line, nothing in it invisible."""
    return "".join(map(sign, text))


def cut(token: str) -> str:
    """A token that is too long to be shown: its beginning, and how long it is."""
    return token if len(token) <= LONGEST else f"{token[:LONGEST]}… ({len(token):,} characters)"


def token(text: str) -> str:
    """A token on one line, cut where it is too long."""
    return visible(cut(text))


def named(text: str) -> str:
    """A token as a name, in a table or on an axis: nothing but spaces becomes ␣, which can be seen."""
    return token(text) if text.strip(" ") else cut("␣" * len(text))


def quoted(text: str) -> str:
    """A token in quotation marks, each of its spaces a sign: what tells "return" from " return"."""
    return f'"{token(text).replace(" ", "␣")}"'
