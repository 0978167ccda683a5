"""`--sweep sae.k=8,16,32`: many SAEs from the settings of one."""

import copy
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import yaml

from saelab.config import override
from saelab.errors import ConfigError


def sweep(values: Mapping[str, Any], sweeps: Iterable[str]) -> dict[str, Any]:
    """`values` with `sae` made a list: one entry per value of each "KEY=A,B,C", several of them as their product.

    A key begins with `sae.` or with `train.`; the latter lands under the entry's own `train`. When `sae` is a list
    already, every entry is swept.
    """
    result = copy.deepcopy(dict(values))
    axes = [_axis(text) for text in sweeps]
    if not axes:
        return result
    entries = result.get("sae", {})
    result["sae"] = [
        override({"sae": entry}, changes)["sae"]
        for entry in (entries if isinstance(entries, list) else [entries])
        for changes in product(*axes)
    ]
    return result


def _axis(text: str) -> list[str]:
    """ "sae.k=8,16" -> ["sae.k=8", "sae.k=16"]; "train.lr=…" -> ["sae.train.lr=…", …]."""
    key, _, listed = text.partition("=")
    values = _listed(listed)
    if key.startswith("train."):
        key = f"sae.{key}"
    if not key.startswith("sae.") or not values:
        raise ConfigError(f"--sweep {text!r}: expected sae.KEY=A,B,… or train.KEY=A,B,…, as in --sweep sae.k=8,16,32")
    return [f"{key}={value}" for value in values]


def _listed(text: str) -> list[str]:
    """The items as YAML would read them in a list, each written out as YAML again."""
    try:
        items = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        return []
    return [yaml.safe_dump(item, default_flow_style=True).removesuffix("...\n").strip() for item in items]
