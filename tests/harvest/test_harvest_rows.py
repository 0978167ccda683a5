"""What ends up in the store: the right rows, in order, whatever the batches were."""

import dataclasses
from pathlib import Path

import pytest
import torch

from saelab import atomic
from saelab.config import settings
from saelab.corpora import Context, open_corpus, split_documents
from saelab.errors import ConfigError, CorpusError, DiskFull, ModelError, SiteError, StoreMismatch
from saelab.harvest import HarvestConfig, estimate, harvest
from saelab.harvest.forward import padded_batches
from saelab.harvest.plan import plan_shard
from saelab.lm import LanguageModel
from saelab.store import Store

from .counting_lm import CONTEXT, SITES, CountingLM, Heard, config, write_corpus


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "texts")


def rows_by_hand(cfg, split, most):
    """(token, pos, doc, place in its context) of every row, from the definition of "separate" packing."""
    rows = []
    for doc, document in enumerate(split_documents(open_corpus(cfg.corpus), split)):
        for pos, token in enumerate(document.text.encode()):
            if token != ord("#"):
                rows.append((token, pos, doc, 1 + pos % (CONTEXT - 1)))
    return rows[:most]


def test_every_token_but_bos_and_special_is_a_row_in_the_order_of_the_text(tmp_path, corpus):
    cfg = config(corpus, tmp_path / "s")
    store = harvest(cfg, lm=CountingLM())
    for split, most in (("train", 500), ("heldout", 20)):
        expected = rows_by_hand(cfg, split, most)
        acts = {site: store.read(site, split) for site in SITES}
        assert [tuple(row) for row in acts[SITES[0]][:, [0, 1]].int().tolist()] == [(r[0], r[3]) for r in expected]
        assert acts[SITES[0]][:, 2].unique().tolist() == [0]
        assert acts[SITES[1]][:, 2].unique().tolist() == [1]
        table = store.tokens(split)
        found = zip(*(table[name].to_pylist() for name in ("token", "pos", "doc")), strict=True)
        assert list(found) == [row[:3] for row in expected]


def test_rows_stop_exactly_at_the_number_asked_for(tmp_path, corpus):
    store = harvest(config(corpus, tmp_path / "s", tokens=333, heldout_tokens=7), lm=CountingLM())
    assert (store.rows("train"), store.rows("heldout")) == (333, 7)


def test_documents_are_named_and_kept_apart_by_split(tmp_path, corpus):
    store = harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    train, heldout = (set(store.documents(split).values()) for split in ("train", "heldout"))
    assert not train & heldout
    docs = store.tokens("train")["doc"].to_pylist()
    assert set(store.documents("train")) == set(range(max(docs) + 1))


