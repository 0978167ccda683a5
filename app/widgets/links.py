"""What an address says: `?run= &sae= &feature= &text= &steer=`. What it says wrongly becomes a default and a note."""

import re
from collections.abc import Sequence

from saelab.app.catalogue import Choice

STRONGEST = 10.0  # steering strength; text breaks down at about half of it


def feature(raw: str | None, n: int, default: int = 0) -> tuple[int, str | None]:
    """The feature a link names, of `n`."""
    if raw is None:
        return default, None
    if re.fullmatch(r"[0-9]{1,9}", raw.strip()) and int(raw) < n:
        return int(raw), None
    return default, f"The link asks for feature {raw[:40]!r}, but there are features 0 to {n - 1}. Showing {default}."


def features(raw: str, n: int, most: int) -> tuple[list[int], str | None]:
    """Features as a person types them: `12, 40`. Each once, in the order given."""
    words = [word for word in re.split(r"[,;\s]+", raw) if word]
    good = list(dict.fromkeys(int(word) for word in words if re.fullmatch(r"[0-9]{1,9}", word) and int(word) < n))
    bad = [word for word in words if not (re.fullmatch(r"[0-9]{1,9}", word) and int(word) < n)]
    if bad:
        return good[:most], f"No such feature: {', '.join(bad)[:80]}. There are features 0 to {n - 1}."
    return good[:most], f"At most {most} features at once: the first {most} are used." if len(good) > most else None


def sae(run: str | None, name: str | None, known: Sequence[Choice]) -> tuple[Choice, str | None]:
    """The SAE a link names, among those there are."""
    if run is None and name is None:
        return known[0], None
    fitting = [one for one in known if run in (None, one.run) and name in (None, one.sae)]
    if fitting:
        return fitting[0], None
    asked = "/".join(part for part in (run, name) if part)
    return known[0], f"The link asks for the SAE {asked[:80]!r}, which is not here. Showing {known[0].sae}."


def span(raw: str | None, n: int) -> tuple[tuple[int, int] | None, str | None]:
    """The tokens a link picks of a text of `n`: `3-9`, counted from 0, both ends included; None for all."""
    if raw is None:
        return None, None
    match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", raw.strip())
    if match and int(match[1]) <= int(match[2] or match[1]) < n:
        return (int(match[1]), int(match[2] or match[1])), None
    return None, f"The link's span {raw[:40]!r} is no FIRST-LAST of tokens 0 to {n - 1}. Looking at all."


def number(name: str, raw: str | None, low: float, high: float, default: float) -> tuple[float, str | None]:
    """A number a link gives for `name`, if it lies between the bounds."""
    if raw is None:
        return default, None
    if re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", raw) and low <= float(raw) <= high:
        return float(raw), None
    return default, f"The link's {name} {raw[:40]!r} is not a number from {low:g} to {high:g}. Using {default:g}."


def one_of(name: str, raw: str | None, known: Sequence[str]) -> tuple[str, str | None]:
    """A word a link gives for `name`, if it is known; else the first of them."""
    if raw is None or raw in known:
        return raw or known[0], None
    return known[0], f"The link's {name} {raw[:40]!r} is none of {', '.join(known)}. Using {known[0]}."


def text(raw: str | None, default: str, longest: int) -> tuple[str, str | None]:
    """The text a link brings along, cut where it is too long."""
    if raw is None:
        return default, None
    note = f"The link's text is longer than {longest:,} characters and was cut." if len(raw) > longest else None
    return raw[:longest], note
