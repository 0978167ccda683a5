"""An imported checkpoint is a checkpoint like any other: it is verified, indexed and asked for its features."""

import pytest
import torch
from foreign_files import D, N, dictionary_learning, linear
from interop_cases import T, relu

from saelab.errors import CheckpointError
from saelab.features import IndexConfig, build_index
from saelab.interop import import_saes
from saelab.runs import Checkpoint, index_of, language_model_of
from saelab.sae import SAE
from saelab.store import ShardColumns, StoreWriter

SITE = "blocks.1.hook_resid_post"
SMALL = IndexConfig(before=1, after=1, chunk_rows=16, part_rows=16, bucket_rows=16, coactive_tokens=10)


@pytest.fixture
def imported(tmp_path):
    (tmp_path / "theirs").mkdir()
    path = dictionary_learning(tmp_path / "theirs", linear(T) | {"bias": T["b_dec"]}, "AutoEncoder")
    return import_saes(path, tmp_path / "run" / "sae" / "theirs").saes[0].folder


def test_its_index_holds_what_the_files_compute(imported):
    rows, contexts = torch.randn(24, D, generator=torch.Generator().manual_seed(5)), torch.arange(24) // 8
    columns = ShardColumns(
        doc=contexts, pos=torch.arange(24) % 8, ctx=contexts, token=torch.arange(24) % 5, first_row=0, first_ctx=0,
        contexts=3,
    )  # fmt: skip
    model = {"name": "pico", "fingerprint": "f00d", "n_layers": 2, "context": 8}
    run = imported.parent.parent
    with StoreWriter.begin(
        run / "store", config={}, model=model, corpus={}, sites={SITE: D}, dtype="float32"
    ) as writer:
        writer.write_shard("train", 0, columns, {SITE: rows})
        writer.write_documents("train", {0: "a", 1: "b", 2: "c"})
        store = writer.finish()
    build_index(imported, store, run / "index" / "theirs", cfg=SMALL)
    f, index = relu(rows)[0], index_of(imported)
    for feature in range(N):
        stats = index.card(feature).stats
        assert (stats.max or 0) == pytest.approx(f[:, feature].max().item(), rel=1e-3)  # kept as fp16
        assert stats.density == pytest.approx((f[:, feature] > 0).float().mean().item(), abs=1e-6)


def test_it_is_whole(imported):
    assert Checkpoint(imported).verify() == []


def test_without_the_model_s_name_what_needs_it_says_so(imported):
    sae = SAE.load(imported)
    assert sae.metadata["hook_name"] == SITE
    del sae.metadata["model_name"]
    with pytest.raises(CheckpointError, match="import it again with --model NAME"):
        language_model_of(sae)
