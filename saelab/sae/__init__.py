"""Sparse autoencoders: every published kind behind one interface, loss and sparse code, and their checkpoints.

`VARIANTS` is the list; `sae_config` fills the settings of one of them; `SAE.load` reads a checkpoint of any.
`REPLACEMENTS` are trained the same way and replace layers: `Replacement.load` reads those too. `MODELS` are both.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from saelab.config import settings
from saelab.errors import ConfigError
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import Normalisation
from saelab.sae.replacements import REPLACEMENTS, Replacement
from saelab.sae.variants import VARIANTS

__all__ = ["MODELS", "REPLACEMENTS", "SAE", "VARIANTS", "Normalisation", "Replacement", "SAEConfig", "sae_config"]

MODELS: dict[str, type[SAE]] = {**VARIANTS, **REPLACEMENTS}


def sae_config(values: Mapping[str, Any], where: str = "sae") -> SAEConfig:
    """The settings of the variant that `values` names. Raises ConfigError for whatever cannot be built."""
    variant = values.get("variant")
    if variant not in MODELS:
        near = difflib.get_close_matches(str(variant), MODELS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(MODELS)}."
        raise ConfigError(f"{where}.variant = {variant!r} is not a variant. {hint}")
    return settings(MODELS[variant].Config, values, where)
