"""Load a language model, name its sites, run it, change it while it runs, generate.

The only room that imports transformer_lens, and only once a model is loaded.
"""

from saelab.lm.generate import Step
from saelab.lm.hooks import Edit
from saelab.lm.model import LanguageModel

__all__ = ["Edit", "LanguageModel", "Step"]
