"""Out of memory in a step: rows are taken in pieces where the loss allows it, and nothing is lost where it does not."""

import json
import subprocess
import sys

import pytest
import torch

from saelab.contracts import Silent
from saelab.errors import TrainError
from saelab.sae import SAE, VARIANTS
from saelab.train import train
from saelab.train.metrics_log import read_metrics

from .train_rows import TOPK, artefacts, config


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def little_memory(monkeypatch):
    """Steps of more than 60 rows run out of memory from the tenth on, after everything but the backward pass."""

    def limit(variant):
        kind, seen = VARIANTS[variant], {"steps": 0}
        whole = kind.loss_terms

        def loss_terms(self, batch, step):
            terms = whole(self, batch, step)
            if step >= 10 and len(batch.x) > 60:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            seen["steps"] += 1
            return terms

        monkeypatch.setattr(kind, "loss_terms", loss_terms)
        return seen

    return limit


@pytest.mark.parametrize("clip", [None, 1.0], ids=["fused", "written out"])
def test_pieces_take_the_step_of_the_whole_batch(store, tmp_path, little_memory, clip):
    entry = {**TOPK, "aux": 0.0, "train": {"clip": clip}}
    (whole,) = train(config(store, tmp_path / "whole", entry))
    seen, notes = little_memory("topk"), Notes()
    (pieces,) = train(config(store, tmp_path / "pieces", entry), notes)
    assert seen["steps"] == 10 + 4 * 10  # 200 rows: 2 pieces of 100 do not fit, 4 of 50 do
    assert [note.split("in ")[-1] for note in notes.notes] == ["2 pieces", "4 pieces"]
    losses = [
        [line["loss"] for line in read_metrics(result.path / "metrics.jsonl") if "loss" in line]
        for result in (whole, pieces)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # sums in another order, over 20 steps of fp32
    a, b = SAE.load(whole.path), SAE.load(pieces.path)
    torch.testing.assert_close(a.W_dec, b.W_dec, rtol=1e-2, atol=1e-4)


def test_a_loss_over_the_whole_batch_is_not_cut_up(store, tmp_path, little_memory):
    little_memory("batchtopk")
    cfg = config(store, tmp_path, {"variant": "batchtopk", "d_sae": 32, "k": 4, "name": "one"}, save_minutes=0)
    with pytest.raises(TrainError, match=r"step of 200 rows.*not a sum over rows\.\n.*reason: CUDA.*\n.*train\.batch"):
        train(cfg)
    assert json.loads((tmp_path / "one" / "state" / "state.json").read_text())["step"] == 10


def test_after_an_interruption_pieces_go_on_to_the_same_end(store, tmp_path, little_memory):
    little_memory("topk")
    (at_once,) = train(config(store, tmp_path / "at_once"))

    class Stopped(Silent):
        def advance(self, done, **figures):
            self.rows = getattr(self, "rows", 0) + done
            if self.rows == 3000:
                raise KeyboardInterrupt

    cfg = config(store, tmp_path / "resumed", save_minutes=0)
    with pytest.raises(KeyboardInterrupt):
        train(cfg, Stopped())
    (resumed,) = train(cfg)
    name = "sae_weights.safetensors"
    assert artefacts(resumed.path)[name] == artefacts(at_once.path)[name]


SCRIPT = """
import resource, sys
import torch
from saelab.contracts import Batch
from saelab.sae import VARIANTS, sae_config
from saelab.train.memory import Pieces

torch.set_num_threads(1)
sae = VARIANTS["relu"](sae_config({"variant": "relu", "d_in": 8, "d_sae": 512, "l1": 0.1}))
x = torch.randn(2 ** 16, 8)


def backward(pieces):
    for piece, share in pieces:
        (share * sum(sae.loss_terms(piece, 0).values())).backward()
    return {}


pieces = Pieces("relu-512", sae, True, print)
pieces.gradients(Batch(x[:64], x[:64]), backward, sae.zero_grad)  # whatever a first step sets up is there
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + 200 * 2 ** 20  # one dense code of these rows is 134 MB, and a step has several
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
sae.zero_grad()
pieces.gradients(Batch(x, x), backward, sae.zero_grad)
found = sae.W_dec.grad.clone()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sae.zero_grad()
backward([(Batch(x, x), 1.0)])
torch.testing.assert_close(found, sae.W_dec.grad, rtol=1e-3, atol=1e-6)
print(pieces.count)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_memory_that_truly_runs_out_on_a_cpu():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *notes, count = done.stdout.splitlines()
    assert int(count) > 1
    assert f"in {count} pieces" in notes[-1]
