"""SQL sees rows, documents and shards, and nothing outside the store."""

import os

import pytest

from saelab.errors import StoreError
from saelab.store.sandbox import connect, select


def test_the_query_of_the_readme_is_answered(make_store):
    answer = make_store().sql("select doc, pos, token, norm from rows limit 5")
    assert answer.column_names == ["doc", "pos", "token", "norm"]
    assert answer["pos"].to_pylist() == [0, 1, 2, 3, 4]


def test_rows_know_their_split_and_site(make_store):
    answer = make_store().sql("select split, site, count(*) as n from rows group by all order by all")
    expected = [("heldout", "a", 50), ("heldout", "b", 50), ("train", "a", 1700), ("train", "b", 1700)]
    assert [tuple(row.values()) for row in answer.to_pylist()] == expected


def test_a_vector_comes_as_its_bytes(make_store):
    query = "select octet_length(act) as n from rows where site = 'b' and doc = 3 and pos = 4 and split = 'train'"
    assert make_store().sql(query)["n"].to_pylist() == [16]


def test_documents_and_shards_can_be_asked_for(make_store):
    store = make_store()
    assert store.sql("select name from documents where doc = 4 and split = 'train'")["name"].to_pylist() == ["doc-4"]
    answer = store.sql("select shard, rows, first_row from shards where split = 'train' and site = 'a' order by shard")
    assert answer["first_row"].to_pylist() == [0, 600, 1200]


def test_a_relative_path_and_one_with_quotes_and_stars_work(make_store, tmp_path, monkeypatch):
    path = make_store("it's a [s]tore*").path
    monkeypatch.chdir(tmp_path)
    store = type(make_store("other")).open(os.path.relpath(path))
    assert store.sql("select count(*) as n from rows")["n"].to_pylist() == [3500]


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '/tmp/saelab-must-not-exist'",
        "create table t as select 1",
        "attach '/tmp/x.db'",
        "set enable_external_access = true",
        "pragma version",
        "select 1; select 2",
        "",
    ],
)
def test_only_one_statement_that_reads_is_taken(make_store, query):
    with pytest.raises(StoreError, match="one SELECT is answered here"):
        make_store().sql(query)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from read_text('/etc/hostname')", "Permission Error"),
        ("select * from read_text('STORE/../outside.txt')", "Permission Error"),
        ("select nothing from rows", "Binder Error"),
        ("selec 1", "Parser Error"),
    ],
)
def test_what_duckdb_refuses_is_one_line(make_store, query, words):
    store = make_store()
    (store.path.parent / "outside.txt").write_text("secret")
    with pytest.raises(StoreError, match=f"SQL: {words}") as refused:
        store.sql(query.replace("STORE", str(store.path)))
    assert "\n" not in str(refused.value)


def test_a_query_that_runs_away_is_stopped():
    connection = connect(None, [], seconds=0.1)
    with pytest.raises(StoreError, match="maximum execution time"):
        select(connection, "select count(*) from range(1000000000000) as a where a.range % 7 = 3", StoreError)
    connection.close()


def test_the_locks_cannot_be_opened(tmp_path):
    connection = connect(None, [tmp_path])
    for setting in ("enable_external_access = true", "allowed_directories = ['/']", "lock_configuration = false"):
        with pytest.raises(Exception, match=r"(?i)lock|cannot"):
            connection.execute(f"set {setting}")
    connection.close()
