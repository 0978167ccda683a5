"""How an SAE may begin, and how many features it keeps on the way."""

import json
from pathlib import Path

import pytest
import torch

from saelab import sealed
from saelab.config import settings
from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.train import OptimiserConfig, StoreRows, TrainConfig, train
from saelab.train.initialise import active_subspace, begin, geometric_median, within
from saelab.train.normalise import Normalisation, normalisation_of
from saelab.train.plans import plans
from saelab.train.schedule import annealed_k
from saelab.train.start import unfolded
from saelab.train.trainee import Trainee

from .test_train_resume import Failing, power_cut, weights
from .train_rows import OTHER, SITE, TOPK, artefacts, config

LINE = {"variant": "topk", "d_in": 3, "d_sae": 8, "k": 1}


def along(*directions, rows=500):
    """Rows that vary along these directions only, off centre."""
    strengths = torch.randn(rows, len(directions), generator=torch.Generator().manual_seed(0))
    return strengths @ torch.tensor(directions) + 7


def new(settings_of_sae, rows, y=None, **recipe):
    """An untrained SAE that begins as `recipe` says; and the normalisation."""
    y = rows if y is None else y
    n = Normalisation.of(rows, y)
    sae = VARIANTS[settings_of_sae["variant"]](sae_config(settings_of_sae), torch.Generator().manual_seed(0))
    begin(sae, OptimiserConfig.model_validate({"device": "cpu", **recipe}), n, n.batch(rows, y))
    return sae, n


def test_features_begin_where_the_rows_vary():
    plane = along([1.0, 0.0, 0.0], [0.0, 0.0, 2.0])
    sae, _ = new(LINE, plane, init="active_subspace")
    assert sae.W_dec[:, 1].abs().max() < 1e-6
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(8))
    assert sae.W_enc.equal(sae.W_dec.t())
    assert sae.W_enc.stride() == (1, 3)
    assert sae.b_dec.eq(0).all()


def test_the_subspace_is_as_small_as_holds_99_percent_unless_its_rank_is_stated():
    rows = along([10.0, 0.0, 0.0], [0.0, 1.1, 0.0], [0.0, 0.0, 0.01])  # shares of 98.8 %, 1.2 % and 0.0001 %
    assert active_subspace(rows, None).shape == (2, 3)
    assert active_subspace(rows, 1).shape == (1, 3)
    torch.testing.assert_close(active_subspace(rows, 1).abs(), torch.tensor([[1.0, 0.0, 0.0]]), atol=0.02, rtol=0)
    sae, _ = new(LINE, rows, init="active_subspace", subspace_rank=1)
    assert sae.W_dec[:, 0].abs().min() > 0.99


def test_directions_within_the_subspace_are_evenly_spread():
    U = torch.linalg.qr(torch.randn(20, 3, generator=torch.Generator().manual_seed(1))).Q.t()
    W = within(torch.randn(20_000, 20, generator=torch.Generator().manual_seed(2)), U) @ U.t()
    torch.testing.assert_close(W.t() @ W / len(W), torch.eye(3) / 3, atol=0.01, rtol=0)  # 3 standard errors


def test_a_transcoder_reads_in_one_subspace_and_writes_in_the_other():
    x, y = along([0.0, 1.0, 0.0]), along([1.0, 0.0])
    sae, _ = new({**LINE, "d_out": 2}, x, y, init="active_subspace")
    assert sae.W_dec[:, 1].abs().max() < 1e-6
    assert sae.W_enc[0].abs().max() < 1e-6
    assert sae.W_enc[2].abs().max() < 1e-6
    assert not sae.W_dec[:, 0].equal(sae.W_enc[1])


def test_a_rank_without_a_subspace_or_beyond_the_rows_is_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="set init to active_subspace"):
        config(store, tmp_path, train={"subspace_rank": 3})
    with pytest.raises(ConfigError, match=r"subspace_rank = 17, but the rows have 16 dimensions"):
        train(config(store, tmp_path, train={"init": "active_subspace", "subspace_rank": 17}))


def test_the_geometric_median_is_where_the_forces_balance():
    cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(geometric_median(cross), torch.zeros(2), atol=1e-6, rtol=0)
    # of a right angle with equal sides it is the Fermat point, (3 - sqrt 3) / 6 from both
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(geometric_median(corner), torch.full((2,), (3 - 3**0.5) / 6), atol=1e-4, rtol=0)


def test_an_outlier_moves_the_geometric_median_hardly_at_all():
    rows = torch.randn(999, 4, generator=torch.Generator().manual_seed(0))
    away = torch.cat([rows, torch.full((1, 4), 1e6)])
    assert (geometric_median(away) - geometric_median(rows)).norm() < 0.01
    assert away.mean(dim=0).norm() > 1000


