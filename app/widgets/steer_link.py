"""Features with strengths as text, in the address and as people type them; of other SAEs of the run by their name.

12, 40, other-sae@7            typed            12:2,other-sae@7:-1.5            in the address
"""

import re
from collections.abc import Mapping

from saelab.app.widgets.links import STRONGEST
from saelab.contracts import NAME

Key = tuple[str, int]  # name of the SAE, feature
_FEATURE = rf"(?:({NAME.pattern})@)?([0-9]{{1,9}})"
_STRENGTH = r"(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)"


def typed(raw: str, here: str, sizes: Mapping[str, int], most: int) -> tuple[list[Key], str | None]:
    """Features as a person types them, each once; `sizes` are the numbers of features of the SAEs there are."""
    words = [word for word in re.split(r"[,;\s]+", raw) if word]
    found = {word: _key(word, here, sizes) for word in words}
    good = list(dict.fromkeys(key for key in found.values() if key))
    bad = [word for word, key in found.items() if key is None]
    if bad:
        return good[:most], f"No such feature: {', '.join(bad)[:80]}. There are {_known(sizes)}."
    return good[:most], f"At most {most} features at once: the first {most} are used." if len(good) > most else None


def _key(word: str, here: str, sizes: Mapping[str, int]) -> Key | None:
    match = re.fullmatch(_FEATURE, word)
    if not match:
        return None
    name, feature = match[1] or here, int(match[2])
    return (name, feature) if feature < sizes.get(name, 0) else None


def _known(sizes: Mapping[str, int]) -> str:
    return "; ".join(f"features 0 to {n - 1} of {name}" for name, n in sizes.items())


def steers(raw: str | None, here: str, sizes: Mapping[str, int], most: int) -> tuple[dict[Key, float], str | None]:
    """The features a link steers, each with its strength."""
    found: dict[Key, float] = {}
    for part in raw.split(",") if raw else ():
        match = re.fullmatch(rf"\s*({_FEATURE}):{_STRENGTH}\s*", part)
        key = _key(match[1], here, sizes) if match else None
        if match is None or key is None or abs(float(match[4])) > STRONGEST or len(found) == most:
            return found, f"The link's steering {part[:40]!r} is not FEATURE:STRENGTH of this SAE and was left out."
        found[key] = float(match[4])
    return found, None


def written(strengths: Mapping[Key, float], here: str) -> str:
    """What `steers` reads back."""
    return ",".join(f"{shown(key, here)}:{strength:g}" for key, strength in strengths.items())


def shown(key: Key, here: str) -> str:
    """A feature as it is typed: with the name of its SAE where that is another."""
    name, feature = key
    return str(feature) if name == here else f"{name}@{feature}"
