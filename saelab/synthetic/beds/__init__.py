"""Every generator of rows with known features, by name. A new one is a file here and a line below."""

from saelab.synthetic.beds.base import Bed
from saelab.synthetic.beds.circle import Circle
from saelab.synthetic.beds.easy import Easy
from saelab.synthetic.beds.hard import Hard
from saelab.synthetic.beds.lowrank import LowRank
from saelab.synthetic.beds.readout import Readout
from saelab.synthetic.beds.tree import Tree

BEDS: dict[str, type[Bed]] = {
    "easy": Easy,
    "tree": Tree,
    "hard": Hard,
    "lowrank": LowRank,
    "readout": Readout,
    "circle": Circle,
}
