"""Building an index: the same bits however often it was stopped, and never under somebody's feet."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from saelab.errors import CheckpointError, FeatureIndexError, StoreError, StoreMismatch
from saelab.features import Index, IndexConfig, build_index, generation, write_labels
from saelab.features.indexing import database, pages
from saelab.store import Store

CONTEXT = [0] * 4


def parts(folder: Path) -> dict[str, bytes]:
    """Every file whose bytes are promised: all but the database and its marker."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("app-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def contents(index: Index) -> dict[str, list]:
    """Every table of the database."""
    names = index.sql("select table_name from duckdb_tables() order by all")["table_name"].to_pylist()
    return {name: index.sql(f"select * from {name}").to_pylist() for name in names}


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_builds_have_the_same_parts_and_the_same_tables(planted, tmp_path):
    checkpoint, store = planted
    one, two = (build_index(checkpoint, store, tmp_path / name) for name in ("one", "two"))
    assert parts(one.path) == parts(two.path)
    assert contents(one) == contents(two)
    assert not list(one.path.rglob("*.tmp"))
    assert not (one._now().layout.keys(0).parent).exists()


@pytest.mark.parametrize("cut", [{"bucket_rows": 100}, {"bucket_rows": 1}, {"chunk_rows": 4}, {"part_rows": 10}])
def test_how_the_work_is_cut_changes_nothing_that_is_shown(planted, index, tmp_path, cut):
    checkpoint, store = planted
    settings = IndexConfig(**{"before": 1, "after": 1, "chunk_rows": 2, "part_rows": 4, "coactive_tokens": 10, **cut})
    other = build_index(checkpoint, store, tmp_path / "other", cfg=settings)
    for feature in range(4):
        assert other.card(feature).histogram == index.card(feature).histogram
        assert other.stats(feature) == index.stats(feature)
        assert [e.row for e in other.card(feature).top] == [e.row for e in index.card(feature).top]


