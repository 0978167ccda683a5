import json
import sys

import pytest

from saelab.config import Settings, settings
from saelab.corpora import (
    CORPORA,
    CorpusConfig,
    Document,
    FilesConfig,
    PythonStdlib,
    PythonStdlibConfig,
    open_corpus,
    split_documents,
)
from saelab.corpora.files import LocalFiles
from saelab.errors import ConfigError


class Run(Settings):
    corpus: CorpusConfig = PythonStdlibConfig()


class Letters:
    licence = "none"
    cfg = PythonStdlibConfig()

    def documents(self):
        return (Document(f"document {i}", f"text {i}") for i in range(400))

    def fingerprint(self):
        return "letters"


@pytest.mark.parametrize("kind", CORPORA)
def test_the_kind_in_the_settings_chooses_the_corpus(kind):
    needed: dict[str, dict[str, object]] = {"files": {"paths": ["a.txt"]}, "hub": {"dataset": "a/b"}}
    corpus = open_corpus(settings(Run, {"corpus": {"kind": kind, **needed.get(kind, {})}}, where="test").corpus)
    assert type(corpus) is CORPORA[kind]
    assert corpus.licence


def test_a_misspelt_corpus_setting_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'paths'"):
        settings(Run, {"corpus": {"kind": "files", "paths": ["a"], "path": "b"}}, where="test")


def test_files_without_paths_are_refused():
    with pytest.raises(ConfigError):
        settings(FilesConfig, {"paths": []}, where="corpus")


def test_train_and_heldout_together_are_all_documents_and_share_none():
    train, heldout, every = (list(split_documents(Letters(), split)) for split in ("train", "heldout", "all"))
    assert sorted(d.name for d in train + heldout) == sorted(d.name for d in every)
    assert 5 < len(heldout) < 40  # about a twentieth of 400


def test_a_text_is_on_the_same_side_wherever_it_lies(tmp_path):
    sides = []
    for folder in ("here", "elsewhere/deep"):
        (tmp_path / folder).mkdir(parents=True)
        for n in range(200):
            (tmp_path / folder / f"{n}.txt").write_text(f"text {n}")
        corpus = LocalFiles(FilesConfig(paths=[str(tmp_path / folder)]))
        sides.append({d.text for d in split_documents(corpus, "heldout")})
    assert sides[0] == sides[1]
    assert 2 <= len(sides[0]) <= 20


def test_copies_of_a_text_are_on_the_same_side(tmp_path):
    rows = [json.dumps({"text": f"text {n}"}) for n in range(100)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, *rows]))
    corpus = LocalFiles(FilesConfig(paths=[str(tmp_path / "rows.jsonl")]))
    train, heldout = ({d.text for d in split_documents(corpus, split)} for split in ("train", "heldout"))
    assert heldout
    assert not train & heldout


def test_a_module_is_on_the_side_its_name_says_whatever_its_text():
    assert Document("m", "a", key="m").heldout == Document("m", "b", key="m").heldout
    module = next(PythonStdlib(PythonStdlibConfig()).documents())
    assert module.key == module.name


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="Splits are: train, heldout, all"):
        split_documents(Letters(), "valid")


def test_the_standard_library_gives_the_same_modules_in_the_same_order():
    first = [d.name for _, d in zip(range(20), PythonStdlib(PythonStdlibConfig()).documents(), strict=False)]
    again = [d.name for _, d in zip(range(20), PythonStdlib(PythonStdlibConfig()).documents(), strict=False)]
    assert first == again
    assert len(set(first)) == 20
    assert all(name.split(".")[0] in sys.stdlib_module_names | {"__phello__"} for name in first)
