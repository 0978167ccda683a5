"""`saelab verify` finds every flipped bit and every cut tail, in whichever file of a run it is."""

import random
from pathlib import Path

import pytest
from places import call

from saelab import sealed
from saelab.errors import SaelabError
from saelab.runs import verify_all

DATA = Path(__file__).resolve().parents[2] / "data"
FLIPS = 4  # of each file, beside a cut and an emptied one


@pytest.fixture
def run(place):
    for arguments in (["label", str(place / "sae/small")], ["eval", str(place / "sae/small"), "--only", "fidelity"]):
        assert call(arguments) == 0
    return place / ""


def found(run: Path) -> list[str]:
    return [line for lines in verify_all(run).values() for line in lines]


def damages(content: bytes, rng: random.Random) -> list[bytes]:
    spoilt = [content[:-1], content[: len(content) // 2]]
    for _ in range(FLIPS):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        spoilt.append(bytes(flipped))
    return spoilt


def test_verify_finds_every_damage_and_nothing_else(run):
    assert found(run) == []
    rng, missed, tried = random.Random(0), [], 0
    files = sorted(path for room in ("store", "sae", "index") for path in (run / room).rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        for number, spoilt in enumerate(damages(content, rng)):
            path.write_bytes(spoilt)
            tried += 1
            if not any(path.name in line or path.stem in line for line in found(run)):
                missed.append((str(path.relative_to(run)), number))
        path.write_bytes(content)
    assert not missed
    assert tried > 250
    assert found(run) == []


def test_one_damaged_artefact_does_not_hide_another(run, capsys):
    for path in (run / "store/manifest.json", run / "sae/small/cfg.json", run / "index/small/CURRENT"):
        path.write_bytes(b"{")
    capsys.readouterr()
    assert call(["verify", str(run)]) == 2
    said = capsys.readouterr()
    for name in ("manifest.json", "cfg.json", "CURRENT"):
        assert name in said.out + said.err
    assert "Traceback" not in said.out + said.err


def test_a_training_that_has_not_ended_is_looked_at_too(run):
    training = run / "sae/small"
    for path in training.iterdir():
        if path.is_file() and path.name not in ("metrics.jsonl", "training.json"):
            path.unlink()
    record = sealed.read(training / "training.json")
    sealed.write(training / "training.json", {**record, "finished": False, "files": {}})
    assert found(training) == []
    state = next((training / "state").glob("step-*"))
    state.write_bytes(state.read_bytes()[:-1])
    assert [state.name in line for line in found(training)] == [True]


def test_what_was_exported_into_the_run_is_no_damaged_checkpoint(run, capsys):
    out = run / "exported"
    assert call(["export", str(run / "sae/small"), "--format", "saelens", "--out", str(out)]) == 0
    capsys.readouterr()
    assert call(["verify", str(run)]) == 0
    assert f"{out}: left out, an SAE in another library's format" in " ".join(capsys.readouterr().out.split())
    for spoilt in (b"{", b"[]"):
        (run / "sae/small/cfg.json").write_bytes(spoilt)
        assert call(["verify", str(run)]) == 2
    (run / "sae/small/cfg.json").write_bytes((out / "cfg.json").read_bytes())  # another's, among files of ours
    assert call(["verify", str(run)]) == 2


def test_a_language_model_is_no_artefact():
    with pytest.raises(SaelabError, match="holds no store, checkpoint or index"):
        verify_all(DATA / "pico")
