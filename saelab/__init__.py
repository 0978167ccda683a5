"""saelab: harvest activations, train sparse autoencoders, browse, steer, ablate and measure their features.

Four names carry a notebook from text to a steered feature: LanguageModel, Store, SAE, Index.
"""

from importlib import import_module
from pathlib import Path as _Path
from typing import Any

_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "kernels").is_dir():
    __path__.append(str(_root))  # in a checkout, saelab.kernels is ./kernels and saelab.app is ./app

_HOME = {"LanguageModel": "saelab.lm", "Store": "saelab.store", "SAE": "saelab.sae", "Index": "saelab.features"}
__all__ = ["SAE", "Index", "LanguageModel", "Store"]


def __getattr__(name: str) -> Any:
    """Import the four names when they are asked for, so that `import saelab` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'saelab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
