"""Every replacement by name. A new one is a file here and a line below."""

from saelab.sae.replacements.base import Replacement
from saelab.sae.replacements.clt import CLT
from saelab.sae.replacements.lorsa import Lorsa

REPLACEMENTS: dict[str, type[Replacement]] = {
    "clt": CLT,
    "lorsa": Lorsa,
}

__all__ = ["CLT", "REPLACEMENTS", "Lorsa", "Replacement"]