@pytest.mark.parametrize("same", [torch.zeros(5, 3), torch.ones(1, 3)])
def test_rows_that_are_all_one_are_their_own_median(same):
    assert geometric_median(same).equal(same[0])


@pytest.mark.parametrize("target", [False, True])
def test_b_dec_begins_where_it_is_told_to_in_units_of_the_rows(target):
    x = along([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    y = 3 * x[:, :2] + 1 if target else x
    own = {**LINE, "d_out": 2} if target else LINE
    expected = {"mean": y.mean(dim=0), "zero": torch.zeros(y.shape[1]), "geometric_median": geometric_median(y)}
    for name, row in expected.items():
        sae, n = new(own, x, y, init_b_dec=name)
        torch.testing.assert_close(sae.b_dec.detach() / n.target_scale + n.target_centre, row, atol=1e-4, rtol=1e-4)


def test_a_beginning_is_the_same_after_an_interruption_and_needs_no_rows_later(store, tmp_path):
    recipe = {"init": "active_subspace", "init_b_dec": "geometric_median"}
    entries = [{**TOPK, "train": recipe}, {**TOPK, "name": "usual"}]
    cfg = config(store, tmp_path / "broken", entries, save_minutes=0)
    for at in (0, 7):
        with pytest.raises(OSError, match="power"):
            train(cfg, source=Failing(store, at, power_cut))
    train(cfg)
    whole = train(config(store, tmp_path / "whole", entries))
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    (alone,) = train(config(store, tmp_path / "alone", {**TOPK, "name": "usual"}))
    assert artefacts(whole[1].path)["metrics.jsonl"] == artefacts(alone.path)["metrics.jsonl"]


def test_k_falls_in_a_straight_line_and_stays():
    assert [annealed_k(32, 8, step, 100, 0.1) for step in (0, 5, 10, 11, 99)] == [32, 20, 8, 8, 8]
    assert [annealed_k(2, 4, step, 4, 1.0) for step in range(4)] == [2, 2, 3, 4]  # 2.5 and 3.5 round to even
    assert annealed_k(9, 3, 0, 1, 0.2) == 9


@pytest.mark.parametrize("variant", [name for name, kind in VARIANTS.items() if "k" in kind.Config.model_fields])
def test_the_first_steps_keep_more_features(store, tmp_path, variant):
    """So every variant that keeps k has to read it anew at each step."""
    cfg = config(store, tmp_path, {"variant": variant, "d_sae": 64, "k": 2}, train={"anneal_k_from": 8})
    (made,) = plans(cfg, StoreRows(store))
    n = normalisation_of(StoreRows(store), made.sites, [tmp_path], "cpu")
    trainee, active = Trainee(made, n), []
    loss_terms = trainee.sae.loss_terms

    def counting(batch: Batch, step: int):
        with torch.no_grad():
            active.append((trainee.sae.encode_sparse(batch.x).val > 0).sum().item() / len(batch.x))
        return loss_terms(batch, step)

    trainee.sae.loss_terms = counting
    x = store.read(SITE, "train", 0, 200)
    slope = (x - x.mean(dim=0)) / 100
    for _ in range(6):
        trainee.descend(n.batch(x, x, slope))
    assert active[0] > 2 * active[5]
    assert trainee.sae.cfg.k == 2  # what looks, folds and saves in between sees the SAE it will be


def test_annealing_is_resumed_and_leaves_a_checkpoint_that_keeps_k(store, tmp_path):
    own = {"anneal_k_from": 16, "anneal_share": 0.5}
    cfg = config(store, tmp_path / "broken", train=own, save_minutes=0)
    with pytest.raises(OSError, match="power"):
        train(cfg, source=Failing(store, 4, power_cut))
    (result,) = train(cfg)
    train(config(store, tmp_path / "whole", train=own))
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    assert SAE.load(result.path).cfg.k == 4
    assert result.l0 is not None
    assert result.l0 <= 4


@pytest.mark.parametrize(
    ("sae", "words"),
    [
        ({"variant": "relu", "d_sae": 32}, "relu does not keep a number k of features"),
        (TOPK, r"anneal_k_from = 33: TopKConfig = .*k = 33 features per row, but d_sae = 32"),
    ],
)
def test_a_k_to_begin_with_that_cannot_be_is_refused(store, tmp_path, sae, words):
    with pytest.raises(ConfigError, match=words):
        train(config(store, tmp_path / "out", sae, train={"anneal_k_from": 33}))
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """One finished checkpoint of every variant that can be one."""
    out = tmp_path_factory.mktemp("trained")
    own = {"topk": {"k": 4}, "batchtopk": {"k": 4}, "gsae": {"k": 4}, "msae": {"k0": 4}, "bilinear": {}}
    entries = [{"variant": name, "d_sae": 32, "name": name, **own.get(name, {})} for name in VARIANTS]
    return {result.name: result.path for result in train(config(store, out, entries, rows=2000))}


@pytest.mark.parametrize("variant", VARIANTS)
def test_unfolding_undoes_folding(store, trained, variant):
    sae = SAE.load(trained[variant])
    x = store.read(SITE, "heldout").float()
    n = Normalisation.of(x[:50], x[:50])  # not the one it was trained in
    again = unfolded(trained[variant], n, "cpu").fold(n)
    with torch.no_grad():
        for name, tensor in sae.state_dict().items():
            torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-4, atol=1e-4, msg=name)


def test_a_run_begins_with_the_checkpoint_it_starts_from(store, trained, tmp_path):
    cfg = config(store, tmp_path, {}, train={"start_from": str(trained["topk"]), "lr": 1e-12}, rows=200)
    (result,) = train(cfg)
    there, here = SAE.load(trained["topk"]), SAE.load(result.path)
    assert here.cfg == there.cfg
    for name, tensor in there.named_parameters():
        torch.testing.assert_close(here.get_parameter(name), tensor, rtol=1e-4, atol=1e-4)
    assert here.tokens_since_fired.max() <= 200
    assert result.name == "topk-32-k4"


def test_training_goes_on_and_may_keep_another_number_of_features(store, trained, tmp_path):
    start = {"start_from": str(trained["topk"])}
    (longer,) = train(config(store, tmp_path, {"train": start}))
    (more,) = train(config(store, tmp_path, {"k": 8}, train=start))
    before = json.loads((trained["topk"] / "training.json").read_text())["heldout"]["fvu"]
    assert longer.name == "topk-32-k4-start_fromtopk"
    assert more.name == "topk-32-k8"
    assert longer.fvu is not None
    assert longer.fvu < before
    assert SAE.load(more.path).cfg.k == 8


@pytest.mark.parametrize(
    ("sae", "more", "words"),
    [
        ({"variant": "relu"}, {}, "variant: 'topk' there, 'relu' here"),
        ({"d_sae": 64}, {}, "d_sae: 32 there, 64 here"),
        ({}, {"site": OTHER}, "d_in: 16 there, 12 here"),
        ({}, {"target": OTHER}, r"d_out: 16 there, 12 here(.|\n)*transcoder: False there, True here"),
    ],
)
def test_another_sae_cannot_be_started_from(store, trained, tmp_path, sae, more, words):
    with pytest.raises(CheckpointError, match=words):
        train(config(store, tmp_path / "out", sae, train={"start_from": str(trained["topk"])}, **more))
    assert not (tmp_path / "out").exists()


def test_a_start_that_is_not_there_or_brings_other_weights_too_is_refused(store, tmp_path):
    with pytest.raises(CheckpointError, match="no finished checkpoint"):
        train(config(store, tmp_path / "out", train={"start_from": str(tmp_path / "nothing")}))
    for name, value in (("init", "active_subspace"), ("init_b_dec", "zero")):
        with pytest.raises(ConfigError, match=f"start_from = .* but {name} = '{value}' would make others"):
            settings(OptimiserConfig, {"start_from": Path("x"), name: value}, where="train")


def test_a_run_of_before_there_were_recipes_is_still_the_same_run(store, tmp_path):
    (first,) = train(config(store, tmp_path))
    record = sealed.read(first.path / "training.json")
    for name in ("init", "subspace_rank", "init_b_dec", "anneal_k_from", "anneal_share", "start_from"):
        del record["settings"]["train"][name]
    sealed.write(first.path / "training.json", record)
    (again,) = train(config(store, tmp_path))
    assert again.seconds == 0
    with pytest.raises(ConfigError, match=r"train\.init: 'random' there, 'active_subspace' now"):
        train(config(store, tmp_path, train={"init": "active_subspace"}))


def test_train_yaml_holds_the_recipes_and_trains_the_same_again(store, trained, tmp_path):
    from saelab.config import load_settings

    recipe = {"start_from": str(trained["topk"]), "anneal_k_from": 8}
    (first,) = train(config(store, tmp_path / "a", {}, train=recipe))
    again = load_settings(TrainConfig, first.path / "train.yaml", [f"out={tmp_path / 'b'}"])
    (second,) = train(again)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert second.name == first.name
