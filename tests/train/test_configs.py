from pathlib import Path

import pytest

from saelab.config import load_settings
from saelab.sae import sae_config
from saelab.train import TrainConfig

PRESETS = sorted((Path(__file__).resolve().parents[2] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_describes_an_sae_that_can_be_built(preset):
    cfg = load_settings(TrainConfig, preset)
    for sae in cfg.sae if isinstance(cfg.sae, list) else [cfg.sae]:
        assert sae_config({**sae, "d_in": 576}).d_sae == sae["d_sae"]
    assert isinstance(cfg.sae, list) or preset.stem.endswith(cfg.sae["variant"])


def test_there_are_presets():
    assert {"tiny-topk", "pico-topk", "pico-relu", "pico-batchtopk", "pico-jumprelu", "smollm2-topk"} <= {
        preset.stem for preset in PRESETS
    }
