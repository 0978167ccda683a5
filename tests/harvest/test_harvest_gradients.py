"""Gradients end up beside the rows they are of, in a store of their own kind."""

from itertools import islice

import pytest
import torch

from saelab.errors import StoreMismatch
from saelab.harvest import HarvestConfig, estimate, harvest
from saelab.harvest.live import LiveRows
from saelab.lm import LanguageModel
from saelab.store import gradient_of

from .counting_lm import SITES, CountingLM, config, write_corpus


class SlopingLM(CountingLM):
    """Its gradient in a row is the negative row; behind the end of a context it is no number."""

    def activations_and_gradients(self, ids, lengths, at):
        acts = self.activations(ids, at)
        behind = torch.arange(ids.shape[1]) >= lengths.unsqueeze(1)
        return acts, {site: -rows.masked_fill(behind.unsqueeze(2), float("nan")) for site, rows in acts.items()}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "texts")


@pytest.mark.parametrize("packing", ["separate", "concat"])
def test_each_row_has_its_own_gradient(tmp_path, corpus, packing):
    store = harvest(config(corpus, tmp_path / "s", gradients=True, packing=packing), lm=SlopingLM())
    assert store.gradient_sites == SITES
    for site in SITES:
        for split in store.splits:
            assert store.read(gradient_of(site), split).equal(-store.read(site, split))
    assert store.verify() == []


def test_the_rows_are_those_of_a_harvest_without(tmp_path, corpus):
    plain = harvest(config(corpus, tmp_path / "plain"), lm=CountingLM())
    graded = harvest(config(corpus, tmp_path / "graded", gradients=True), lm=SlopingLM())
    for site in SITES:
        assert plain.read(site).equal(graded.read(site))
    assert plain.tokens().equals(graded.tokens())
    assert "gradients" not in plain.config
    assert plain.hash != graded.hash


def test_one_is_not_the_other(tmp_path, corpus):
    harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    with pytest.raises(StoreMismatch, match=r"config\.gradients: the store has None, asked for is True"):
        harvest(config(corpus, tmp_path / "s", gradients=True), lm=SlopingLM())


def test_a_damaged_shard_is_made_again_to_the_same_bits(tmp_path, corpus):
    cfg = config(corpus, tmp_path / "s", gradients=True)
    store = harvest(cfg, lm=SlopingLM())
    file = store.path / "train" / SITES[0] / "000001.parquet"
    whole = file.read_bytes()
    file.unlink()
    harvest(cfg, lm=SlopingLM())
    assert file.read_bytes() == whole


def test_the_cost_counts_them(tmp_path, corpus):
    one, two = (estimate(config(corpus, tmp_path / "s", gradients=g), SlopingLM()) for g in (False, True))
    assert one.bytes == round(520 * 2 * (4 * 4 + 20) * 1.02)
    assert two.bytes == round(520 * 2 * (2 * 4 * 4 + 20) * 1.02)


def test_a_real_models_gradients_are_those_of_an_unbatched_pass(tmp_path, corpus, tiny_lm_dir):
    lm = LanguageModel.load(str(tiny_lm_dir), device="cpu")
    cfg = config(corpus, tmp_path / "s", model=str(tiny_lm_dir), tokens=200, context=16, gradients=True)
    store = harvest(cfg, lm=lm)
    table = store.tokens()
    for ctx in range(3):
        at = [i for i, number in enumerate(table["ctx"].to_pylist()) if number == ctx]
        ids = torch.tensor([[lm.bos, *(table["token"][i].as_py() for i in at)]])
        _, alone = lm.activations_and_gradients(ids, torch.tensor([ids.shape[1]]), SITES)
        for site in SITES:
            torch.testing.assert_close(store.read(gradient_of(site))[at], alone[site][0, 1:], atol=1e-4, rtol=1e-4)


def test_live_rows_have_them_as_the_store_does(tmp_path, corpus):
    cfg = config(corpus, tmp_path / "s", gradients=True)
    live = LiveRows(cfg, SlopingLM())
    assert live.gradient_sites == SITES
    names = [SITES[1], gradient_of(SITES[1])]
    live.sample([SITES[1]], 20)
    for batch in islice(live.batches(names, 20, seed=0), 5):
        assert list(batch) == names
        assert batch[names[1]].equal(-batch[names[0]])
    assert LiveRows(config(corpus, tmp_path / "s"), CountingLM()).gradient_sites == ()


def test_the_request_without_them_is_what_it_was():
    assert "gradients" not in HarvestConfig().request()
    assert HarvestConfig(gradients=True).request()["gradients"] is True
