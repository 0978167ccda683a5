"""An SAE of any variant on several sites at once."""

import json

import pytest
import torch

from saelab.errors import ConfigError, SiteError
from saelab.metrics import fvu
from saelab.sae import SAE, VARIANTS
from saelab.sae.sites import sites_read, sites_written
from saelab.train import StoreRows, train
from saelab.train.normalise import SAMPLE
from saelab.train.plans import plans
from saelab.train.sites import JoinedRows

from .test_train_resume import Failing, only_weights, power_cut
from .train_rows import OTHER, SITE, TOPK, artefacts, config

BOTH = f"{SITE}+{OTHER}"


def crosscoder(store, out, sae=TOPK, **more):
    return config(store, out, sae, **{"site": [SITE, OTHER], **more})


class Single(StoreRows):
    """The two sites' rows under one name, as if somebody had put them side by side by hand."""

    def __init__(self, store):
        super().__init__(store)
        self.joined, self.sites = JoinedRows(StoreRows(store)).measured([BOTH]), (SITE,)

    def d(self, site):
        return 28

    def sample(self, sites, rows):
        return {SITE: self.joined.sample([BOTH], rows)[BOTH]}

    def batches(self, sites, batch, seed, start=0):
        for rows in self.joined.batches([BOTH], batch, seed, start):
            yield {SITE: rows[BOTH]}

    def heldout(self, sites, rows):
        return {SITE: self.joined.heldout([BOTH], rows)[BOTH]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_also_a_crosscoder(store, tmp_path, variant):
    (result,) = train(crosscoder(store, tmp_path, {"variant": variant, "d_sae": 64}, rows=400))
    sae = SAE.load(result.path)
    assert sae.cfg.d_in == 28
    assert sae.metadata["hook_name"] == [SITE, OTHER]
    assert sites_read(sae.metadata, 28).widths == [16, 12]


def test_it_is_the_sae_on_rows_put_side_by_side_by_hand(store, tmp_path):
    (one,) = train(crosscoder(store, tmp_path / "a"))
    (other,) = train(config(store, tmp_path / "b"), source=Single(store))
    weights = "sae_weights.safetensors"
    assert (one.path / weights).read_bytes() == (other.path / weights).read_bytes()
    assert one.fvu == other.fvu


def test_every_site_is_normalised_by_itself(store):
    rows = JoinedRows(StoreRows(store)).measured([BOTH]).sample([BOTH], SAMPLE)[BOTH]
    for part, width in ((rows[:, :16], 16), (rows[:, 16:], 12)):
        assert (part - part.mean(dim=0)).norm(dim=1).mean().item() == pytest.approx(width**0.5, rel=1e-5)


def test_the_checkpoint_leads_from_raw_rows_of_each_site_to_raw_rows_of_each_site(store, tmp_path):
    (result,) = train(crosscoder(store, tmp_path, rows=20_000, train={"lr": 0.03}))
    sae = SAE.load(result.path)
    sites = sites_read(sae.metadata, sae.cfg.d_in)
    raw = {site: store.read(site, "heldout").float() for site in sites.names}
    with torch.no_grad():
        made = sites.split(sae(sites.join(raw)))
    for site, rows in raw.items():
        assert fvu(rows, made[site]) == pytest.approx(result.own[f"FVU at {site}"], rel=1e-3)
        assert result.own[f"FVU at {site}"] < 0.2  # 24 planted directions, the same at both sites
    assert json.loads((result.path / "training.json").read_text())["heldout"]["own"] == result.own


def test_a_transcoder_may_read_one_site_and_write_several(store, tmp_path):
    entry = {"variant": "topk", "d_sae": 32, "k": 4, "skip": True}
    (result,) = train(config(store, tmp_path, entry, rows=400, target=[OTHER, SITE]))
    sae = SAE.load(result.path)
    assert sae.W_dec.shape == (32, 28)
    assert sae.metadata["hook_name"] == SITE
    assert sites_written(sae.metadata, 16, 28).names == (OTHER, SITE)
    assert set(result.own) == {f"FVU at {OTHER}", f"FVU at {SITE}"}


def test_a_run_that_broke_off_ends_with_the_same_bits(store, tmp_path):
    train(crosscoder(store, tmp_path / "whole", eval_every=600))
    cfg = crosscoder(store, tmp_path / "broken", eval_every=600, save_minutes=0)
    for at in (7, 13):
        with pytest.raises(OSError, match="power"):
            train(cfg, source=Failing(store, at, power_cut))
    train(cfg)
    assert only_weights(artefacts(tmp_path / "broken")) == only_weights(artefacts(tmp_path / "whole"))


class Louder(StoreRows):
    """Rows of which one site is three times as long."""

    def sample(self, sites, rows):
        return {site: x * (3 if site == SITE else 1) for site, x in super().sample(sites, rows).items()}

    def batches(self, sites, batch, seed, start=0):
        for rows in super().batches(sites, batch, seed, start):
            yield {site: x * (3 if site == SITE else 1) for site, x in rows.items()}


def test_going_on_from_a_crosscoder_keeps_its_units(store, tmp_path):
    (first,) = train(crosscoder(store, tmp_path / "a", rows=1000))
    again = crosscoder(store, tmp_path / "b", rows=200, train={"start_from": str(first.path), "lr": 1e-9})
    (second,) = train(again, source=Louder(store))
    one, other = SAE.load(first.path), SAE.load(second.path)
    assert other.metadata["sites"] == one.metadata["sites"]
    torch.testing.assert_close(other.W_dec, one.W_dec, rtol=1e-4, atol=1e-4)


def test_what_is_in_train_yaml_trains_the_same_again(store, tmp_path):
    from saelab.config import load_settings
    from saelab.train import TrainConfig

    (result,) = train(crosscoder(store, tmp_path / "a", rows=400))
    again = load_settings(TrainConfig, result.path / "train.yaml", [f"out={tmp_path / 'b'}"])
    assert again.site == [SITE, OTHER]
    (second,) = train(again)
    weights = "sae_weights.safetensors"
    assert (second.path / weights).read_bytes() == (result.path / weights).read_bytes()


def test_a_range_of_layers_stands_for_its_sites(store, tmp_path):
    (plan,) = plans(config(store, tmp_path, site=["resid_post.1-1", "mlp_out.1-1"]), StoreRows(store))
    assert plan.cfg.site == [SITE, OTHER]


def test_a_list_of_one_is_that_site(store, tmp_path):
    (listed,) = plans(config(store, tmp_path, site=["resid_post.1"]), StoreRows(store))
    (plain,) = plans(config(store, tmp_path), StoreRows(store))
    assert listed == plain


@pytest.mark.parametrize(
    ("site", "error", "match"),
    [
        ([SITE, SITE], ConfigError, "name every site once"),
        ([], ConfigError, "at least one"),
        ([SITE, "resid_post.7"], SiteError, "there are rows of: .*hook_resid_post"),
    ],
)
def test_sites_that_cannot_be_joined_are_refused_and_nothing_is_written(store, tmp_path, site, error, match):
    with pytest.raises(error, match=match):
        train(config(store, tmp_path / "out", site=site))
    assert not (tmp_path / "out").exists()
