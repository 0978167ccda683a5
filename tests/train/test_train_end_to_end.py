"""Training on what the model does with the SAE in place."""

import random
from itertools import islice

import pytest
import torch

from saelab.config import settings
from saelab.contracts import Batch
from saelab.errors import ConfigError, TrainError
from saelab.harvest import HarvestConfig
from saelab.harvest.contexts import LiveContexts
from saelab.lm import LanguageModel
from saelab.sae import MODELS, sae_config
from saelab.train import StoreRows, TrainConfig, plan, train
from saelab.train.config import EndToEndConfig
from saelab.train.data import TOKENS, ThroughModel
from saelab.train.end_to_end import Contexts, counted_rows, end_to_end_terms
from saelab.train.metrics_log import read_metrics
from saelab.train.normalise import Normalisation
from saelab.train.sequences import SequenceRows

from .train_rows import artefacts

SITE, BEHIND = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
CONTEXTS, LENGTH, D, VOCAB = 3, 5, 8, 11


class Toy(SequenceRows):
    """A model of one layer behind the site: a = tanh(running sum of y) A, logits = a U."""

    def __init__(self, y):
        super().__init__({SITE: y})
        self.y, draw = y, torch.Generator().manual_seed(0)
        self.A, self.U = (torch.randn(D, n, generator=draw, dtype=torch.float64) for n in (D, VOCAB))

    def counted(self, ids):
        return torch.tensor([0, 1, 0, 1, 1]).bool().expand(CONTEXTS, -1)

    def behind(self, values):
        return torch.tanh(values.cumsum(dim=1)) @ self.A

    def clean(self, ids, behind):
        acts = self.behind(self.y)
        return acts @ self.U, dict.fromkeys(behind, acts)

    def through(self, ids, site, values, behind, loss):
        values = values.clone().requires_grad_()
        acts = self.behind(values)
        return torch.autograd.grad(loss(acts @ self.U, dict.fromkeys(behind, acts)), values)[0]


def toy():
    """(contexts, whose first and third tokens do not count, batch, units)."""
    draw = torch.Generator().manual_seed(1)
    source = Toy(3 * torch.randn(CONTEXTS, LENGTH, D, generator=draw, dtype=torch.float64) + 1)
    ids = torch.randint(VOCAB, (CONTEXTS, LENGTH), generator=draw)
    counted = source.counted(ids)
    unit = Normalisation(torch.ones(D, dtype=torch.float64), 0.5, torch.ones(D, dtype=torch.float64), 0.5)
    x = (source.y[counted] - unit.centre) * unit.scale
    return Contexts(source, SITE, ids, counted, source.y), Batch(x, x), unit


def written_out(contexts, x_hat, unit, cfg):
    """The definition, in plain autograd."""
    made, toy_model, counted = contexts.y.clone(), contexts.source, contexts.counted
    made[counted] = x_hat / unit.target_scale + unit.target_centre
    a, a_now = toy_model.behind(contexts.y), toy_model.behind(made)
    logits, now = a @ toy_model.U, a_now @ toy_model.U
    if cfg.loss == "kl":
        p, q = logits.softmax(dim=-1), now.softmax(dim=-1)
        loss = (p * (p / q).log()).sum(dim=-1)[counted].mean()
    else:
        logq = now.log_softmax(dim=-1)
        follows = [(c, t) for c in range(CONTEXTS) for t in range(LENGTH - 1) if counted[c, t] and counted[c, t + 1]]
        loss = torch.stack([-logq[c, t, contexts.ids[c, t + 1]] for c, t in follows]).mean()
    total = cfg.weight * loss
    if cfg.downstream:
        kept, was = a_now[counted], a[counted]
        total = total + cfg.downstream_weight * (kept - was).pow(2).sum() / (was - was.mean(dim=0)).pow(2).sum()
    return total


SAES = {
    "topk": {"k": 3},
    "batchtopk": {"k": 3},
    "relu": {},
    "jumprelu": {"initial_threshold": 0.3},
    "gated": {},
    "matryoshka": {"k": 3},
    "mp": {"k": 3},
}


