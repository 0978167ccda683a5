"""The processes that time a library each: started together, idle until asked, ended with their block."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from saelab.bench.peers.libraries import FLOOR, OWN, Library
from saelab.contracts import Progress
from saelab.errors import SaelabError
from saelab.process import leaving_on_sigterm

T = TypeVar("T")
PACKAGE = Path(__file__).resolve().parent / "peers"
# The package's own folder is its search path: on sys.path, a file of saelab.bench would pass for a library of its name
# (transformers, for one, imports `kernels` where there is one).
BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("peers", sys.argv[1] + "/__init__.py")
sys.modules["peers"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from peers.worker import main
main(*sys.argv[2:])
"""
PROBE = "import safetensors, torch; print(torch.__version__)"
HOW_TO = (
    "  fix:   python3 -m venv peers\n"
    "         peers/bin/pip install torch sae-lens==6.54.12 eai-sparsify==1.3.3 dictionary-learning==0.1.0\n"
    "         saelab bench train --peers-python peers/bin/python"
)


class BenchError(SaelabError):
    """A benchmark that cannot be made as asked."""


class WorkerError(Exception):
    """A library that cannot do what it was asked."""


class Worker:
    """One library under one of its settings, in a process."""

    def __init__(self, library: Library, setting: str, python: Path, folder: Path) -> None:
        self.library, self.setting, self.folder = library, setting, folder
        self.log = folder / f"{library.name}-{setting}.log"
        command = [str(python), "-c", BOOT, str(PACKAGE), str(folder), library.name, setting]
        env = {**os.environ, "TMPDIR": str(folder)}  # what libraries leave there goes with the folder
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=env
            )
        self.about: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return f"{self.library.name}, {self.setting}"

    def hello(self) -> None:
        """Wait until the library is imported. Raises WorkerError when it is not there."""
        self.about = self._read()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send one request and wait for the answer. Raises WorkerError when the library fails."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            absent = self.library.needs and answer.get("missing") == self.library.needs
            raise WorkerError("it is not installed there" if absent else answer["error"])
        return answer

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"its process ended with exit code {self.process.wait()}: {said}"

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it ended with a request unread
                pipe.close()
        self.process.kill()
        self.process.wait()


class Workers:
    """Those that work; one that fails is left out from then on, and `notes` says why. Our own may not fail."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.all: list[Worker] = []
        self.notes: list[str] = []

    def start(self, wanted: Sequence[tuple[Library, str, Path]], folder: Path) -> None:
        """Start them all, then wait for each."""
        for library, setting, python in wanted:
            self.all.append(Worker(library, setting, python, folder))
        self.progress.start("starting the libraries", len(self.all), "processes")
        for worker in list(self.all):
            self.attempt(worker, worker.hello)
            self.progress.advance(1)

    def attempt(self, worker: Worker, work: Callable[[], T]) -> T | None:
        """What `work` returns; None, and one worker less, when the library fails at it."""
        try:
            return work()
        except WorkerError as error:
            if worker.library in (OWN, FLOOR):
                raise BenchError(f"{worker.name}: {error}") from None
            self.leave_out(worker.name, str(error))
            self.all.remove(worker)
            worker.stop()
            return None

    def ask(self, worker: Worker, do: str, **request: Any) -> dict[str, Any] | None:
        """The answer; None when the library failed at it and is left out from now on."""
        return self.attempt(worker, lambda: worker.ask(do, **request))

    def leave_out(self, name: str, why: str) -> None:
        """Say it once, now and under the table."""
        note = f"{name} is left out: {why}"
        if note not in self.notes:
            self.notes.append(note)
            self.progress.note(note)


@contextmanager
def workers(progress: Progress) -> Iterator[Workers]:
    """Workers for the duration of a block; SIGTERM ends the block as Ctrl-C does, so that nothing stays behind."""
    made = Workers(progress)
    with leaving_on_sigterm():
        try:
            yield made
        finally:
            for worker in made.all:
                worker.stop()


def require_python(python: Path) -> None:
    """Raise BenchError unless `python` is a Python that has torch and safetensors."""
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise BenchError(f"--peers-python {python}: there is no such program.\n{HOW_TO}")
    done = subprocess.run([str(python), "-c", PROBE], capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        said = (done.stderr.strip() or "it answered nothing").split("\n")[-1]
        raise BenchError(f"--peers-python {python} is no Python with torch and safetensors: {said}\n{HOW_TO}")
