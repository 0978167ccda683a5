"""Steer, ablate, splice: change a model's activations through an SAE, under context managers that always clean up."""

from saelab.intervene.ablate import Ablation, Effect, TokenChange, ablate
from saelab.intervene.delta import feature_edits, sites
from saelab.intervene.dose import Dose, DoseCurve, dose_curve
from saelab.intervene.generate import SteeredRow, SteerResult, SteerStep, steer, steer_steps
from saelab.intervene.splice import replaced, spliced
from saelab.intervene.steer import Steer, steering_edits

__all__ = [
    "Ablation",
    "Dose",
    "DoseCurve",
    "Effect",
    "Steer",
    "SteerResult",
    "SteerStep",
    "SteeredRow",
    "TokenChange",
    "ablate",
    "dose_curve",
    "feature_edits",
    "replaced",
    "sites",
    "spliced",
    "steer",
    "steer_steps",
    "steering_edits",
]