def test_a_context_is_contiguous_and_within_one_shard(tmp_path, corpus):
    store = harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    answer = store.sql(
        f"select max(pos) - min(pos) as span, count(distinct doc) as docs from rows "
        f"where split = 'train' and site = '{SITES[0]}' group by ctx"
    )
    assert max(answer["span"].to_pylist()) <= CONTEXT - 2
    assert set(answer["docs"].to_pylist()) == {1}
    contexts = store.sql(f"select contexts from shards where split = 'train' and site = '{SITES[0]}'")
    assert set(contexts["contexts"].to_pylist()[:-1]) == {64 // CONTEXT}


def test_concat_packing_fills_contexts_across_documents(tmp_path, corpus):
    store = harvest(config(corpus, tmp_path / "s", packing="concat"), lm=CountingLM())
    query = "select count(distinct doc) as docs from rows where split = 'train' group by ctx"
    assert max(store.sql(query)["docs"].to_pylist()) > 1


def test_batches_do_not_change_the_rows(tmp_path, corpus):
    one = harvest(config(corpus, tmp_path / "one", batch=1), lm=CountingLM())
    many = harvest(config(corpus, tmp_path / "many", batch=50), lm=CountingLM())
    assert torch.equal(one.read(SITES[0]), many.read(SITES[0]))


def test_contexts_of_like_length_run_together():
    contexts = [Context(ids=[1] * n, doc=[0] * n, pos=list(range(n))) for n in (2, 8, 3, 8)]
    batches = [(chosen.tolist(), ids.shape) for chosen, ids in padded_batches(contexts, 2, 0)]
    assert batches == [([1, 3], (2, 8)), ([2, 0], (2, 3))]


def test_contexts_beyond_the_last_row_are_not_run():
    contexts = [Context(ids=[0, 5, 6], doc=[-1, d, d], pos=[-1, 0, 1]) for d in range(10)]
    plan = plan_shard(contexts, number=0, first_row=0, first_ctx=0, most=5, special=frozenset({0}))
    assert (plan.rows, len(plan.contexts), plan.columns.contexts) == (5, 3, 3)
    assert plan.of.tolist() == [0, 0, 1, 1, 2]
    assert plan.at.tolist() == [1, 2, 1, 2, 1]


def test_a_real_model_gives_the_rows_of_an_unbatched_pass(tmp_path, tiny_lm_dir):
    lm = LanguageModel.load(str(tiny_lm_dir), device="cpu")
    cfg = config(write_corpus(tmp_path / "texts"), tmp_path / "s", model=str(tiny_lm_dir), tokens=200, context=16)
    store = harvest(cfg, lm=lm)
    table, rows = store.tokens(), {site: store.read(site) for site in SITES}
    for ctx in range(3):
        at = [i for i, number in enumerate(table["ctx"].to_pylist()) if number == ctx]
        ids = torch.tensor([[lm.bos, *(table["token"][i].as_py() for i in at)]])
        alone = lm.activations(ids, SITES)
        for site in SITES:
            assert torch.allclose(rows[site][at], alone[site][0, 1:], atol=1e-5)  # fp32, other batch shapes


def test_the_same_request_is_answered_without_running_the_model(tmp_path, corpus):
    cfg, lm, heard = config(corpus, tmp_path / "s"), CountingLM(), Heard()
    first = harvest(cfg, lm=lm)
    ran = lm.ran
    again = harvest(cfg.model_copy(update={"device": "cpu"}), heard, lm=lm)
    assert lm.ran == ran
    assert again.hash == first.hash
    assert "holds this harvest already" in heard.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": 501}, "config.tokens: the store has 500, asked for is 501"),
        ({"sites": ["resid_post.0"]}, "config.sites: the store has"),
        ({"packing": "concat"}, "config.packing: the store has 'separate', asked for is 'concat'"),
    ],
)
def test_another_request_is_refused(tmp_path, corpus, change, words):
    harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    with pytest.raises(StoreMismatch, match=words):
        harvest(config(corpus, tmp_path / "s", **change), lm=CountingLM())


def test_a_store_made_by_another_model_is_refused(tmp_path, corpus):
    harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    with pytest.raises(StoreMismatch, match=r"model\.fingerprint: the store has 'counting', asked for is 'other'"):
        harvest(config(corpus, tmp_path / "s"), lm=CountingLM("other"))


def test_changed_text_is_another_request(tmp_path, corpus):
    harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    (corpus / "000.txt").write_text("something else")
    with pytest.raises(StoreMismatch, match=r"corpus\.fingerprint"):
        harvest(config(corpus, tmp_path / "s"), lm=CountingLM())


def test_a_corpus_that_ends_early_gives_fewer_rows_and_says_so(tmp_path, corpus):
    cfg, heard = config(corpus, tmp_path / "s", tokens=100_000), Heard()
    store = harvest(cfg, heard, lm=CountingLM())
    rows = len(rows_by_hand(cfg, "train", 100_000))
    assert store.rows() == rows
    assert f"the corpus ends after {rows:,} of the 100,000 train tokens" in "\n".join(heard.notes)


