"""Text sources: the Python standard library (default), local files, hub data sets; and packing into contexts."""

from typing import Annotated, Any

from pydantic import Field

from saelab.corpora.corpus import SPLITS, Corpus, split_documents
from saelab.corpora.document import Document
from saelab.corpora.files import FilesConfig, LocalFiles
from saelab.corpora.hub import HubConfig, HubDataset
from saelab.corpora.packing import PACKINGS, Context, contexts
from saelab.corpora.python_stdlib import PythonStdlib, PythonStdlibConfig

CORPORA: dict[str, type[Any]] = {
    "python-stdlib": PythonStdlib,
    "files": LocalFiles,
    "hub": HubDataset,
}

CorpusConfig = Annotated[PythonStdlibConfig | FilesConfig | HubConfig, Field(discriminator="kind")]


def open_corpus(cfg: PythonStdlibConfig | FilesConfig | HubConfig) -> Corpus:
    """The corpus that these settings describe."""
    corpus: Corpus = CORPORA[cfg.kind](cfg)
    return corpus


__all__ = [
    "CORPORA",
    "PACKINGS",
    "SPLITS",
    "Context",
    "Corpus",
    "CorpusConfig",
    "Document",
    "FilesConfig",
    "HubConfig",
    "HubDataset",
    "LocalFiles",
    "PythonStdlib",
    "PythonStdlibConfig",
    "contexts",
    "open_corpus",
    "split_documents",
]
