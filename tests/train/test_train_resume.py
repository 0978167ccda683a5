import os
import random
import signal
import subprocess
import sys
import time

import pytest

from saelab.errors import Interrupted
from saelab.train import StoreRows, train

from .train_rows import TOPK, artefacts, config

SAES = [TOPK, {"variant": "batchtopk", "d_sae": 32, "k": 2}]


class Failing(StoreRows):
    """Rows that end in `do()` when batch `at` is asked for."""

    def __init__(self, store, at, do):
        super().__init__(store)
        self.at, self.do = at, do

    def batches(self, sites, batch, seed, start=0):
        for number, rows in enumerate(super().batches(sites, batch, seed, start), start):
            if number == self.at and batch == 200:
                self.do()
            yield rows


def power_cut():
    raise OSError("the power went")


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    train(config(store, out, SAES, eval_every=600))
    return artefacts(out)


@pytest.mark.parametrize("save_minutes", [0, 99])
def test_a_run_that_broke_off_ends_with_the_same_bits(store, tmp_path, undisturbed, save_minutes):
    cfg = config(store, tmp_path, SAES, eval_every=600, save_minutes=save_minutes)
    for at in (7, 13):
        with pytest.raises(OSError, match="power"):
            train(cfg, source=Failing(store, at, power_cut))
    train(cfg)
    assert weights(tmp_path) == only_weights(undisturbed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_everything_and_the_run_goes_on(store, tmp_path, number, code):
    cfg = config(store, tmp_path / "stopped")
    with pytest.raises(Interrupted, match="everything is saved") as stop:
        train(cfg, source=Failing(store, 9, lambda: os.kill(os.getpid(), number)))
    assert stop.value.exit_code == code
    state = tmp_path / "stopped" / "topk-32-k4" / "state"
    assert [file.name for file in state.glob("step-*")] == ["step-000000010.safetensors"]
    train(cfg)
    train(config(store, tmp_path / "whole"))
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def weights(out):
    """Checkpoint, state and metrics; not the settings, which hold `out` and `save_minutes`."""
    return only_weights(artefacts(out))


def only_weights(files):
    return {name: data for name, data in files.items() if name.endswith((".safetensors", ".jsonl"))}


def test_saves_that_lie_apart_meet_again(store, tmp_path, undisturbed):
    """A kill between the saves of two SAEs leaves them at different steps; one may even be finished."""
    cfg = config(store, tmp_path, SAES, eval_every=600)
    train(config(store, tmp_path, SAES[:1], eval_every=600))
    with pytest.raises(OSError, match="power"):
        train(cfg.model_copy(update={"sae": SAES[1], "save_minutes": 0.0}), source=Failing(store, 5, power_cut))
    train(cfg)
    assert weights(tmp_path) == only_weights(undisturbed)


SCRIPT = """
import sys
from pathlib import Path
from saelab.config import load_settings
from saelab.train import TrainConfig, train
train(load_settings(TrainConfig, Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_end_with_the_same_bits(store, tmp_path, undisturbed):
    import yaml

    cfg = config(store, tmp_path / "sae", SAES, eval_every=600, save_minutes=0)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(cfg.model_dump(mode="json")))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "train.yaml")]
    draw = random.Random(time.time_ns())
    kills = sorted(draw.uniform(0.0, 1.0) for _ in range(3))
    for share in kills:
        run = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        metrics = tmp_path / "sae" / "topk-32-k4" / "state" / "state.json"
        while run.poll() is None and not metrics.exists():
            time.sleep(0.002)
        time.sleep(0.2 * share)
        run.kill()
        run.wait()
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert weights(tmp_path / "sae") == only_weights(undisturbed), kills
