"""Opening an index in a process of its own. Starting Python and importing modules, the same for every index, is timed
apart; the file cache is as it is.
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

SCRIPT = """
import sys, time
from pathlib import Path
from saelab.features import FeatureFilter, Index
began, used = time.perf_counter(), time.process_time()
index = Index.open(Path(sys.argv[1]))
index.features(limit=100)
index.features(where=FeatureFilter(alive=False), limit=0)
index.density_histogram()
print(time.perf_counter() - began, time.process_time() - used)
"""


class Opening(NamedTuple):
    """Seconds from opening an index to the overview's first table and histogram, of the clock and of the processor,
    and seconds of the clock before that.
    """

    seconds: float
    cpu: float
    before: float


def seconds_to_open(index: Path) -> Opening:
    """What a fresh process takes."""
    began = perf_counter()
    command = [sys.executable, "-c", SCRIPT, str(index.resolve())]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    opened, cpu = map(float, said.split()[-2:])
    return Opening(opened, cpu, perf_counter() - began - opened)
