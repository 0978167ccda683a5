"""One library's process: requests as lines of JSON on stdin, one answer each on stdout. In between it does nothing.

    {"do": "gradients"}                    writes the gradients at the first weights; AuxK's share of each
    {"do": "steps", "n": 10, "batch": 64}  trains; the seconds of each step, the peak of memory, and whether
                                           other processes took cores meanwhile
    {"do": "fvu"}                          on the held-out rows, and L0 there
    {"do": "again", "setting": "rate=3"}   the next steps begin a new training, of the job that is there now
    {"do": "kill"}                         some features never fire again: AuxK has something to do from now on

The first answer, unasked, says that the library is there, or why not. stdin's end is the worker's.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors.torch import save_file
from torch import Tensor

from .job import KILLED, Job, tensor
from .libraries import LIBRARIES
from .measure import Memory, Others, fvu, l0, release, seconds_of


def main(folder: str, library: str, setting: str) -> None:
    """Serve until stdin ends."""
    wire = _private_stdout()
    try:
        worker = Worker(Path(folder), library, setting)
    except ImportError as error:
        return _answer(wire, {"error": str(error), "missing": error.name})
    _answer(wire, worker.about())
    for line in sys.stdin:
        _answer(wire, worker.reply(json.loads(line)))


def _private_stdout() -> TextIO:
    """The pipe to the parent; what libraries print goes to stderr from now on."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return wire


def _answer(wire: TextIO, content: dict[str, Any]) -> None:
    wire.write(json.dumps(content) + "\n")
    wire.flush()


class Worker:
    """The rows, the library in training, and where in the rows it is."""

    training: Any

    def __init__(self, folder: Path, library: str, setting: str) -> None:
        self.folder, self.name = folder, library
        known = LIBRARIES[library]
        if known.needs is not None:
            import_module(known.needs)  # first of all, so that it is the one that is said to be missing
        self.module, self.setting = import_module("." + known.module, __package__), setting
        self._read()
        self.memory = Memory(self.job.device)

    def _read(self) -> None:
        """The job, and its rows from the first one on; the training is made at the first step."""
        self.job = Job.read(self.folder)
        self.rows = tensor(self.folder, "rows", self.job.device)
        self.rows.sum().item()  # a mapped file counts as memory in use once it was read
        self.at, self.training = 0, None

    def about(self) -> dict[str, Any]:
        version = metadata.version(self.name) if LIBRARIES[self.name].needs else None
        how = self.module.how(self.setting, self.job.device)
        return {"version": version, "torch": torch.__version__, "how": how, "peak_of": self.memory.source}

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; a failure is one too, for the others go on without this library."""
        can: dict[str, Callable[..., dict[str, Any]]] = {
            "gradients": self.gradients, "steps": self.steps, "fvu": self.fvu, "kill": self.kill, "again": self.again,
        }  # fmt: skip
        try:
            return can[request.pop("do")](**request)
        except Exception as error:
            traceback.print_exc()
            said = str(error).partition("\n")[0][:300]  # PyTorch adds pages to some
            return {"error": f"{type(error).__name__}: {said}"}

    def gradients(self) -> dict[str, Any]:
        """Norms of AuxK's gradients beside the reconstruction's, when half the features are declared dead."""
        proof = tensor(self.folder, "proof", self.job.device)
        made = self._started()
        plain = made.gradients(proof)
        save_file({key: g.contiguous().cpu() for key, g in plain.items()}, self._file("gradients"))
        made.declare_dead(self._features(1 / 2))
        both = made.gradients(proof)
        return {
            "file": self._file("gradients").name,
            "auxk": {key: ((both[key] - plain[key]).norm() / plain[key].norm()).item() for key in plain},
        }

    def _file(self, what: str) -> Path:
        return self.folder / f"{what}-{os.getpid()}.safetensors"

    def _started(self) -> Any:
        W_dec = tensor(self.folder, "W_dec", self.job.device)
        return self.module.Training(self.job, W_dec, self.setting)

    def steps(self, n: int, batch: int) -> dict[str, Any]:
        if self.training is None:
            release()  # what the gradients took; the code that they loaded stays and does not count
            self.memory = Memory(self.job.device)
            self.training = self._started()
        batches = [self.training.prepare(x) for x in self._batches(n, batch)]
        self.memory.forget()
        others = Others()
        seconds = seconds_of((self._step(x) for x in batches), self.job.device)
        return {"seconds": seconds, "peak": self.memory.peak(), "disturbed": others.disturb(self.job.device)}

    def _step(self, x: Tensor) -> Callable[[], None]:
        return partial(self.training.step, x)

    def _batches(self, n: int, batch: int) -> Iterator[Tensor]:
        """Consecutive rows, in the same order in every worker; what is left at the end is left out."""
        for _ in range(n):
            self.at = 0 if self.at + batch > len(self.rows) else self.at
            yield self.rows[self.at : self.at + batch]
            self.at += batch

    def kill(self) -> dict[str, Any]:
        features = self._features(KILLED)
        self.training.b_enc.masked_fill_(features, -1e3)  # far below any pre-activation
        self.training.declare_dead(features)
        return {}

    def _features(self, share: float) -> Tensor:
        """True for the first of all features."""
        return torch.arange(self.job.d_sae, device=self.job.device) < share * self.job.d_sae

    def fvu(self) -> dict[str, Any]:
        heldout = tensor(self.folder, "heldout", self.job.device)
        batch = self.job.batch
        return {"fvu": fvu(heldout, self.training.reproduce, batch), "l0": l0(heldout, self.training.active, batch)}

    def again(self, setting: str) -> dict[str, Any]:
        self.setting = setting
        self._read()
        return {"how": self.module.how(setting, self.job.device)}
