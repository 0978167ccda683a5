"""The launcher listens on this machine only, tells nobody, and says what is missing before it starts."""

import socket
from pathlib import Path

import pytest

from saelab.app import launch
from saelab.app.catalogue import choices, headline
from saelab.errors import SaelabError


def test_it_listens_on_loopback_and_sends_no_statistics_and_no_tracebacks():
    given = launch.arguments(8600, browser=False)
    for option in ("server.address=127.0.0.1", "browser.gatherUsageStats=false", "client.showErrorDetails=none",
                   "client.toolbarMode=minimal", "server.fileWatcherType=none", "server.maxUploadSize=1",
                   "server.port=8600", "server.headless=true"):  # fmt: skip
        assert f"--{option}" in given


def test_every_option_is_one_that_streamlit_knows():
    from streamlit import config

    known = config.get_config_options()
    assert not [name for name in launch.OPTIONS if name not in known]


def test_a_folder_without_an_index_names_the_command_that_makes_one(tmp_path: Path):
    with pytest.raises(SaelabError, match="saelab demo --out"):
        launch.launch(tmp_path / "nothing")
    with pytest.raises(SaelabError, match="holds no feature index"):
        launch.launch(tmp_path)
    (tmp_path / "sae" / "topk").mkdir(parents=True)
    (tmp_path / "sae" / "topk" / "cfg.json").write_text("{}")
    with pytest.raises(SaelabError, match="saelab index .*topk"):
        launch.launch(tmp_path)


def test_a_port_in_use_is_refused_with_the_way_out():
    with socket.socket() as taken:
        taken.bind((launch.ADDRESS, 0))
        taken.listen()
        with pytest.raises(SaelabError, match="choose another: --port"):
            launch.check_port(taken.getsockname()[1])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(SaelabError, match="no port"):
        launch.check_port(port)


def test_a_run_and_a_folder_of_runs_are_both_found(tmp_path: Path):
    for place in ("a/index/x", "a/index/y", "b/index/x"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "CURRENT").write_text("{}")
    assert [one.sae for one in choices(tmp_path / "a")] == ["x", "y"]
    assert [(one.run, one.sae) for one in choices(tmp_path)] == [("a", "x"), ("a", "y"), ("b", "x")]
    assert choices(tmp_path)[2].checkpoint == tmp_path / "b" / "sae" / "x"


def test_figures_nobody_measured_are_none(tmp_path: Path):
    told = headline(tmp_path)
    assert (told.fvu, told.l0, told.ce_recovered) == (None, None, None)
