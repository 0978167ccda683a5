"""Result rows beside the checkpoint: kept, replaced, queried, and known when altered."""

import pytest

from saelab.errors import EvalError, StoreError
from saelab.evals.rows import Results, keep_rows, problems, read_rows, rows_of
from saelab.evals.subject import Figure


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "run" / "sae" / "one"
    keep_rows(folder, rows_of(str(folder), "core", [Figure("fvu", 0.25, 100), Figure("bias", float("nan"), 100)]))
    keep_rows(folder, rows_of(str(folder), "scr", [Figure("scr_n2", 0.5, 8, seed=3)]))
    return folder


def test_rows_say_what_was_measured_on_how_many_and_by_which_version(checkpoint):
    first, nothing, other = read_rows(checkpoint)
    assert (first.eval, first.metric, first.value, first.n, first.seed) == ("core", "fvu", 0.25, 100, None)
    assert nothing.value is None
    assert other.seed == 3 and other.version.count(".") >= 1


def test_measuring_again_replaces_the_rows_of_that_evaluation_alone(checkpoint):
    keep_rows(checkpoint, rows_of(str(checkpoint), "core", [Figure("fvu", 0.5, 7)]))
    assert [(row.eval, row.metric, row.value) for row in read_rows(checkpoint)] == [
        ("scr", "scr_n2", 0.5),
        ("core", "fvu", 0.5),
    ]


def test_sql_reads_the_results_of_every_checkpoint_below_a_folder(checkpoint):
    other = checkpoint.parent / "two"
    keep_rows(other, rows_of("two", "core", [Figure("fvu", 0.75, 1)]))
    answer = Results(checkpoint.parent).sql("select avg(value) as mean from results where metric = 'fvu'")
    assert answer.to_pylist() == [{"mean": 0.5}]
    assert len(list(checkpoint.parent.rglob("*.duckdb"))) == 0


def test_sql_only_reads_and_only_there(checkpoint, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(StoreError):
        Results(checkpoint).sql(f"select * from read_csv('{secret}')")
    with pytest.raises(StoreError):
        Results(checkpoint).sql("drop view results")


def test_a_file_that_was_altered_is_found(checkpoint):
    assert problems(checkpoint) == []
    parquet = checkpoint / "evals" / "results.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-9] + b"x" + parquet.read_bytes()[-8:])
    assert "is not the file that results.json was written with" in problems(checkpoint)[0]
    parquet.unlink()
    assert problems(checkpoint) == [f"{parquet} is missing"]


def test_rows_that_are_none_are_refused_with_the_way_out(checkpoint):
    (checkpoint / "evals" / "results.json").write_text('{"format": 9, "rows": []}')
    with pytest.raises(EvalError, match="format 9, where 1 is read"):
        read_rows(checkpoint)
