"""Gradients stand beside the rows they are of: stored, read, shuffled and checked with them."""

import json
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch

from saelab.errors import StoreError, StoreMismatch
from saelab.store import Store, gradient_of
from saelab.store.layout import SiteInfo, StoreInfo, read_json

from .numbered_store import SHARDS, begin, columns, numbered


def fill(writer, split="train", shards=SHARDS):
    """Gradients are a hundredth of the rows they are of."""
    first = 0
    for number, rows in enumerate(shards):
        acts = {site: numbered(first, rows, info.d) for site, info in writer.info.sites.items()}
        slopes = {gradient_of(site): rows_ / 100 for site, rows_ in acts.items()}
        writer.write_shard(split, number, columns(first, rows), acts | slopes)
        first += rows
    writer.write_documents(split, {doc: f"doc-{doc}" for doc in range(-(-first // 100))})


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setattr("saelab.store.layout.GROUP_BYTES", 1)
    with begin(tmp_path / "graded", gradients=True) as writer:
        fill(writer)
        fill(writer, "heldout", (50,))
        return writer.finish()


def test_gradients_come_back_in_order_across_shards_and_row_groups(store):
    assert store.gradient_sites == ("a", "b")
    for start, stop in ((0, 1700), (595, 605), (250, 700)):
        rows = store.read("b", "train", start, stop)
        assert store.read(gradient_of("b"), "train", start, stop).equal(rows / 100)
    assert store.read(gradient_of("a"), "heldout").shape == (50, 2)


def test_rows_and_gradients_of_a_batch_are_of_the_same_tokens(store):
    with closing(store.reader(["a", gradient_of("b"), "b"], batch=100, seed=3).batches()) as batches:
        for batch in islice(batches, 20):
            assert list(batch) == ["a", "b.gradient", "b"]
            assert batch["b.gradient"].equal(batch["b"] / 100)
            assert batch["a"][:, 0].equal(batch["b"][:, 0])


def test_the_order_of_the_rows_is_the_same_with_their_gradients(store):
    readers = [store.reader(names, batch=64, seed=1, pool=2) for names in (["a"], ["a", gradient_of("a")])]
    alone, together = (next(reader.batches())["a"] for reader in readers)
    assert alone.equal(together)


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.bfloat16)]
)
def test_gradients_are_stored_with_the_range_they_need(tmp_path, dtype, kept):
    with begin(tmp_path / "s", dtype=dtype, gradients=True, sites={"a": 2}) as writer:
        slopes = torch.full((600, 2), 1e-12)  # 0 in float16
        writer.write_shard("train", 0, columns(0, 600), {"a": numbered(0, 600, 2), "a.gradient": slopes})
        writer.write_documents("train", {0: "one"})
        found = writer.finish().read(gradient_of("a"))
    assert found.dtype == kept
    torch.testing.assert_close(found.float(), slopes, rtol=2**-8, atol=0)


def test_a_store_without_them_is_described_as_before_there_were_any(make_store):
    store = make_store()
    assert "gradient" not in (store.path / "store.json").read_text()
    assert read_json(StoreInfo, store.path / "store.json").content_hash() == store.hash == "ed0e0f062a699783"
    assert SiteInfo(d=2, dtype="float32").model_dump() == {"d": 2, "dtype": "float32"}
    assert store.gradient_sites == ()


def test_asking_a_store_without_them_says_how_to_get_them(make_store):
    store = make_store()
    for ask in (lambda: store.read(gradient_of("a")), lambda: store.reader([gradient_of("a")], batch=9, seed=0)):
        with pytest.raises(StoreError, match="no gradients beside the rows of a(.|\n)*gradients: true"):
            ask()


def test_rows_with_gradients_are_another_request(make_store):
    with pytest.raises(StoreMismatch, match=r"sites\.a\.gradient: the store has None, asked for is 'float32'"):
        begin(make_store().path, gradients=True)


def test_sql_sees_the_column_and_verify_its_damage(store):
    query = "select octet_length(gradient) as n from rows where site = 'b' and split = 'train' limit 1"
    assert store.sql(query)["n"].to_pylist() == [16]
    assert store.verify() == []
    file = store.path / "train" / "b" / "000001.parquet"
    data = bytearray(file.read_bytes())
    place = data.find(store.read(gradient_of("b"), "train", 700, 701).numpy().tobytes())
    assert place > 0
    data[place] ^= 1
    file.write_bytes(data)
    assert store.verify() == [f"{file}: its checksum is not what its marker says"]
    with pytest.raises(StoreError, match="is damaged"):
        Store.open(store.path).read(gradient_of("b"), "train", 700, 701)


def test_gradients_that_are_not_finite_are_refused(tmp_path):
    slopes = torch.full((600, 2), float("nan"))
    with (
        begin(tmp_path / "s", gradients=True, sites={"a": 2}) as writer,
        pytest.raises(StoreError, match=r"a\.gradient has values that float32 cannot hold"),
    ):
        writer.write_shard("train", 0, columns(0, 600), {"a": numbered(0, 600, 2), "a.gradient": slopes})
    assert not list(Path(tmp_path).rglob("*.parquet"))


def test_the_manifest_of_both_kinds_is_alike(store, make_store):
    plain, graded = (json.loads((s.path / "manifest.json").read_text()) for s in (make_store(), store))
    assert plain["shards"].keys() == graded["shards"].keys()
    assert plain["shards"]["train"].keys() == graded["shards"]["train"].keys()
