import pytest

from saelab import sealed
from saelab.config import settings
from saelab.errors import CheckpointError, ConfigError, SaelabError, SiteError, StoreError, StoreMismatch
from saelab.train import StoreRows, TrainConfig, train
from saelab.train.data import slices
from saelab.train.plans import plans

from .train_rows import SITE, TOPK, config


def names(store, tmp_path, *entries):
    return [plan.name for plan in plans(config(store, tmp_path, list(entries)), StoreRows(store))]


def refused(store, tmp_path, error, match, *entries, **more):
    """Training raises `error`, and nothing has been written."""
    with pytest.raises(error, match=match):
        train(config(store, tmp_path / "out", list(entries) or TOPK, **more))
    assert not (tmp_path / "out").exists()


def test_names_follow_from_variant_size_and_sparsity(store, tmp_path):
    own = {"variant": "topk", "d_sae": 64, "k": 8, "train": {"lr": 1e-3}}
    assert names(store, tmp_path, TOPK, own, {**TOPK, "name": "mine"}) == ["topk-32-k4", "topk-64-k8-lr0.001", "mine"]


def test_widths_and_rate_are_derived(store, tmp_path):
    (plan,) = plans(config(store, tmp_path, train={"lr": None}), StoreRows(store))
    assert (plan.sae.d_in, plan.site) == (16, SITE)
    assert plan.train.lr is not None
    assert plan.train.dead_after is not None
    assert plan.train.device in ("cpu", "cuda")


def test_checkpoints_go_beside_the_store_when_nothing_else_is_said(store):
    cfg = settings(TrainConfig, {"store": str(store.path), "site": SITE, "sae": TOPK, "train": {"batch": 100}}, "test")
    assert plans(cfg, StoreRows(store))[0].folder == store.path.parent / "sae" / "topk-32-k4"


def test_a_stated_width_that_is_not_the_rows_is_refused_with_both_values(store, tmp_path):
    refused(store, tmp_path, StoreMismatch, r"rows have width 16, but the SAE reads width 64", {**TOPK, "d_in": 64})


def test_more_active_features_than_there_are_is_refused(store, tmp_path):
    refused(store, tmp_path, ConfigError, "k", {"variant": "topk", "d_sae": 8, "k": 9})


def test_a_misspelt_setting_of_the_sae_is_refused_with_the_nearest(store, tmp_path):
    refused(store, tmp_path, ConfigError, "Did you mean 'd_sae'", {"variant": "topk", "d_sae": 8, "dsae": 8, "k": 2})


def test_a_misspelt_variant_is_refused_with_the_nearest(store, tmp_path):
    refused(store, tmp_path, ConfigError, "Did you mean 'topk'", {"variant": "topkk", "d_sae": 8})


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "x" * 101, "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(store, tmp_path, name):
    refused(store, tmp_path, ConfigError, "cannot name a run", name=name)


def test_two_saes_of_one_name_are_refused(store, tmp_path):
    refused(store, tmp_path, ConfigError, "two entries are called 'topk-32-k4'", TOPK, TOPK)


def test_one_name_for_two_saes_is_refused(store, tmp_path):
    refused(store, tmp_path, ConfigError, "put `name` into each entry", TOPK, {**TOPK, "k": 2}, name="both")


def test_an_optimiser_setting_that_all_saes_share_is_refused_in_an_entry(store, tmp_path):
    refused(store, tmp_path, ConfigError, r"set train\.batch for all", {**TOPK, "train": {"batch": 8}})


def test_a_site_the_rows_do_not_have_is_refused_with_those_they_have(store, tmp_path):
    refused(store, tmp_path, SiteError, "there are rows of: .*hook_resid_post", site="resid_post.7")


def test_a_store_of_two_sites_asks_which(store, tmp_path):
    refused(store, tmp_path, SiteError, "set site to one of them", site=None)


def test_a_batch_larger_than_the_store_is_refused(store, tmp_path):
    refused(store, tmp_path, StoreError, "6000 rows, but a batch takes 7000", train={"batch": 7000})


def test_a_missing_store_is_refused(tmp_path):
    with pytest.raises(StoreError):
        train(settings(TrainConfig, {"store": str(tmp_path / "none"), "sae": TOPK}, "test"))


def test_live_without_a_source_says_who_can(store, tmp_path):
    refused(store, tmp_path, ConfigError, "saelab train", source="live")


def test_other_settings_under_the_same_name_are_refused_with_what_differs(store, tmp_path):
    train(config(store, tmp_path, name="run"))
    with pytest.raises(ConfigError, match=r"sae\.k: 4 there, 8 now(.|\n)*give this run another `name`"):
        train(config(store, tmp_path, {**TOPK, "k": 8}, name="run"))


def test_a_damaged_state_is_refused(store, tmp_path):
    (result,) = train(config(store, tmp_path))
    (state,) = (result.path / "state").glob("step-*.safetensors")
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    sealed.write(result.path / "training.json", {**sealed.read(result.path / "training.json"), "finished": False})
    with pytest.raises(CheckpointError, match="not as it was written"):
        train(config(store, tmp_path))


def test_warm_up_and_decay_cannot_overlap(store, tmp_path):
    with pytest.raises(SaelabError, match="together at most 1"):
        config(store, tmp_path, train={"warmup": 0.6, "decay": 0.6})


def test_a_held_out_sample_is_spread_over_the_split():
    assert slices(10, 20) == [(0, 10)]
    assert slices(3200, 32) == [(200 * i, 200 * i + 2) for i in range(16)]
    assert sum(stop - start for start, stop in slices(9999, 8192)) == 8192


def test_bf16_products_on_a_processor_are_refused_and_auto_is_fp32_there(store, tmp_path):
    made = plans(config(store, tmp_path, train={"device": "cpu"}), StoreRows(store))
    assert made[0].train.precision == "fp32"
    with pytest.raises(ConfigError, match=r"(?s)train.precision = 'bf16'.*leave train.precision out"):
        plans(config(store, tmp_path, train={"device": "cpu", "precision": "bf16"}), StoreRows(store))