def test_a_corpus_without_a_training_row_is_an_error_and_leaves_nothing(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("#")
    with pytest.raises(CorpusError, match="no train text"):
        harvest(config(folder, tmp_path / "s"), lm=CountingLM())
    assert not (tmp_path / "s").exists()


def test_the_cost_is_told_before_it_begins(tmp_path, corpus):
    heard = Heard()
    cfg = config(corpus, tmp_path / "s")
    harvest(cfg, heard, lm=CountingLM())
    assert heard.notes[0].startswith("harvest of blocks.0.hook_resid_post, blocks.1.hook_mlp_out: 520 tokens in 75 ")
    cost = estimate(cfg, CountingLM())
    assert (cost.tokens, cost.contexts, cost.bytes) == (520, 75, round(520 * 2 * (4 * 4 + 20) * 1.02))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(atomic, "free_bytes", lambda path: 1000)
    with pytest.raises(DiskFull, match="are free"):
        harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    assert not (tmp_path / "s").exists()


def test_a_disk_that_fills_up_ends_the_harvest_and_the_next_one_goes_on(tmp_path, corpus, monkeypatch):
    written: list[Path] = []
    publish = atomic.publish

    def until_full(tmp, path):
        if len(written) == 12:
            raise OSError(28, "No space left on device")
        written.append(path)
        publish(tmp, path)

    monkeypatch.setattr(atomic, "publish", until_full)
    cfg = config(corpus, tmp_path / "s")
    with pytest.raises(DiskFull, match="the disk is full"):
        harvest(cfg, lm=CountingLM())
    assert not list((tmp_path / "s").rglob("*.tmp"))
    monkeypatch.undo()
    undisturbed = harvest(config(corpus, tmp_path / "t"), lm=CountingLM())
    assert torch.equal(harvest(cfg, lm=CountingLM()).read(SITES[1]), undisturbed.read(SITES[1]))


def test_only_a_damaged_shard_is_made_again(tmp_path, corpus):
    cfg, lm = config(corpus, tmp_path / "s"), CountingLM()
    whole = harvest(cfg, lm=lm).read(SITES[0])
    (tmp_path / "s" / "train" / SITES[0] / "000002.parquet").unlink()
    before = lm.ran
    again = harvest(cfg, lm=lm)
    trial = 2 * 4 * CONTEXT  # the pass that the estimate of time comes from
    assert lm.ran - before <= trial + 64 + CONTEXT
    assert torch.equal(again.read(SITES[0]), whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokens": 0}, "tokens = 0: Input should be greater than 0"),
        ({"tokens": -5}, "tokens = -5"),
        ({"sites": []}, "sites = "),
        ({"dtype": "int8"}, "dtype = 'int8'"),
        ({"tokes": 5}, "'tokes' is not a setting. Did you mean 'tokens'"),
    ],
)
def test_bad_settings_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        settings(HarvestConfig, change, where="harvest.yaml")


def test_a_context_longer_than_the_models_is_refused(tmp_path, corpus):
    with pytest.raises(ConfigError, match="context is 9 tokens, but counting reads 8"):
        harvest(config(corpus, tmp_path / "s", context=9), lm=CountingLM())


def test_a_site_the_model_does_not_have_is_refused_before_anything_is_written(tmp_path, corpus):
    with pytest.raises(SiteError, match=r"resid_post\.7"):
        harvest(config(corpus, tmp_path / "s", sites=["resid_post.7"]), lm=CountingLM())
    assert not (tmp_path / "s").exists()


def test_a_model_loaded_in_another_precision_is_refused(tmp_path, corpus):
    with pytest.raises(ConfigError, match="compute_dtype is bfloat16"):
        harvest(config(corpus, tmp_path / "s", compute_dtype="bfloat16"), lm=CountingLM())


def test_several_sites_cost_one_pass(tmp_path, corpus):
    one, two = CountingLM(), CountingLM()
    harvest(config(corpus, tmp_path / "one", sites=["resid_post.0"]), lm=one)
    harvest(config(corpus, tmp_path / "two"), lm=two)
    assert one.ran == two.ran


def test_the_store_knows_what_it_was_made_from(tmp_path, corpus):
    harvest(config(corpus, tmp_path / "s"), lm=CountingLM())
    store = Store.open(tmp_path / "s")
    assert store.sites == SITES
    assert store.model["fingerprint"] == "counting"
    assert store.config["sites"] == list(SITES)
    assert store.config["context"] == CONTEXT
    assert not {"out", "device"} & set(store.config)
    assert store.corpus["licence"]
    assert dataclasses.is_dataclass(estimate(config(corpus, tmp_path / "s"), CountingLM()))


class Overflowing(CountingLM):
    """Beyond every number at the letter c."""

    def decode(self, ids):
        return bytes(ids).decode()

    def activations(self, ids, at):
        return {
            site: rows * (1 + 1e38 * (ids == ord("c")))[..., None]
            for site, rows in super().activations(ids, at).items()
        }


@pytest.mark.parametrize(("dtype", "way_out"), [("float16", "dtype: bfloat16"), ("float32", "compute_dtype")])
def test_rows_that_are_no_numbers_end_the_harvest_where_they_arise(tmp_path, corpus, dtype, way_out):
    with pytest.raises(ModelError, match=r"no numbers.*at blocks.0.hook_resid_post.*'c' at place 3.*\n.*" + way_out):
        harvest(config(corpus, tmp_path / "s", dtype=dtype), lm=Overflowing())
    assert not list((tmp_path / "s").rglob("*.parquet"))
