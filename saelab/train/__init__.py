"""Training: one loader feeds many SAEs in one pass; needs no language model."""

from saelab.train.config import OptimiserConfig, TrainConfig
from saelab.train.cost import plan
from saelab.train.data import RowSource, StoreRows
from saelab.train.dead import Reason, dead_reasons
from saelab.train.grouped import group_plans, groups_of, train_groups
from saelab.train.layer_groups import LayerGroups, group_layers
from saelab.train.run import TrainResult, train
from saelab.train.sweeps import sweep

__all__ = [
    "LayerGroups",
    "OptimiserConfig",
    "Reason",
    "RowSource",
    "StoreRows",
    "TrainConfig",
    "TrainResult",
    "dead_reasons",
    "group_layers",
    "group_plans",
    "groups_of",
    "plan",
    "sweep",
    "train",
    "train_groups",
]
