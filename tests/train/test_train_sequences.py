"""Whole sequences instead of single rows: where they come from, and Lorsa trained on them."""

import itertools

import pytest
import torch

from saelab.cli.sources import row_source
from saelab.config import settings
from saelab.errors import ConfigError, CorpusError
from saelab.harvest import HarvestConfig
from saelab.harvest.sequences import LiveSequences
from saelab.lm import LanguageModel
from saelab.metrics import fvu
from saelab.sae.replacements import Lorsa
from saelab.sae.replacements.attention import AttentionWeights
from saelab.train import StoreRows, TrainConfig, train
from saelab.train.sequences import SequenceRows, SequenceSource

from .test_train_resume import only_weights, power_cut
from .train_rows import artefacts, config

READ, WRITTEN = "blocks.0.attn.hook_in", "blocks.0.hook_attn_out"
TOKENS, D, HEADS, WIDTH = 8, 12, 2, 4
LORSA = {"variant": "lorsa", "d_sae": 32, "k": 16, "qk_heads": 2}  # both signs of each of the layer's 2 * 4 terms


def layer():
    random = torch.Generator().manual_seed(1)
    shapes = [(HEADS, D, WIDTH)] * 3 + [(HEADS, WIDTH, D), (HEADS, WIDTH), (HEADS, WIDTH), (HEADS, WIDTH), (D,)]
    return AttentionWeights(*(torch.randn(*shape, generator=random) * shape[-1] ** -0.5 for shape in shapes))


def sequences(n, seed):
    """What an attention layer reads and writes on `n` sequences; their first token is always the same."""
    x = torch.randn(n, TOKENS, D, generator=torch.Generator().manual_seed(seed)) * 3 + 1
    x[:, 0] = 7.0
    return {READ: x, WRITTEN: layer().output(x)}


@pytest.fixture(scope="module")
def source():
    return SequenceRows(sequences(200, 2), sequences(20, 3), lead=1)


def lorsa(out, sae=LORSA, **more):
    own = {"rows": 8000, "batch": 80, "lr": 5e-3, **more.pop("train", {})}
    values = {"out": str(out), "site": READ, "target": WRITTEN, "sae": sae, "train": own, **more}
    return settings(TrainConfig, values, where="test")


def test_a_batch_is_whole_sequences_in_an_order_that_follows_from_the_seed(source):
    whole = source.train[READ]
    first, *_, late = itertools.islice(source.batches([READ], 80, seed=0), 25)
    assert isinstance(source, SequenceSource)
    for row in first[READ].unflatten(0, (-1, TOKENS)):
        assert (row == whole).flatten(1).all(dim=1).any()
    assert torch.equal(next(source.batches([READ], 80, seed=0, start=24))[READ], late[READ])
    assert not torch.equal(next(source.batches([READ], 80, seed=1))[READ], first[READ])
    epoch = torch.cat([batch[READ] for batch in itertools.islice(source.batches([READ], 80, seed=0), 20)])
    assert epoch.unflatten(0, (-1, TOKENS)).sum(dim=0).allclose(whole.sum(dim=0), atol=1e-2)


def test_a_sample_holds_tokens_only(source):
    sample = source.sample([READ], 100)[READ]
    assert sample.shape == (100, D)
    assert not (sample == 7.0).all(dim=1).any()


def test_lorsa_learns_what_an_attention_layer_writes(source, tmp_path):
    (result,) = train(lorsa(tmp_path, train={"rows": 24_000, "lr": 2e-2}), source=source)
    made = Lorsa.load(result.path)
    assert isinstance(made, Lorsa)
    assert (made.cfg.context, made.cfg.lead) == (TOKENS, 1)
    held = source.heldout([READ, WRITTEN], 10**6)
    with torch.no_grad():
        y_hat = made(held[READ])
    counted = made.counted(len(y_hat))
    assert result.fvu == pytest.approx(fvu(held[WRITTEN][counted], y_hat[counted]), rel=1e-4)
    assert result.fvu < 0.5
    assert 1 < result.l0 <= 16
    assert made.metadata["hook_name_out"] == WRITTEN


class Failing(SequenceRows):
    """Sequences that end in a power cut when batch `at` is asked for."""

    def __init__(self, at):
        super().__init__(sequences(200, 2), sequences(20, 3), lead=1)
        self.at = at

    def batches(self, sites, batch, seed, start=0):
        for number, rows in enumerate(super().batches(sites, batch, seed, start), start):
            if number == self.at:
                power_cut()
            yield rows


