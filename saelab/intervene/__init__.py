"""Steer, ablate, attribute, splice: change a model's activations through an SAE, under context managers that always
clean up. Every function here takes the model's lock itself, so threads may share a model."""

from saelab.intervene.ablate import Ablation, Effect, TokenChange, ablate
from saelab.intervene.attribute import Attributed, Attribution, attribute
from saelab.intervene.delta import feature_edits, sites
from saelab.intervene.dose import Dose, DoseCurve, dose_curve
from saelab.intervene.equal_kl import EqualKL, at_equal_kl, equal_kl_table
from saelab.intervene.generate import SteeredRow, SteerResult, SteerStep, steer, steer_steps
from saelab.intervene.modes import MODES, Mode
from saelab.intervene.recipes import SteerRecipe, load_recipe, recipe_names, save_recipe
from saelab.intervene.request import Steering, SteerRequest
from saelab.intervene.splice import replaced, spliced
from saelab.intervene.steer import Steer, steering_edits
from saelab.intervene.target import Target
from saelab.intervene.text import one_token, prompt_ids

__all__ = [
    "MODES",
    "Ablation",
    "Attributed",
    "Attribution",
    "Dose",
    "DoseCurve",
    "Effect",
    "EqualKL",
    "Mode",
    "Steer",
    "SteerRecipe",
    "SteerRequest",
    "SteerResult",
    "SteerStep",
    "SteeredRow",
    "Steering",
    "Target",
    "TokenChange",
    "ablate",
    "at_equal_kl",
    "attribute",
    "dose_curve",
    "equal_kl_table",
    "feature_edits",
    "load_recipe",
    "one_token",
    "prompt_ids",
    "recipe_names",
    "replaced",
    "save_recipe",
    "sites",
    "spliced",
    "steer",
    "steer_steps",
    "steering_edits",
]
