"""Data sets of the Hugging Face hub, or local folders in its layout, read row by row through `datasets`.

Streaming downloads what is read and no more. A row's document is named after the data set, the split and the
row, counted from 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import Field

from saelab.config import Settings, content_hash
from saelab.corpora.document import HELDOUT_BY, Document
from saelab.errors import CorpusError

SAMPLE = 32  # documents that the fingerprint reads


class HubConfig(Settings):
    kind: Literal["hub"] = "hub"
    dataset: str = Field(min_length=1, description="Id on the hub, or a local folder of data files.")
    subset: str | None = Field(None, description="The data set's configuration, where it has several.")
    split: str = Field("train", description="The data set's own split to read; saelab holds out documents of it.")
    column: str = Field("text", description="The column that holds the text, or a list of {role, content}.")
    streaming: bool = Field(True, description="Read while downloading, instead of downloading all of it first.")
    revision: str | None = Field(None, description="Branch, tag or commit. A commit makes a run repeatable.")


class HubDataset:
    """One document per row, in the data set's own order."""

    Config = HubConfig

    def __init__(self, cfg: HubConfig) -> None:
        self.cfg = cfg
        self.licence = f"as stated on the page of the data set {cfg.dataset}"

    def documents(self) -> Iterator[Document]:
        """Every row's text that is not blank. Raises CorpusError when the hub, the split or the column is missing."""
        name = "/".join(part for part in (self.cfg.dataset, self.cfg.subset, self.cfg.split) if part)
        found = False
        for number, row in enumerate(self._rows(), start=1):
            document = self._document(row, f"{name}:{number}", f"{name}, row {number}")
            if document.text.strip():
                found = True
                yield document
        if not found:
            raise CorpusError(f"There is no text in {name}: column {self.cfg.column!r} is blank in every row.")

    def fingerprint(self) -> str:
        """Names the settings and the first documents. Later rows are not read: pin `revision` to hold those too."""
        first = [[d.name, content_hash(d.text)] for _, d in zip(range(SAMPLE), self.documents(), strict=False)]
        return content_hash([HELDOUT_BY, self.cfg.model_dump(mode="json"), first])

    def _rows(self) -> Iterator[dict[str, Any]]:
        from datasets import load_dataset

        cfg = self.cfg
        try:
            with _no_progress_bars():
                rows = load_dataset(
                    cfg.dataset, cfg.subset, split=cfg.split, streaming=cfg.streaming, revision=cfg.revision
                )
            yield from rows
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"The data set {cfg.dataset!r} cannot be read (subset {cfg.subset}, split {cfg.split}).\n"
                f"  reason: {' '.join(str(error).split())}\n"
                "  fix:    check the name and the network (HF_HUB_OFFLINE forbids it); without a network use a local\n"
                "          folder of .parquet or .jsonl files, corpus.kind=files, or corpus.kind=python-stdlib"
            ) from None

    def _document(self, row: dict[str, Any], name: str, where: str) -> Document:
        if self.cfg.column not in row:
            raise CorpusError(
                f"{where} has no column {self.cfg.column!r}. Its columns are: {', '.join(row)}.\n"
                "  fix: set corpus.column"
            )
        return Document.of(name, row[self.cfg.column], self.cfg.column, where)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Only the command line and the app print; `datasets` draws bars unless told otherwise."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
