"""text -> language model -> activation store."""

from saelab.harvest.config import HarvestConfig
from saelab.harvest.cost import HarvestEstimate, estimate
from saelab.harvest.run import harvest

__all__ = ["HarvestConfig", "HarvestEstimate", "estimate", "harvest"]
