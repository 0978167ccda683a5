"""The Python standard library's own source: millions of tokens of code and English on every machine.

Licence: the Python Software Foundation License. saelab reads the copy that comes with the running
interpreter and ships none of it.
"""

import os
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from saelab.config import Settings, content_hash
from saelab.corpora.document import Document, hash64

NOT_LIBRARY = {"site-packages", "dist-packages", "__pycache__", "lib-dynload"}
TESTS = {"test", "tests", "idle_test"}


class PythonStdlibConfig(Settings):
    kind: Literal["python-stdlib"] = "python-stdlib"
    tests: bool = Field(False, description="Include the library's own test suite (some distributions leave it out).")
    tables: bool = Field(False, description="Include generated tables: character maps and pydoc's topics.")


class PythonStdlib:
    """One document per module, named as it is imported, in an order that any prefix represents the whole."""

    Config = PythonStdlibConfig
    licence = "Python Software Foundation License, version 2 (PSF-2.0)"

    def __init__(self, cfg: PythonStdlibConfig) -> None:
        self.cfg = cfg
        self.root = Path(sysconfig.get_path("stdlib"))

    def documents(self) -> Iterator[Document]:
        """Every module's source, ordered by the hash of its name; a module that does not decode is left out."""
        for name, path in sorted(self._modules(), key=lambda item: hash64(item[0])):
            text = _source(path)
            if text.strip():
                yield Document(name, text, key=name)  # a module is on the same side in every version of Python

    def fingerprint(self) -> str:
        """Names this exact text: it changes with the Python version and with the settings."""
        return content_hash([[document.name, content_hash(document.text)] for document in self.documents()])

    def _modules(self) -> Iterator[tuple[str, Path]]:
        for folder, inner, files in os.walk(self.root):
            inner[:] = [name for name in inner if name not in NOT_LIBRARY]  # site-packages can hold gigabytes
            for path in (Path(folder) / name for name in files if name.endswith(".py")):
                parts = path.relative_to(self.root).with_suffix("").parts
                if self._wanted(parts):
                    yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path

    def _wanted(self, parts: tuple[str, ...]) -> bool:
        if NOT_LIBRARY & set(parts) or parts[0].startswith(("config-", "_sysconfigdata")):
            return False  # the last two record how this one interpreter was built
        if not self.cfg.tests and TESTS & set(parts):
            return False
        table = (parts[0] == "encodings" and len(parts) > 1) or parts[:2] == ("pydoc_data", "topics")
        return self.cfg.tables or not table


def _source(path: Path) -> str:
    try:
        with tokenize.open(path) as file:  # honours a coding cookie
            return file.read()
    except (SyntaxError, UnicodeDecodeError):  # the library's tests hold modules that are broken on purpose
        return ""
