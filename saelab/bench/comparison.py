"""One job and the workers that do it: started, proved equal, trained in turns, asked for what they measured."""

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from saelab.bench import proof
from saelab.bench.peers.job import SEED, Job
from saelab.bench.peers.libraries import FLOOR, OWN, PEERS, Library
from saelab.bench.rounds import Steps, interleaved
from saelab.bench.rows import Rows
from saelab.bench.train_result import Proof, Row, explained, median
from saelab.bench.workers import Worker, Workers
from saelab.sae import VARIANTS, sae_config

WARM, TIMED = 4, 8  # steps at each further batch size, and with dead features
FURTHER = WARM + TIMED


class Comparison:
    """What is found out about each library, setting and batch size, step by step."""

    def __init__(self, job: Job, data: Rows, folder: Path, everyone: Workers) -> None:
        self.job, self.data, self.folder, self.everyone = job, data, folder, everyone
        self.proofs: dict[Worker, Proof] = {}
        self.found: dict[tuple[Worker, int], Row] = {}
        self.order = Random(SEED)

    def start(self, python: Path | None, only: Collection[str] = ()) -> None:
        """Write what all read; start everyone who can train this variant, the peers only where there is a Python.

        `only` names the peers that are wanted, as NAME or NAME/SETTING; none: all.
        """
        self.W_dec = first_weights(self.job)
        self.proof_rows = proof.clear_rows(self.data.train, self.W_dec, self.job.k, self.job.variant)
        tensors = {"rows": self.data.train, "heldout": self.data.heldout, "W_dec": self.W_dec, "proof": self.proof_rows}
        self.job.write(self.folder, tensors)
        ours = [(library, setting, Path(sys.executable)) for library in (OWN, FLOOR) for setting in library.settings]
        self.everyone.start([*ours, *self._peers(python, only)], self.folder)

    def _peers(self, python: Path | None, only: Collection[str]) -> list[tuple[Library, str, Path]]:
        if python is None:
            return []
        able = [peer for peer in PEERS if self.job.variant in peer.variants]
        for peer in PEERS:
            if peer not in able:
                self.everyone.leave_out(peer.name, f"it has no {self.job.variant}")
        here = python.absolute()  # workers run in a folder of their own; a venv's link must not be followed
        return [
            (peer, setting, here)
            for peer in able
            for setting in peer.settings
            if not only or peer.name in only or f"{peer.name}/{setting}" in only
        ]

    def prove(self) -> None:
        """Compare everyone's gradients at the first weights with those in fp64."""
        able = [worker for worker in self.everyone.all if worker.library is not FLOOR]
        self.everyone.progress.start("comparing gradients", len(able) + 1, "libraries")
        device = self.job.device
        true = proof.gradients(self.proof_rows.to(device), self.W_dec.to(device), self.job.k, self.job.variant)
        self.everyone.progress.advance(1)
        for worker in able:
            answer = self.everyone.ask(worker, "gradients")
            if answer is not None:
                found = load_file(self.folder / answer["file"], device)
                self.proofs[worker] = Proof(proof.distances(found, true), answer["auxk"])
            self.everyone.progress.advance(1)

    def train(self, steps: int, fvu: bool) -> None:
        """Train everyone for `steps` steps, of which the later half is timed, and look at held-out rows."""
        self._add(
            interleaved(self.everyone, steps // 2, steps - steps // 2, self.job.batch, self.order), self.job.batch
        )
        for worker in [one for one in self.everyone.all if fvu and one.library is not FLOOR]:
            answer = self.everyone.ask(worker, "fvu")
            if answer is not None:
                self._mend(worker, fvu=answer["fvu"])

    def time(self, batch: int) -> None:
        """Time everyone, as far as they are trained, at another batch size."""
        self._add(interleaved(self.everyone, WARM, TIMED, batch, self.order), batch)

    def kill(self) -> None:
        """Time everyone at the main batch size once more while features are dead. Training is over afterwards."""
        for worker in [one for one in self.everyone.all if one.library is not FLOOR]:
            self.everyone.ask(worker, "kill")
        for worker, steps in interleaved(self.everyone, WARM, TIMED, self.job.batch, self.order).items():
            if worker.library is not FLOOR:
                self._mend(worker, ms_with_dead=1e3 * median(steps.seconds))

    def _mend(self, worker: Worker, **figures: Any) -> None:
        """Add figures to a worker's row of the main batch size."""
        key = worker, self.job.batch
        self.found[key] = replace(self.found[key], **figures)

    def _add(self, found: dict[Worker, Steps], batch: int) -> None:
        """Rows of those who are still there, saelab's first."""
        own = next(median(steps.seconds) for worker, steps in found.items() if worker.library is OWN)
        for worker, steps in found.items():
            self.found[worker, batch] = Row.of(worker, self.job, batch, steps, own, self.proofs.get(worker))

    @property
    def rows(self) -> list[Row]:
        """The table, the main batch size first."""
        return list(self.found.values())

    def notes(self) -> list[str]:
        """What must be known to read the table."""
        libraries = {worker.library.name: worker.library for worker in self.everyone.all}
        known = [f"{name}: {line}" for name, library in libraries.items() for line in library.deviations]
        return [f"rows: {self.data.origin}", *self.everyone.notes, *explained(self.rows), *known]


def first_weights(job: Job) -> Tensor:
    """Decoder rows that saelab's trainer begins with, [d_sae, d_in]; the encoder is their transpose."""
    groups = {"groups": job.groups} if job.groups else {}
    values = {"variant": job.variant, "d_in": job.d_in, "d_sae": job.d_sae, "k": job.k, **groups}
    with torch.random.fork_rng([]):
        torch.manual_seed(job.seed)
        return VARIANTS[job.variant](sae_config(values)).W_dec.detach()
