"""Text in local files: .txt (a file is a document), .jsonl and .parquet (a row is a document).

Text is UTF-8 and nothing else: bytes that are not are an error that names the file and the place, because
a guessed encoding would put characters nobody wrote into the model. A document's name is its path as the
settings give it, with the row after a colon, counted from 1.
"""

import glob
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from saelab.config import Settings, content_hash
from saelab.corpora.document import HELDOUT_BY, Document
from saelab.errors import CorpusError

LARGEST_LINE = 64 * 2**20  # bytes of one .jsonl line: beyond it the file is no .jsonl, or no list of documents
LARGEST_TEXT = 2**30  # bytes of one .txt, which is read and tokenized whole


class FilesConfig(Settings):
    kind: Literal["files"] = "files"
    paths: list[str] = Field(min_length=1, description="Files, directories (searched to any depth) and globs.")
    column: str = Field(
        "text",
        description="The column of .jsonl and .parquet files that holds the text, or a list of {role, content}.",
    )


class LocalFiles:
    """Documents in the order of `paths`; within a directory or glob by path."""

    Config = FilesConfig
    licence = "not stated: local files, whose licence their owner knows"

    def __init__(self, cfg: FilesConfig) -> None:
        self.cfg = cfg

    def documents(self) -> Iterator[Document]:
        """Every text that is not blank. Raises CorpusError where a file is missing or unusable, or all are blank."""
        found = False
        for path in self.files():
            for document in _read(path, self.cfg.column):
                if document.text.strip():
                    found = True
                    yield document
        if not found:
            raise CorpusError(
                f"There is no text in {', '.join(self.cfg.paths)}: every document is blank.\n"
                f"  fix: name files that hold text, or another column than {self.cfg.column!r}"
            )

    def files(self) -> list[Path]:
        """The files that `paths` stand for, each once."""
        files: dict[Path, Path] = {}
        for path in (path for entry in self.cfg.paths for path in _expand(entry)):
            files.setdefault(path.resolve(), path)
        return list(files.values())

    def fingerprint(self) -> str:
        """Names these files by their paths and every byte in them."""
        return content_hash([HELDOUT_BY, self.cfg.column, [[str(path), _sha256(path)] for path in self.files()]])


def _expand(entry: str) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_file():
        return [_readable(path)]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix.lower() in READERS)
        where = f"the directory {entry}"
    elif glob.has_magic(entry):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        files = [_readable(match) for match in matches if match.is_file()]
        where = f"the glob {entry}"
    else:
        raise CorpusError(f"{entry}: there is no such file or directory (looked from {Path.cwd()}).")
    if not files:
        raise CorpusError(f"Nothing to read for {where}: no file there ends in {', '.join(READERS)}.")
    return files


def _readable(path: Path) -> Path:
    if path.suffix.lower() not in READERS:
        raise CorpusError(f"{path} ends in {path.suffix!r}, but a corpus reads files ending in {', '.join(READERS)}.")
    return path


def _read(path: Path, column: str) -> Iterator[Document]:
    try:
        yield from READERS[path.suffix.lower()](path, column)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}.") from None


def _read_txt(path: Path, column: str) -> Iterator[Document]:
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise CorpusError(
            f"{path} holds {size:,} bytes, but a .txt is one document of at most {LARGEST_TEXT:,}.\n"
            "  fix: split it into files, or into the lines of a .jsonl"
        )
    yield Document(str(path), _decode(path.read_bytes(), path, at=0).removeprefix("\ufeff"))


def _read_jsonl(path: Path, column: str) -> Iterator[Document]:
    with path.open("rb") as file:
        start, number = 0, 0
        while line := file.readline(LARGEST_LINE + 1):
            number += 1
            if len(line) > LARGEST_LINE:
                raise CorpusError(
                    f"{path}, line {number} is longer than {LARGEST_LINE:,} bytes, but a .jsonl holds one document a "
                    "line.\n  fix: write each document on a line of its own (a JSON list is not .jsonl)"
                )
            text = _decode(line, path, at=start).removeprefix("\ufeff")
            start += len(line)
            if text.strip():
                where = f"{path}, line {number}"
                yield Document.of(f"{path}:{number}", _value_of(text, column, where), column, where)


def _value_of(line: str, column: str, where: str) -> Any:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # no JSON, a number of thousands of digits, brackets without end
        raise CorpusError(f"{where} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where} holds a JSON {type(row).__name__}, but each line is an object with columns.")
    if column not in row:
        raise CorpusError(_no_column(where, column, list(row)))
    return row[column]


def _read_parquet(path: Path, column: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise CorpusError(_no_column(str(path), column, file.schema_arrow.names))
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for value in batch.column(0):
                    row += 1
                    yield Document.of(f"{path}:{row}", value.as_py(), column, f"{path}, row {row}")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}, row {row}: column {column!r} is not UTF-8 ({error.reason}).") from None
    except pa.ArrowInvalid as error:
        raise CorpusError(f"{path} is not a whole parquet file: {' '.join(str(error).split())}") from None


READERS: dict[str, Callable[[Path, str], Iterator[Document]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _decode(data: bytes, path: Path, at: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8: byte {at + error.start:,} is 0x{data[error.start]:02x} ({error.reason}).\n"
            f"  fix: convert it, for example with: iconv -f LATIN1 -t UTF-8 {path.name}"
        ) from None


def _no_column(where: str, column: str, columns: list[str]) -> str:
    return f"{where} has no column {column!r}. Its columns are: {', '.join(columns)}.\n  fix: set corpus.column"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