@pytest.mark.parametrize("variant", SAES)
@pytest.mark.parametrize("cfg", [{}, {"loss": "ce", "weight": 2.0}, {"downstream": [BEHIND], "downstream_weight": 0.7}])
def test_gradients_are_those_of_the_definition(variant, cfg):
    contexts, batch, unit = toy()
    cfg = settings(EndToEndConfig, cfg, "test")
    torch.manual_seed(0)
    made = sae_config({"variant": variant, "d_in": D, "d_sae": 16, **SAES[variant]})
    sae = MODELS[variant](made).double()
    own = sae.loss_terms(batch, 0)
    terms = end_to_end_terms(own, sae, batch, contexts, unit, cfg)
    expected = written_out(contexts, sae(batch.x), unit, cfg)
    rest = [term for name, term in own.items() if name != "reconstruction"]
    assert sum(terms[name] for name in (cfg.loss, "downstream") if name in terms).item() == pytest.approx(
        expected.item()
    )
    parameters = list(sae.parameters())
    whole = [expected, *rest]
    found = torch.autograd.grad(
        torch.stack(list(terms.values())).sum(), parameters, allow_unused=True, retain_graph=True
    )
    wanted = torch.autograd.grad(torch.stack(whole).sum(), parameters, allow_unused=True)
    assert any(one is not None and one.abs().max() > 1e-6 for one in wanted)
    for one, other in zip(found, wanted, strict=True):
        if other is not None or (one is not None and one.abs().max() > 0):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_jumprelus_thresholds_learn_from_the_model():
    contexts, batch, unit = toy()
    sae = MODELS["jumprelu"](sae_config({"variant": "jumprelu", "d_in": D, "d_sae": 16, "l0": 0.0})).double()
    terms = end_to_end_terms(sae.loss_terms(batch, 0), sae, batch, contexts, unit, EndToEndConfig())
    terms["kl"].backward()
    assert sae.log_threshold.grad.abs().max() > 0