def test_the_second_build_writes_nothing(planted, tmp_path):
    checkpoint, store = planted
    index = build_index(checkpoint, store, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert build_index(checkpoint, store, tmp_path).generation == index.generation == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_a_build_that_stopped_in_the_middle_goes_on_to_the_same_bits(planted, tmp_path, monkeypatch):
    checkpoint, store = planted
    whole = build_index(checkpoint, store, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(pages, "examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_index(checkpoint, store, tmp_path / "cut")
    with pytest.raises(FeatureIndexError, match="no finished feature index"):
        Index.open(tmp_path / "cut")
    again = build_index(checkpoint, store, tmp_path / "cut")
    assert parts(again.path) == parts(whole.path)


@pytest.mark.parametrize("lost", ["codes/000000.parquet", "buckets/000000.json", "tables/examples/000000.parquet"])
def test_a_lost_part_is_made_again_and_is_the_same(planted, tmp_path, lost):
    checkpoint, store = planted
    index = build_index(checkpoint, store, tmp_path)
    before = parts(tmp_path)
    (index._now().layout.parts / lost).unlink()
    build_index(checkpoint, store, tmp_path)
    assert parts(tmp_path) == before


def test_equal_activations_are_ordered_by_row_however_the_work_is_cut(rebuild):
    index = rebuild([[1.0]] * 9, [0, 0, 0, 1, 1, 1, 2, 2, 2], part_rows=2, chunk_rows=1, bucket_rows=2)
    assert [example.row for example in index.card(0).top] == [0, 3, 6]
    bucket = pq.read_table(index._now().layout.bucket(0))
    assert bucket["row"].to_pylist() == list(range(9))


def test_activations_beyond_half_precision_are_kept_at_its_ends_and_still_fire(rebuild):
    index = rebuild([[1e6], [1e-9]], [0, 0])
    assert index.stats(0).count == 2
    assert index.stats(0).max == 65504.0


def test_an_sae_on_which_nothing_fires_has_an_index_too(rebuild):
    index = rebuild([[-1.0], [-2.0], [-3.0]], [0, 0, 1])
    assert [row.count for row in index.features().rows] == [0, 0]
    assert index.card(0).top == ()
    assert index.density_histogram().counts[0] == 0


def test_at_most_the_asked_number_of_contexts_is_kept_and_every_strength_is_sampled(rebuild):
    n = 400
    index = rebuild([[1.0 + r] for r in range(n)], list(range(n)), top=3, per_quantile=2, part_rows=64, chunk_rows=64)
    card = index.card(0)
    assert [example.row for example in card.top] == [399, 398, 397]
    assert [len(group) for group in card.quantiles] == [2] * 10
    assert all(40 * q <= example.row < 40 * (q + 1) for q, group in enumerate(card.quantiles) for example in group)


def test_a_rebuild_does_not_disturb_who_reads_and_the_next_question_is_answered_from_it(rebuild):
    reader = rebuild([[1.0], [2.0]], CONTEXT[:2])
    held = reader._now()
    old = held.cursor()
    rebuild([[1.0], [2.0], [3.0], [4.0]], CONTEXT)
    assert old.execute("select max from features where feature = 0").fetchone() == (2.0,)
    assert (reader.generation, reader.stats(0).max, reader.n_tokens) == (2, 4.0, 4)


def test_the_last_two_databases_are_kept_with_their_parts(rebuild):
    for rows in (2, 3, 4):
        index = rebuild([[1.0]] * rows, CONTEXT[:rows])
    assert sorted(path.name for path in index.path.glob("app-*.duckdb")) == ["app-000002.duckdb", "app-000003.duckdb"]
    assert len(list(index.path.glob("parts-*"))) == 2
    assert index.verify() == []


def test_labels_stay_with_the_weights_they_were_made_for(rebuild):
    index = rebuild([[1.0]], [0])
    write_labels(index.path, {0: {"label": "name", "f1": 0.5}})
    assert rebuild([[1.0], [2.0]], [0, 0]).labels[0].text == "name"
    assert rebuild([[1.0], [2.0]], [0, 0], scale=2.0).labels == {}


def test_an_index_of_other_weights_is_refused_with_the_way_out(rebuild):
    index = rebuild([[1.0]], [0])
    weights = index.checkpoint / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(FeatureIndexError, match=r"have changed since it was made(.|\n)*saelab index"):
        Index.open(index.path)


def test_an_index_of_another_format_is_refused(rebuild, monkeypatch):
    index = rebuild([[1.0]], [0])
    before = parts(index.path)
    monkeypatch.setattr(generation, "DATABASE", 99)
    with pytest.raises(FeatureIndexError, match=r"made by another version(.|\n)*saelab: reads format \d+\.99"):
        Index.open(index.path)
    monkeypatch.undo()
    monkeypatch.setattr(database, "DATABASE", 99)
    monkeypatch.setattr(generation, "DATABASE", 99)
    again = rebuild([[1.0]], [0])
    assert again.generation == 2
    kept = {name: data for name, data in before.items() if name.startswith("parts-")}
    assert {name: data for name, data in parts(index.path).items() if name.startswith("parts-")} == kept


def test_an_index_can_be_browsed_without_its_checkpoint_and_elsewhere(rebuild, tmp_path):
    index = rebuild([[1.0]], [0])
    shutil.rmtree(index.checkpoint)
    index.path.rename(tmp_path / "moved")
    assert Index.open(tmp_path / "moved").stats(0).count == 1


def test_no_index_there_is_said_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(FeatureIndexError, match="`saelab index CHECKPOINT` makes one"):
        Index.open(tmp_path)


def test_two_can_have_the_same_index_open(index):
    assert Index.open(index.path).stats(0) == index.stats(0)


def test_damage_is_found_and_named(rebuild):
    index = rebuild([[1.0], [2.0]], [0, 0])
    assert index.verify() == []
    layout = index._now().layout
    data = bytearray(layout.codes(0).read_bytes())
    data[20] ^= 1
    layout.codes(0).write_bytes(data)
    layout.bucket(0).write_bytes(b"short")
    layout.table("neighbours").unlink()
    problems = "\n".join(index.verify())
    assert "codes/000000.parquet has been altered" in problems
    assert "buckets/000000.parquet has another size" in problems
    assert "neighbours/000000.parquet is missing" in problems


def test_a_database_cut_short_is_refused(rebuild):
    index = rebuild([[1.0]], [0])
    database = index._now().path
    database.write_bytes(database.read_bytes()[:4096])
    with pytest.raises(FeatureIndexError, match="has not the size it was written with"):
        Index.open(index.path)


def test_a_store_of_another_width_is_refused(planted, rebuild, tmp_path):
    checkpoint, _ = planted
    rebuild([[1.0]], [0])
    with pytest.raises(StoreMismatch, match=r"rows of width 1 at blocks\.0\.hook_resid_post, but .* reads 3"):
        build_index(checkpoint, Store.open(tmp_path / "store-1"), tmp_path / "other")


def test_a_store_of_another_model_is_refused(planted, tmp_path, unembedding):
    checkpoint, store = planted
    unembedding.fingerprint = "beef"
    with pytest.raises(StoreMismatch, match=r"fingerprint f00d(.|\n)*fingerprint beef"):
        build_index(checkpoint, store, tmp_path, unembedding)


def test_a_split_the_store_does_not_have_is_refused(planted, tmp_path):
    checkpoint, store = planted
    with pytest.raises(StoreError, match="heldout"):
        build_index(checkpoint, store, tmp_path, cfg=IndexConfig(split="heldout"))


def test_a_folder_without_a_checkpoint_is_refused(planted, tmp_path):
    with pytest.raises(CheckpointError):
        build_index(tmp_path / "nothing", planted[1], tmp_path / "index")
    assert not (tmp_path / "index").exists()


KILLED = """
import os, signal, sys, time
from pathlib import Path
import saelab.atomic
from saelab.features import IndexConfig, build_index
from saelab.store import Store

saelab.atomic._fsync = lambda path: None  # kill -9 takes nothing from the page cache
checkpoint, store, whole, out = map(Path, sys.argv[1:])
cfg = IndexConfig(chunk_rows=2, part_rows=2, bucket_rows=5)

def start(folder):
    child = os.fork()
    if child == 0:
        build_index(checkpoint, Store.open(store), folder, cfg=cfg)
        os._exit(0)
    return child

os.waitpid(start(whole), 0)
for files in (1, 4, 11, 16, 24):  # finished ones when it is killed
    child = start(out)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if len(list(out.rglob("*.json"))) >= files:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.002)
sys.exit(os.waitpid(start(out), 0)[1])
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_bits(planted, tmp_path):
    checkpoint, store = planted
    whole, out = tmp_path / "whole", tmp_path / "killed"
    argv = [sys.executable, "-c", KILLED, *map(str, (checkpoint, store.path, whole, out))]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    assert parts(out) == parts(whole)
    assert contents(Index.open(out)) == contents(Index.open(whole))
