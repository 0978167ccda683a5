import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saelab.corpora import FilesConfig, LocalFiles, files, open_corpus
from saelab.errors import CorpusError


def read(*paths, column="text"):
    return [(d.name, d.text) for d in LocalFiles(FilesConfig(paths=[str(p) for p in paths], column=column)).documents()]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_a_txt_file_is_one_document_named_by_its_path(tmp_path):
    path = write(tmp_path / "a.txt", "first line\r\nsecond, é\n")
    assert read(path) == [(str(path), "first line\r\nsecond, é\n")]


def test_a_line_of_jsonl_is_a_document_named_by_path_and_line(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n\n{"text": "", "n": 1}\n{"text": "four"}')
    assert read(path) == [(f"{path}:1", "one"), (f"{path}:4", "four")]


def test_a_row_of_parquet_is_a_document_and_the_column_can_be_chosen(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["one", "two"], "text": ["x", "y"]}), path)
    assert read(path, column="body") == [(f"{path}:1", "one"), (f"{path}:2", "two")]


def test_a_directory_is_searched_to_any_depth_in_the_order_of_its_paths(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/c.jsonl", "ignored.md"):
        write(tmp_path / name, '{"text": "t"}')
    names = [name.removeprefix(f"{tmp_path}/") for name, _ in read(tmp_path)]
    assert names == ["a/c.jsonl:1", "a/z.txt", "b.txt"]


def test_a_glob_matches_and_a_file_reached_twice_is_read_once(tmp_path):
    one, two = write(tmp_path / "1.txt", "1"), write(tmp_path / "2.txt", "2")
    assert [text for _, text in read(two, tmp_path / "*.txt", one)] == ["2", "1"]


def test_a_blank_file_among_others_is_left_out(tmp_path):
    write(tmp_path / "a.txt", " \n"), write(tmp_path / "b.txt", "b")
    assert [text for _, text in read(tmp_path)] == ["b"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere\.txt: there is no such file or directory"):
        read(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("pattern", ["", "*.txt"])
def test_a_directory_or_glob_without_text_files_says_what_is_read(tmp_path, pattern):
    write(tmp_path / "a.md", "text")
    with pytest.raises(CorpusError, match=r"no file there ends in \.txt, \.jsonl, \.parquet"):
        read(f"{tmp_path}/{pattern}")


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"ends in '\.pdf'"):
        read(write(tmp_path / "a.pdf", "text"))


@pytest.mark.parametrize("name", ["empty.txt", "empty.jsonl"])
def test_an_empty_file_alone_is_refused(tmp_path, name):
    with pytest.raises(CorpusError, match="every document is blank"):
        read(write(tmp_path / name, ""))


def test_bytes_that_are_not_utf8_are_named_with_file_and_place(tmp_path):
    path = write(tmp_path / "latin.txt", b"caf\xe9 au lait")
    with pytest.raises(CorpusError, match=r"latin\.txt is not UTF-8: byte 3 is 0xe9"):
        read(path)


def test_in_jsonl_the_place_of_a_bad_byte_counts_from_the_start_of_the_file(tmp_path):
    first = b'{"text": "ok"}\n'
    path = write(tmp_path / "a.jsonl", first + b'{"text": "\xff"}\n')
    with pytest.raises(CorpusError, match=rf"byte {len(first) + 10} is 0xff"):
        read(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert read(write(tmp_path / "a.txt", b"\xef\xbb\xbftext"))[0][1] == "text"


def test_one_line_of_megabytes_is_a_legal_txt(tmp_path):
    assert len(read(write(tmp_path / "a.txt", "word " * 600_000))[0][1]) == 3_000_000


def test_a_jsonl_line_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_LINE", 1000)
    path = write(tmp_path / "a.jsonl", '{"text": "ok"}\n' + json.dumps({"text": "x" * 1000}))
    with pytest.raises(CorpusError, match="line 2 is longer than 1,000 bytes"):
        read(path)


def test_a_txt_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_TEXT", 10)
    with pytest.raises(CorpusError, match="holds 11 bytes"):
        read(write(tmp_path / "a.txt", "x" * 11))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 1 is not JSON"),
        ("[1, 2]", "line 1 holds a JSON list"),
        ('{"body": "t", "id": 1}', "has no column 'text'. Its columns are: body, id"),
        ('{"text": null}', "column 'text' holds NoneType"),
        ('{"text": 3}', "column 'text' holds int"),
    ],
)
def test_a_jsonl_line_without_text_says_what_is_there(tmp_path, line, message):
    with pytest.raises(CorpusError, match=message):
        read(write(tmp_path / "a.jsonl", line))


def test_a_damaged_parquet_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"a\.parquet is not a whole parquet file"):
        read(write(tmp_path / "a.parquet", b"PAR1 and then nothing"))


def test_a_parquet_file_without_the_column_lists_those_it_has(tmp_path):
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="Its columns are: body"):
        read(tmp_path / "a.parquet")


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path):
    column = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="row 1: column 'text' is not UTF-8"):
        read(tmp_path / "a.parquet")


def test_the_fingerprint_changes_with_a_byte_and_with_nothing_else(tmp_path):
    path = write(tmp_path / "a.txt", "text")
    corpus = open_corpus(FilesConfig(paths=[str(path)]))
    before = corpus.fingerprint()
    assert corpus.fingerprint() == before
    write(path, "test")
    assert corpus.fingerprint() != before
