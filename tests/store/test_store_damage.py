"""Whatever happens to the files, one message names the one that is wrong, and no half file is left."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from saelab import atomic
from saelab.errors import DiskFull, StoreError
from saelab.store import Store

from .numbered_store import begin, fill


def flip_a_bit(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def test_a_flipped_bit_is_found_on_first_read_and_the_file_is_named(make_store):
    store = make_store()
    flip_a_bit(store.path / "train" / "b" / "000001.parquet", 3000)
    store = Store.open(store.path)  # sizes are right
    assert store.read("b", stop=600)[-1, 0] == 599  # the first shard is whole
    with pytest.raises(StoreError, match=r"train/b/000001\.parquet is damaged: checksum"):
        store.read("b", start=600)
    assert len(store.verify()) == 1
    assert "000001.parquet: its checksum" in store.verify()[0]


def test_a_damaged_shard_reaches_whoever_reads_batches(make_store):
    store = make_store()
    flip_a_bit(store.path / "train" / "a" / "000000.parquet", 3000)
    with pytest.raises(StoreError, match="is damaged"):
        next(store.reader(["a"], batch=64, seed=0).batches())


def test_a_cut_tail_is_found_when_the_store_is_opened(make_store):
    store = make_store()
    file = store.path / "train" / "a" / "000002.parquet"
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(StoreError, match=r"000002\.parquet is damaged: \d+ bytes, but its marker says"):
        Store.open(store.path)


def test_a_shard_that_is_gone_is_named(make_store):
    store = make_store()
    (store.path / "train" / "a" / "000001.parquet").unlink()
    with pytest.raises(StoreError, match=r"000001\.parquet is damaged: no bytes"):
        Store.open(store.path)


def test_a_missing_marker_is_reported_and_only_its_shard_is_made_again(make_store):
    store = make_store()
    untouched = (store.path / "train" / "a" / "000000.parquet").stat().st_mtime_ns
    (store.path / "train" / "a" / "000001.json").unlink()
    assert "000001.json: there is no such file" in store.verify()[0]
    with begin(store.path) as writer:
        assert not writer.complete()
        assert [writer.done("train", number) for number in range(3)] == [True, False, True]
        fill(writer)
        writer.finish()
    assert store.verify() == []
    assert (store.path / "train" / "a" / "000000.parquet").stat().st_mtime_ns == untouched


def test_an_unfinished_store_is_not_opened_unless_asked_for(make_store):
    store = make_store()
    (store.path / "manifest.json").unlink()
    (store.path / "train" / "b" / "000001.json").unlink()
    with pytest.raises(StoreError, match="is not finished"):
        Store.open(store.path)
    assert Store.open(store.path, complete=False).rows("train") == 600


def test_finishing_without_all_shards_is_refused(tmp_path):
    with begin(tmp_path / "s") as writer:
        fill(writer)
        (tmp_path / "s" / "train" / "a" / "000001.json").unlink()
        with pytest.raises(StoreError, match="3 shards, but only 1 are finished"):
            writer.finish()


@pytest.mark.parametrize("name", ["store.json", "manifest.json"])
@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[1]", "{half"])
def test_damaged_json_is_one_message(make_store, name, text):
    store = make_store()
    (store.path / name).write_text(text)
    with pytest.raises(StoreError, match=f"{name} is damaged or of another format"):
        Store.open(store.path)
    assert store.verify()


def test_a_folder_that_is_no_store_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match=r"has no store.json. `saelab harvest` makes one"):
        Store.open(tmp_path)


def test_a_manifest_of_another_store_is_refused(make_store):
    one, two = make_store("one"), make_store("two", config={"tokens": 2})
    shutil.copy(two.path / "manifest.json", one.path / "manifest.json")
    with pytest.raises(StoreError, match="mixes two stores"):
        Store.open(one.path)


def test_a_full_disk_leaves_no_part_of_a_file_and_the_next_run_goes_on(tmp_path, monkeypatch):
    def no_room(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with begin(tmp_path / "s") as writer:
        fill(writer, shards=(600,))
        monkeypatch.setattr(os, "fsync", no_room)
        with pytest.raises(DiskFull, match=r"000001\.parquet could not be written"):
            fill(writer)
        monkeypatch.undo()
    assert not list((tmp_path / "s").rglob("*.tmp"))
    with begin(tmp_path / "s") as writer:
        assert writer.done("train", 0)
        fill(writer)
        assert writer.finish().verify() == []


def test_too_little_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "free_bytes", lambda path: 10**9)
    atomic.require_free(tmp_path, 9 * 10**8)
    with pytest.raises(DiskFull, match=r"needs 1\.05 GB, but 1\.00 GB are free"):
        atomic.require_free(tmp_path, 10**9)


def test_a_half_written_file_is_swept_at_the_next_start(make_store):
    store = make_store()
    (store.path / "train" / "a" / "000009.parquet.tmp").write_bytes(b"half")
    with begin(store.path) as writer:
        assert writer.complete()
    assert not list(store.path.rglob("*.tmp"))


def test_rows_that_are_not_finite_are_refused(tmp_path):
    with begin(tmp_path / "s", dtype="float16") as writer, pytest.raises(StoreError, match="float16 cannot hold"):
        fill(writer, shards=(70_000,))
