"""A disk that fills up while a verb writes: one message, what is finished stays whole, and with room it goes on."""

import shutil
import subprocess

import pytest
from places import Place, call, contents

from saelab import atomic
from saelab.runs import verify_all

MB = 1 << 20


def mount(*options: str) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, and what sets its size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-o", f"size={64 * MB}", "tmpfs", str(folder)):
        pytest.skip("mounting a small disk needs rights that this user does not have")
    yield folder, lambda size: mount("-o", f"remount,size={size}", "tmpfs", str(folder))
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder) -> int:
    return shutil.disk_usage(folder).used


COMMANDS = {
    "harvest": lambda place: ["harvest", str(place.harvest), "--set", "tokens=2400", "--set", "shard_rows=100"],
    "train": lambda place: ["train", str(place.train), "--set", "name=again", "--set", "sae.d_sae=3000"],
    "index": lambda place: ["index", str(place / "sae/small"), "--out", str(place / "index/new")],
    "label": lambda place: ["label", str(place / "sae/small")],
}


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_disk_that_fills_up(made, disk, capsys, monkeypatch, verb):
    folder, resize = disk
    shutil.copytree(made.folder, folder / "run")
    place = Place(folder / "run", made.model)
    arguments = COMMANDS[verb](place)
    before, whole = contents(place.folder), used(folder)
    monkeypatch.setattr(atomic, "free_bytes", lambda path: 10**12)  # else it would not even begin
    assert call(arguments) == 0
    undisturbed, needed = contents(place.folder), used(folder) - whole
    shutil.rmtree(place.folder)
    shutil.copytree(made.folder, place.folder)
    assert COMMANDS[verb](place) == arguments
    capsys.readouterr()

    resize((used(folder) + needed // 2) // 4096 * 4096)  # whole pages
    assert call(arguments) == 2
    said = capsys.readouterr()
    assert "the disk is full" in said.err
    assert "Traceback" not in said.out + said.err
    after = contents(place.folder)
    assert {name: after.get(name) for name in before} == before
    assert not any(name.endswith(".tmp") for name in after)

    resize(64 * MB)
    assert call(arguments) == 0
    kept = {name for name in undisturbed if not name.endswith((".duckdb", "/CURRENT")) and "app-" not in name}
    now = contents(place.folder)
    assert {name: now.get(name) for name in kept} == {name: undisturbed[name] for name in kept}
    assert not any(verify_all(place.folder).values())
