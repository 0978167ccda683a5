"""What was written is what is read."""

import hashlib
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from saelab.errors import SiteError, StoreError, StoreMismatch
from saelab.store import Store, StoreWriter, layout


def digests(path):
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_rows_come_back_in_order_across_shards_and_row_groups(make_store):
    store = make_store()
    assert (store.rows("train"), store.rows("heldout"), store.splits) == (1700, 50, ("train", "heldout"))
    assert store.read("a")[:, 0].tolist() == list(range(1700))
    assert store.read("b", "train", 595, 605)[:, 1].tolist() == [-float(r) for r in range(595, 605)]
    assert store.read("a", start=-3).tolist() == [[1697, -1697], [1698, -1698], [1699, -1699]]
    assert store.read("a", start=7, stop=7).shape == (0, 2)


@pytest.mark.parametrize("dtype", layout.DTYPES)
def test_every_dtype_is_kept_to_the_bit(make_store, dtype):
    store = make_store(dtype=dtype)
    assert store.dtype("a") == layout.DTYPES[dtype]
    expected = torch.arange(1700.0).to(layout.DTYPES[dtype])
    assert torch.equal(store.read("a")[:, 0], expected)


def test_tokens_and_documents_stand_beside_the_rows(make_store):
    store = make_store()
    table = store.tokens()
    assert table.column_names == ["doc", "pos", "ctx", "token", "norm"]
    row = table.slice(1234, 1).to_pylist()[0]
    assert row.pop("norm") == pytest.approx(1234 * 2**0.5)
    assert row == {"doc": 12, "pos": 34, "ctx": 123, "token": 1234 % 7}
    assert store.documents("train")[12] == "doc-12"


def test_activations_are_plain_bytes_in_one_page_per_row_group(make_store):
    store = make_store()
    footer = pq.read_metadata(store.path / "train" / "a" / "000000.parquet")
    act = footer.row_group(0).column(5)
    assert [footer.row_group(i).num_rows for i in range(3)] == [256, 256, 88]
    assert (act.compression, act.has_dictionary_page, act.physical_type) == (
        "UNCOMPRESSED",
        False,
        "FIXED_LEN_BYTE_ARRAY",
    )


@pytest.mark.parametrize(("row_bytes", "rows"), [(512, 8192), (1152, 4096), (4608, 1024), (16384, 256), (64, 16384)])
def test_a_row_group_is_about_four_megabytes(row_bytes, rows):
    assert layout.group_rows(row_bytes) == rows


def test_the_same_request_gives_the_same_bits(make_store):
    assert digests(make_store("one").path) == digests(make_store("two").path)


def test_a_site_is_found_by_short_name_and_a_wrong_one_lists_those_there_are(make_store):
    store = make_store(sites={"blocks.1.hook_resid_post": 2, "blocks.0.hook_mlp_out": 2})
    assert store.require_site("resid_post.1") == "blocks.1.hook_resid_post"
    with pytest.raises(StoreError, match=r"no site 'blocks.7.hook_resid_post'.*blocks.1.hook_resid_post, blocks.0"):
        store.require_site("resid_post.7")
    with pytest.raises(StoreError, match="a site must be chosen"):
        store.require_site(None)
    with pytest.raises(SiteError):
        store.require_site("no such thing")
    assert make_store("single", sites={"a": 2}).require_site(None) == "a"


def test_a_split_that_is_not_there_is_named(make_store):
    with pytest.raises(StoreError, match="has no 'test' rows"):
        make_store().rows("test")


def test_another_request_is_refused_with_every_difference(make_store):
    path = make_store().path
    other: dict[str, Any] = {
        "config": {"model": "elsewhere", "tokens": 99},
        "model": {"name": "gpt2", "fingerprint": "bb"},
    }
    with pytest.raises(StoreMismatch) as refused:
        StoreWriter.begin(path, **other, corpus={"fingerprint": "cc"}, sites={"a": 2, "b": 4}, dtype="float32")
    assert "config.tokens: the store has 1700, asked for is 99" in str(refused.value)
    assert "model.fingerprint: the store has 'aa', asked for is 'bb'" in str(refused.value)
    assert "model.name: the store has 'pico', asked for is 'gpt2'" in str(refused.value)
    assert "corpus" not in str(refused.value)


def test_the_same_model_found_elsewhere_is_the_same_request(make_store):
    store = make_store()
    elsewhere = {"config": {"model": "data/pico", "tokens": 1700}, "model": {"name": "data/pico", "fingerprint": "aa"}}
    values: dict[str, Any] = {
        **elsewhere,
        "corpus": {"fingerprint": "cc"},
        "sites": {"a": 2, "b": 4},
        "dtype": "float32",
    }
    with StoreWriter.begin(store.path, **values) as writer:
        assert writer.complete()
        assert writer.info.hash == store.hash


@pytest.mark.parametrize("site", ["../up", "a/b", "a..b", ".hidden", "", "x" * 101])
def test_a_site_that_is_no_folder_name_is_refused(tmp_path, site):
    with pytest.raises(StoreError, match="cannot name a folder"):
        StoreWriter.begin(tmp_path / "s", config={}, model={}, corpus={}, sites={site: 2})
    assert not (tmp_path / "s").exists()


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with StoreWriter.begin(tmp_path / "s", config={}, model={}, corpus={}, sites={"a": 2}):
        assert (tmp_path / "s").is_dir()
    assert not (tmp_path / "s").exists()


def test_a_folder_with_other_files_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="holds other files"):
        StoreWriter.begin(tmp_path, config={}, model={}, corpus={}, sites={"a": 2})


def test_a_second_writer_is_sent_away(tmp_path):
    with (
        StoreWriter.begin(tmp_path / "s", config={}, model={}, corpus={}, sites={"a": 2}),
        pytest.raises(StoreError, match="being written by another process"),
    ):
        StoreWriter.begin(tmp_path / "s", config={}, model={}, corpus={}, sites={"a": 2})


def test_no_file_holds_a_time_or_a_path(make_store):
    store = make_store()
    for file in store.path.rglob("*.json"):
        assert str(store.path.parent) not in file.read_text()
    assert "created" not in json.loads((store.path / "store.json").read_text())


def test_a_store_is_opened_from_a_string_too(make_store):
    assert Store.open(str(make_store().path)).hash == make_store("other").hash