def test_a_run_that_broke_off_ends_with_the_same_bits(source, tmp_path):
    short = {"rows": 1600}
    train(lorsa(tmp_path / "whole", train=short), source=source)
    cfg = lorsa(tmp_path / "broken", train=short, save_minutes=0)
    for at in (7, 13):
        with pytest.raises(OSError, match="power"):
            train(cfg, source=Failing(at))
    train(cfg, source=source)
    assert only_weights(artefacts(tmp_path / "broken")) == only_weights(artefacts(tmp_path / "whole"))


def test_shuffled_rows_are_refused_with_the_way_out(store, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'lorsa' reads whole sequences.*one by one.*set source: live"):
        train(config(store, tmp_path / "out", LORSA), source=StoreRows(store))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("entry", "more", "match"),
    [
        (LORSA, {"train": {"batch": 81}}, r"train.batch = 81 rows.*sequences of 8(.|\n)*for example 80"),
        ({**LORSA, "context": 16}, {}, r"sae.context = 16, but the rows come in sequences of 8"),
        ({"variant": "topk", "d_sae": 32, "k": 4}, {}, r"'topk' describes single rows, but these are whole sequences"),
    ],
)
def test_rows_and_settings_that_do_not_fit_are_refused(source, tmp_path, entry, more, match):
    with pytest.raises(ConfigError, match=match):
        train(lorsa(tmp_path / "out", entry, **more), source=source)


@pytest.fixture(scope="module")
def live_settings(tiny_lm_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for number in range(120):  # one in twenty is held out, by a hash of its path
        (folder / f"{number}.txt").write_text("".join(chr(97 + (number * 7 + i * i) % 26) for i in range(5 + number)))
    return {
        "model": str(tiny_lm_dir), "corpus": {"kind": "files", "paths": [str(folder)]}, "sites": ["attn.1"],
        "context": 9, "batch": 32, "shard_rows": 450, "dtype": "float32", "device": "cpu",
    }  # fmt: skip


@pytest.fixture(scope="module")
def live(live_settings):
    cfg = settings(HarvestConfig, live_settings, "test")
    return LiveSequences(cfg, LanguageModel.load(cfg.model, device="cpu"))


def test_live_sequences_are_the_model_s_on_whole_contexts(live):
    site = "blocks.1.attn.hook_in"
    assert isinstance(live, SequenceSource)
    assert (live.tokens, live.lead) == (9, 1)
    plan = next(live._pools("train"))
    assert {len(context.ids) for context in plan.contexts} == {9}
    ids = torch.tensor([context.ids for context in plan.contexts])
    rows = live.lm.activations(ids, [site])[site]
    served = next(live.batches([site], 9 * len(ids), seed=0))[site].unflatten(0, (-1, 9))
    found = torch.cdist(served.flatten(1), rows.flatten(1)).argmin(dim=1)
    assert sorted(found.tolist()) == list(range(len(ids)))
    torch.testing.assert_close(served, rows[found], atol=1e-5, rtol=1e-5)
    assert len(live.heldout([site], 20)[site]) == 18


@pytest.mark.parametrize("start", [1, 23, 60])
def test_a_late_start_gives_the_same_batches(live, start):
    site = "blocks.1.attn.hook_in"
    whole = list(itertools.islice(live.batches([site], 45, seed=3), start + 2))
    late = itertools.islice(live.batches([site], 45, seed=3, start=start), 2)
    assert all(torch.equal(a[site], b[site]) for a, b in zip(whole[start:], late, strict=True))


def test_a_pool_too_small_for_a_batch_says_what_helps(live):
    with pytest.raises(CorpusError, match="packing: concat"):
        next(live.batches(["blocks.1.attn.hook_in"], 9 * 1000, seed=0))


def test_lorsa_trains_on_a_live_model_and_the_command_line_finds_the_source(live, live_settings, tmp_path):
    values = {
        "source": "live", "live": live_settings, "site": "attn_in.1", "target": "attn_out.1", "out": str(tmp_path),
        "sae": {"variant": "lorsa", "d_sae": 64, "k": 8, "qk_heads": 4}, "train": {"rows": 900, "batch": 45},
        "heldout_rows": 90,
    }  # fmt: skip
    cfg = settings(TrainConfig, values, "test")
    assert isinstance(row_source(cfg), LiveSequences)
    (result,) = train(cfg, source=live)
    assert result.fvu is not None
    assert Lorsa.load(result.path).metadata["model_name"] == live.lm.name
