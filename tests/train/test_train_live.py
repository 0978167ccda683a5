import itertools
import random

import pytest
import torch

from saelab.config import settings
from saelab.errors import CorpusError
from saelab.harvest import HarvestConfig, harvest
from saelab.harvest.live import LiveRows
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.train import TrainConfig, train

from .train_rows import artefacts

SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(0)
    for number in range(300):  # one in twenty is held out, by a hash of its path
        (folder / f"{number}.txt").write_text("".join(draw.choices("abcdefgh \n", k=draw.randint(10, 40))))
    return folder


@pytest.fixture(scope="module")
def live_settings(tiny_lm_dir, texts):
    return {
        "model": str(tiny_lm_dir),
        "corpus": {"kind": "files", "paths": [str(texts)]},
        "sites": ["resid_post.1"],
        "batch": 32,
        "shard_rows": 1600,
        "dtype": "float32",
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def live(live_settings):
    cfg = settings(HarvestConfig, live_settings, "test")
    return LiveRows(cfg, LanguageModel.load(cfg.model, device="cpu"))


def test_one_epoch_gives_the_rows_a_store_would_hold(live, live_settings, tmp_path):
    whole = {**live_settings, "tokens": 10**6, "heldout_tokens": 10**6, "out": str(tmp_path / "store")}
    store = harvest(settings(HarvestConfig, whole, "test"), lm=live.lm)
    rows = store.rows("train")
    served = torch.cat([b[SITE] for b in itertools.islice(live.batches([SITE], 1, seed=0), rows)])
    assert sorted(map(tuple, served.tolist())) == sorted(map(tuple, store.read(SITE).tolist()))
    held = live.heldout([SITE], 10**6)
    assert torch.equal(held[SITE], store.read(SITE, "heldout"))
    assert live.heldout([SITE], 7)[SITE].shape == (7, 32)


@pytest.mark.parametrize("start", [1, 33, 140])
def test_a_late_start_gives_the_same_batches(live, start):
    whole = list(itertools.islice(live.batches([SITE], 50, seed=3), start + 3))
    late = itertools.islice(live.batches([SITE], 50, seed=3, start=start), 3)
    for batch, again in zip(whole[start:], late, strict=True):  # the same rows; two passes may round differently
        torch.testing.assert_close(again[SITE], batch[SITE], rtol=1e-5, atol=1e-6)


def test_another_seed_gives_another_order(live):
    one, other = (next(live.batches([SITE], 50, seed=seed))[SITE] for seed in (0, 1))
    assert not torch.equal(one, other)


def test_a_sample_is_the_same_on_every_call(live):
    assert torch.equal(live.sample([SITE], 100)[SITE], live.sample([SITE], 100)[SITE])
    assert live.sample([SITE], 100)[SITE].shape == (100, 32)


def test_a_corpus_smaller_than_a_batch_is_refused(live):
    with pytest.raises(CorpusError, match="one batch of 100000 rows"):
        next(live.batches([SITE], 100_000, seed=0))


def test_an_sae_trains_on_a_live_model(live, live_settings, tmp_path):
    values = {
        "source": "live",
        "live": live_settings,
        "sae": {"variant": "topk", "d_sae": 48, "k": 4},
        "train": {"rows": 2000, "batch": 100, "lr": 3e-3},
    }
    results = [
        train(settings(TrainConfig, {**values, "out": str(tmp_path / out)}, "test"), source=live)[0] for out in "ab"
    ]
    assert results[0].fvu is not None
    assert results[0].fvu < 0.6
    assert SAE.load(results[0].path).metadata["model_name"] == live.lm.name
    weights = "sae_weights.safetensors"
    assert artefacts(results[0].path)[weights] == artefacts(results[1].path)[weights]
