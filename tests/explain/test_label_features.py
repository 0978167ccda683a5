"""Rules for every feature of a small run, against the same figures counted another way."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from saelab import demo
from saelab.config import settings
from saelab.errors import EvalError, StoreMismatch
from saelab.explain import RuleConfig, label_features
from saelab.explain.text import halved
from saelab.features import IndexConfig, build_index, write_labels
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.sae import VARIANTS, sae_config

SITE = "blocks.0.hook_resid_post"
TEXTS = ["def f(x):\n    return x  # same\n", "for i in y:\n    print(i)\n", "import os\nz = 'def'\n"]
CFG = RuleConfig(least=5)


class Told:
    """A Progress that remembers what it is told."""

    def __init__(self):
        self.notes = []

    def start(self, what, total, unit): ...

    def advance(self, done, **figures): ...

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_lm_dir):
    """A language model of one token per byte, its store of Python texts, and the index of a random TopK SAE."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "texts").mkdir()
    for i in range(16):
        (folder / "texts" / f"{i}.txt").write_text(TEXTS[i % 3] * 2, encoding="utf-8")
    lm = LanguageModel.load(str(tiny_lm_dir), device="cpu")
    asked = {"model": str(tiny_lm_dir), "corpus": {"kind": "files", "paths": [str(folder / "texts")]}, "sites": [SITE],
             "tokens": 800, "heldout_tokens": 0, "batch": 4, "out": str(folder / "store"), "device": "cpu"}  # fmt: skip
    store = harvest(settings(HarvestConfig, asked, where="test"), lm=lm)
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 32, "d_sae": 40, "k": 3}),
                           generator=torch.Generator().manual_seed(0))  # fmt: skip
    sae.save(folder / "sae" / "topk", {"model_name": str(tiny_lm_dir), "hook_name": SITE, "context_size": 32})
    return lm, store, build_index(folder / "sae" / "topk", store, folder / "index" / "topk", lm, cfg=IndexConfig())


@pytest.fixture(scope="module")
def found(run):
    lm, store, index = run
    return label_features(index, store, lm, CFG)


def test_every_kind_of_rule_is_tried_and_most_features_get_one(found):
    assert found.kinds == ("token", "after", "pair", "triple", "place", "syntax")
    assert len(found.labels) >= 10
    assert [one.f1 for one in found.labels] == sorted((one.f1 for one in found.labels), reverse=True)
    assert found.good == sum(one.f1 >= 0.8 and one.f1 >= one.trivial_f1 + 0.1 for one in found.labels)


def test_held_out_figures_are_those_that_sql_counts(run, found):
    _, store, index = run
    one = next(label for label in found.labels if label.kind == "token" and label.label.count('"') == 2)
    token = index.token_strings.index(one.label.removeprefix("on ").strip('"').replace("␣", " ").replace("↵", "\n"))
    table = store.tokens("train").to_pydict()
    half = halved(store.documents("train"))
    other = {row for row, doc in enumerate(table["doc"]) if half[doc]}
    says = {row for row in other if table["token"][row] == token}
    rows = index.sql(f"select row, act from activations where feature = {one.feature}").to_pylist()
    fires = {each["row"] for each in rows if each["row"] in other and each["act"] > np.float32(one.threshold)}
    assert (one.fires, one.says) == (len(fires), len(says))
    assert one.precision == pytest.approx(len(fires & says) / len(says))
    assert one.recall == pytest.approx(len(fires & says) / len(fires))
    assert one.f1 == pytest.approx(2 * len(fires & says) / (len(fires) + len(says)))


def test_the_same_run_gets_the_same_rules(run, found):
    lm, store, index = run
    assert label_features(index, store, lm, CFG) == found


def test_rules_become_the_labels_with_their_figures(run, found):
    index = run[2]
    write_labels(index.path, found.as_labels())
    best = found.labels[0]
    label = index.labels[best.feature]
    assert (label.text, label.f1, label.precision, label.recall, label.threshold, label.covers, label.kind) == (
        best.label, best.f1, best.precision, best.recall, best.threshold, best.covers, best.kind)  # fmt: skip
    assert index.search_label(best.label).total >= 1
    assert json.dumps(found.to_json(), allow_nan=False)


def test_without_a_language_model_all_but_syntax_is_tried(run):
    assert "syntax" not in label_features(run[2], run[1], None, CFG).kinds


def test_a_corpus_that_has_changed_gives_no_syntax_and_says_so(run):
    lm, store, index = run
    told = Told()
    texts = next(iter(store.config["corpus"]["paths"]))
    before = {file: file.read_text(encoding="utf-8") for file in Path(texts).iterdir()}
    try:
        for file in before:
            file.write_text("something else\n", encoding="utf-8")
        assert "syntax" not in label_features(index, store, lm, CFG, told).kinds
    finally:
        for file, text in before.items():
            file.write_text(text, encoding="utf-8")
    assert any("no rules of syntax are tried" in text for text in told.notes)


def test_another_store_and_too_few_documents_are_refused(run):
    lm, store, index = run
    with pytest.raises(EvalError, match="hold 1"):
        label_features(index, store, lm, RuleConfig(tokens=20))
    other = type(store).open(store.path)
    other.hash = "other"
    with pytest.raises(StoreMismatch, match="another store"):
        label_features(index, other, lm)


def test_the_demo_labels_by_rules_and_by_syntax_where_there_is_too_little_text(run, monkeypatch):
    lm, store, index = run
    told, syntax = Told(), {0: {"label": "comment", "f1": 0.5}}
    found = demo.labels(index, store, lm, syntax, told)
    assert {"kind", "threshold", "covers"} <= set(next(iter(found.values()))) and not told.notes
    monkeypatch.setattr(demo, "RULE_TOKENS", 20)  # of one document
    assert demo.labels(index, store, lm, syntax, told) is syntax
    assert "syntax alone" in told.notes[0] and "hold 1" in told.notes[0]
