"""Rows whose true features are known, and how much of them an SAE found.

`BEDS` lists the generators; `bed` builds one from its settings; `SyntheticRows` hands its rows to the trainer;
`score` compares an SAE with the truth.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from saelab.config import settings
from saelab.errors import ConfigError
from saelab.synthetic.beds import BEDS
from saelab.synthetic.beds.base import Bed, Sample
from saelab.synthetic.rows import SyntheticRows
from saelab.synthetic.scores import Scores, score
from saelab.synthetic.store import write_store

__all__ = ["BEDS", "Bed", "Sample", "Scores", "SyntheticRows", "bed", "score", "write_store"]


def bed(values: Mapping[str, Any], where: str = "synthetic") -> Bed:
    """The bed that `values` names under `bed`, with its settings. Raises ConfigError for what cannot be built."""
    name = values.get("bed")
    if name not in BEDS:
        near = difflib.get_close_matches(str(name), BEDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(BEDS)}."
        raise ConfigError(f"{where}.bed = {name!r} is not a bed. {hint}")
    own = {key: value for key, value in values.items() if key != "bed"}
    return BEDS[name](settings(BEDS[name].Config, own, where))
