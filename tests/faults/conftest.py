"""One small run for the whole folder, and a copy of it for each test to break."""

import shutil

import pytest
from places import Place, call


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_lm_dir) -> Place:
    place = Place(tmp_path_factory.mktemp("made"), tiny_lm_dir)
    for number in range(40):
        place.write(f"texts/{number}.txt", f"def f{number}(x):\n    return x + {number}\n".encode() * 4)
    for arguments in (
        ["harvest", str(place.harvest), "--set", f"out={place / 'store'}"],
        ["train", str(place.train)],
        ["index", str(place / "sae/small"), "--store", str(place / "store"), "--out", str(place / "index/small")],
    ):
        assert call(arguments) == 0, arguments
    return place


@pytest.fixture
def place(made, tmp_path) -> Place:
    shutil.copytree(made.folder, tmp_path / "run")
    return Place(tmp_path / "run", made.model)
