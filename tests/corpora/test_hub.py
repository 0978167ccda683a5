import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saelab.corpora import HubConfig, HubDataset
from saelab.errors import CorpusError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A local folder in the hub's layout, with a cache of its own beside it."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "set"
    data.mkdir()
    pq.write_table(pa.table({"text": ["one", " ", "three"], "id": [1, 2, 3]}), data / "train-00000.parquet")
    return str(data)


@pytest.mark.parametrize("streaming", [True, False])
def test_every_row_that_is_not_blank_is_a_document(folder, streaming, capfd):
    corpus = HubDataset(HubConfig(dataset=folder, streaming=streaming))
    assert [(d.name, d.text) for d in corpus.documents()] == [
        (f"{folder}/train:1", "one"),
        (f"{folder}/train:3", "three"),
    ]
    assert capfd.readouterr() == ("", "")


def test_a_jsonl_folder_is_read_as_well(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"body": "a"}\n{"body": "b"}\n')
    corpus = HubDataset(HubConfig(dataset=str(tmp_path), column="body"))
    assert [d.text for d in corpus.documents()] == ["a", "b"]


def test_an_offline_hub_is_one_clear_message():
    with pytest.raises(CorpusError, match="'nobody/nothing' cannot be read") as raised:
        list(HubDataset(HubConfig(dataset="nobody/nothing")).documents())
    assert "corpus.kind=python-stdlib" in str(raised.value)


def test_a_folder_that_is_not_there_is_one_clear_message(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read"):
        list(HubDataset(HubConfig(dataset=str(tmp_path / "nowhere"))).documents())


def test_a_split_that_is_not_there_is_one_clear_message(folder):
    with pytest.raises(CorpusError, match="split validation"):
        list(HubDataset(HubConfig(dataset=folder, split="validation")).documents())


def test_a_column_that_is_not_there_lists_those_that_are(folder):
    with pytest.raises(CorpusError, match="Its columns are: text, id"):
        list(HubDataset(HubConfig(dataset=folder, column="body")).documents())


def test_a_column_of_numbers_is_refused(folder):
    with pytest.raises(CorpusError, match="column 'id' holds int"):
        list(HubDataset(HubConfig(dataset=folder, column="id")).documents())


def test_the_fingerprint_follows_the_text(folder):
    corpus = HubDataset(HubConfig(dataset=folder))
    before = corpus.fingerprint()
    assert corpus.fingerprint() == before
    pq.write_table(pa.table({"text": ["uno"]}), f"{folder}/train-00000.parquet")
    assert corpus.fingerprint() != before