def test_what_reproduces_every_row_costs_nothing():
    contexts, batch, unit = toy()
    sae, eye = MODELS["relu"](sae_config({"variant": "relu", "d_in": D, "d_sae": 2 * D})).double(), torch.eye(D)
    sae.load_state_dict({"W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye])}, strict=False)
    cfg = settings(EndToEndConfig, {"downstream": [BEHIND]}, "test")
    terms = end_to_end_terms({"reconstruction": torch.ones(())}, sae, batch, contexts, unit, cfg)
    assert {name: round(term.item(), 12) for name, term in terms.items()} == {"kl": 0.0, "downstream": 0.0}


@pytest.fixture(scope="module")
def live_settings(tiny_lm_dir, tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("texts"), random.Random(0)
    for number in range(120):
        (folder / f"{number}.txt").write_text("".join(draw.choices("abcdefgh \n", k=40)))
    corpus = {"kind": "files", "paths": [str(folder)]}
    return {"model": str(tiny_lm_dir), "corpus": corpus, "sites": ["resid_post.0"], "context": 16, "device": "cpu"} | {
        "shard_rows": 1600, "dtype": "float32"
    }  # fmt: skip


@pytest.fixture(scope="module")
def live(live_settings):
    cfg = settings(HarvestConfig, live_settings, "test")
    return LiveContexts(cfg, LanguageModel.load(cfg.model, device="cpu"))


def config(out, live_settings, sae=None, **changes):
    own = {"rows": 1920, "batch": 64, "lr": 3e-3, "end_to_end": {"downstream": ["resid_post.2"]}, **changes}
    values = {"source": "live", "live": live_settings, "out": str(out), "train": own, "log_every": 1}
    return settings(TrainConfig, {**values, "sae": sae or {"variant": "topk", "d_sae": 64, "k": 4}}, "test")


def test_bos_and_special_tokens_count_nowhere(live):
    assert isinstance(live, ThroughModel)
    rows = next(live.batches([SITE, TOKENS], 64, seed=0))
    kept, contexts = counted_rows(live, rows, SITE, "cpu")
    assert contexts.counted.shape == (4, 16) and not contexts.counted[:, 0].any()
    assert len(kept[SITE]) == int(contexts.counted.sum()) == 60
    assert torch.equal(kept[SITE], contexts.y[contexts.counted])
    assert len(live.heldout([SITE], 64)[SITE]) % 15 == 0


def test_the_loss_falls_and_is_what_the_logs_say(live, live_settings, tmp_path):
    (result,) = train(config(tmp_path, live_settings), source=live)
    lines = [line for line in read_metrics(result.path / "metrics.jsonl") if "kl" in line]
    assert {"kl", "downstream", "aux"} <= set(lines[0]) and "reconstruction" not in lines[0]
    first, last = (sum(line["kl"] for line in part) / 5 for part in (lines[:5], lines[-5:]))
    assert last < 0.8 * first
    path = next(line["update"] for line in read_metrics(result.path / "metrics.jsonl") if "update" in line)
    assert "gradients written out: train.end_to_end" in path


def test_one_of_two_saes_may_train_on_the_rows_alone(live, live_settings, tmp_path):
    sae = {"variant": "topk", "d_sae": 64, "k": 4}
    two = [{**sae, "name": "rows", "train": {"end_to_end": None}}, {**sae, "name": "model"}]
    rows, model = train(config(tmp_path, live_settings, two), source=live)
    assert rows.fvu < model.fvu


class Stopping(LiveContexts):
    """The same source; the power goes before batch `at`."""

    def __init__(self, source, at):
        self.__dict__.update(source.__dict__)
        self.at = at

    def batches(self, sites, batch, seed, start=0):
        yield from islice(super().batches(sites, batch, seed, start), self.at - start)
        raise RuntimeError("power cut")


def test_a_resumed_run_ends_with_the_same_bits(live, live_settings, tmp_path):
    whole, cut = (config(tmp_path / name, live_settings).model_copy(update={"save_minutes": 0}) for name in ("a", "b"))
    (result,) = train(whole, source=live)
    with pytest.raises(RuntimeError, match="power cut"):
        train(cut, source=Stopping(live, 17))
    (again,) = train(cut, source=live)
    weights = "sae_weights.safetensors"
    assert artefacts(result.path)[weights] == artefacts(again.path)[weights]
    assert artefacts(result.path)["metrics.jsonl"] == artefacts(again.path)["metrics.jsonl"]


def test_contexts_are_not_cut_into_pieces_where_memory_runs_out(live, live_settings, tmp_path, monkeypatch):
    def terms(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("saelab.train.trainee.end_to_end_terms", terms)
    with pytest.raises(TrainError, match=r"cannot be taken in smaller pieces(.|\n)*train\.batch"):
        train(config(tmp_path, live_settings), source=live)


def test_its_cost_is_told_beforehand(live, live_settings, tmp_path):
    told = plan(config(tmp_path, live_settings), live)
    assert told["seconds"] > 0 and told["steps"] == 30
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sae", "changes", "words"),
    [
        (None, {"batch": 70}, "no whole number of contexts of 16"),
        (None, {"end_to_end": {"downstream": ["resid_post.0"]}}, "is not behind"),
        (None, {"end_to_end": {"loss": "mse"}}, "end_to_end.loss"),
        ({"variant": "bilinear", "d_sae": 8}, {}, "does not reproduce"),
    ],
)
def test_what_cannot_be_done_is_said(live, live_settings, tmp_path, sae, changes, words):
    with pytest.raises(ConfigError, match=words):
        train(config(tmp_path, live_settings, sae, **changes), source=live)


def test_a_store_has_no_model_to_run(store, live_settings, tmp_path):
    cfg = config(tmp_path, live_settings).model_copy(update={"source": "store", "site": SITE.replace("0", "1")})
    with pytest.raises(ConfigError, match="set source: live"):
        train(cfg, source=StoreRows(store))
