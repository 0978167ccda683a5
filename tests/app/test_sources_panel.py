"""Where an attention feature comes from, on its page: offered for SAEs on z alone, computed when it is asked for."""

import json

import pytest
import torch
from click.testing import CliRunner

from saelab.app.launch import FOLDER
from saelab.cli import cli
from saelab.config import settings
from saelab.features import Index, IndexConfig, build_index
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.sae import VARIANTS, sae_config

from .test_pages import html

SITE = "blocks.1.attn.hook_z"


def build(folder, tiny_lm_dir, texts=4, tokens=200):
    """A run of a random SAE on z."""
    lm = LanguageModel.load(str(tiny_lm_dir), device="cpu")
    (folder / "texts").mkdir()
    for i in range(texts):
        (folder / "texts" / f"{i}.txt").write_text(f"def f{i}(x):\n    return x * {i}\n" * 3, encoding="utf-8")
    asked = {"model": str(tiny_lm_dir), "corpus": {"kind": "files", "paths": [str(folder / "texts")]}, "sites": [SITE],
             "tokens": tokens, "heldout_tokens": 0, "batch": 2, "out": str(folder / "store"),
             "device": "cpu"}  # fmt: skip
    store = harvest(settings(HarvestConfig, asked, where="test"), lm=lm)
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 32, "d_sae": 24, "k": 3}),
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
    sae.save(folder / "sae" / "z", {"model_name": str(tiny_lm_dir), "hook_name": SITE, "context_size": 32})
    return build_index(folder / "sae" / "z", store, folder / "index" / "z", lm, cfg=IndexConfig(before=6, after=4))


@pytest.fixture(scope="module")
def attention_index(tmp_path_factory, tiny_lm_dir) -> Index:
    return build(tmp_path_factory.mktemp("attention"), tiny_lm_dir)


@pytest.fixture
def open_attention(open_page, attention_index, monkeypatch):
    """The Feature page of the attention SAE's busiest feature."""
    monkeypatch.setenv(FOLDER, str(attention_index.path.parent.parent))
    busiest = attention_index.features(limit=1).rows[0].feature
    return lambda: open_page("feature", feature=str(busiest))


def take_apart(app):
    return next(button for button in app.button if button.label == "Take apart").click().run()


def figures(app):
    return {each.label: each.value for each in app.metric}


def test_of_a_residual_stream_there_is_nothing_to_take_apart(open_page, busiest):
    assert not [one for one in open_page("feature", feature=str(busiest)).button if one.label == "Take apart"]


def test_contributions_and_bias_on_the_page_are_the_pre_activation(open_attention):
    app = open_attention()
    assert not app.exception and "pre-activation" not in figures(app)
    app = take_apart(app)
    assert not app.exception and not app.error
    told = figures(app)
    parts = float(told["contributions"]) + float(told["bias"])
    assert parts == pytest.approx(float(told["pre-activation"]), abs=2e-4)  # of numbers in four decimals
    assert "; head " in html(app) and "attention" in html(app)
    table = app.dataframe[-1].value
    assert len(table) == 12 and table["contribution"].abs().is_monotonic_decreasing


def test_one_head_can_be_looked_at_alone(open_attention):
    app = take_apart(open_attention())
    every = html(app)
    app.selectbox(key="source head").set_value(2)
    app = app.run()
    assert not app.exception
    assert html(app) != every and "; head 2: " in html(app) and "; head 1: " not in html(app)


def test_the_same_from_the_command_line(attention_index, tmp_path):
    feature = attention_index.features(limit=1).rows[0].feature
    words = [
        "show",
        str(attention_index.checkpoint),
        str(feature),
        "--sources",
        "1",
        "--json",
        str(tmp_path / "a.json"),
    ]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0 and "the largest contributions" in done.output
    found = json.loads((tmp_path / "a.json").read_text())["sources"]
    assert sum(map(sum, found["contributions"])) + found["bias"] == pytest.approx(found["pre_activation"], abs=1e-5)
