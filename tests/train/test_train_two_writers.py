"""Two trainings into one folder: the second is refused, and the first is none the worse."""

import os

import pytest

from saelab.errors import TrainError
from saelab.locks import hold
from saelab.train import train

from .train_rows import TOPK, artefacts, config


def test_a_folder_that_is_being_written_is_refused_and_left_as_it_is(store, tmp_path):
    folder = tmp_path / "topk-32-k4"
    folder.mkdir()
    held = hold(folder, TrainError)
    try:
        with pytest.raises(TrainError, match="topk-32-k4 is being written by another process"):
            train(config(store, tmp_path, TOPK))
        assert artefacts(tmp_path) == {}
    finally:
        os.close(held)
    (result,) = train(config(store, tmp_path, TOPK))
    assert result.fvu is not None
