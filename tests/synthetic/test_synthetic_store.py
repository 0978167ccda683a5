"""A bed's rows on disk are the bed's rows, and what was interrupted goes on."""

import pytest
import torch
from click.testing import CliRunner

from saelab.cli import cli
from saelab.errors import StoreMismatch
from saelab.store import Store
from saelab.synthetic import bed, write_store
from saelab.synthetic import store as module
from saelab.synthetic.rows import FIRST, HELDOUT, SITE


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(module, "SHARD_ROWS", 512)


def test_the_store_holds_the_bed_s_rows(tmp_path):
    easy = bed({"bed": "easy"})
    store = write_store(easy, tmp_path, 700, 100)
    assert store.verify() == [] and store.rows("train") == 700 and store.rows("heldout") == 100
    assert store.read(SITE, "train", 0, 512).equal(easy.draw(512, FIRST).x)
    assert store.read(SITE, "heldout").equal(easy.draw(100, HELDOUT).x)
    second = store.read(SITE, "train", 512, 700)
    assert not second.equal(easy.draw(188, FIRST).x)  # another draw
    assert store.documents("train")[2] == "train-2"


def test_the_same_call_goes_on_and_another_bed_is_refused(tmp_path):
    easy = bed({"bed": "easy"})
    write_store(easy, tmp_path, 700, 100)
    (tmp_path / "manifest.json").unlink()
    assert write_store(easy, tmp_path, 700, 100).rows("train") == 700
    with pytest.raises(StoreMismatch):
        write_store(bed({"bed": "tree"}), tmp_path, 700, 100)


def test_the_command_writes_what_train_reads(tmp_path):
    out = tmp_path / "run" / "store"
    command = ["synth", "tree", "--out", str(out), "--rows", "600", "--heldout", "50", "--set", "q=0.5"]
    answer = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert answer.exit_code == 0 and "600 rows of width 64 from 40 features" in " ".join(answer.output.split())
    assert Store.open(out).config["q"] == 0.5
    assert torch.isfinite(Store.open(out).read(SITE)).all()
