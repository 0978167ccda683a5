"""What an import or an export did; and the folder that is there whole or not at all."""

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saelab.contracts import NAME
from saelab.errors import FormatError


@dataclass(frozen=True)
class One:
    """One SAE that was converted."""

    source: str
    folder: Path
    kind: str
    d_in: int
    d_out: int
    d_sae: int
    done: tuple[str, ...]


@dataclass(frozen=True)
class Converted:
    """All of one command."""

    format: str
    saes: tuple[One, ...]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows for print; what was converted stands in `notes`."""
        columns = ["from", "kind", "d_in", "d_out", "d_sae", "written to"]
        return columns, [[s.source, s.kind, s.d_in, s.d_out, s.d_sae, str(s.folder)] for s in self.saes]

    def notes(self) -> list[str]:
        """What was converted, each once."""
        return list(dict.fromkeys(line for sae in self.saes for line in sae.done))


@dataclass(frozen=True)
class Features:
    """Whose features were written: their SAE and its site, and from which feature to which."""

    source: str
    site: str
    first: int
    last: int


@dataclass(frozen=True)
class ConvertedFeatures:
    """All of one command that wrote what indexes know of features; `bytes` of all files together."""

    format: str
    sources: tuple[Features, ...]
    folder: Path
    bytes: int
    done: tuple[str, ...]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows for print."""
        columns = ["from", "site", "features", "written to"]
        return columns, [[s.source, s.site, f"{s.first}-{s.last}", str(self.folder)] for s in self.sources]

    def notes(self) -> list[str]:
        """How large the files are, and what they leave open."""
        return [f"{self.bytes / 1e6:,.1f} MB", *self.done]


def _holds(folder: Path, files: Path) -> bool:
    """Whether every file in `files` is in `folder` too, byte for byte."""
    names = [path.relative_to(files) for path in files.rglob("*") if path.is_file()]
    return all((folder / name).is_file() and filecmp.cmp(folder / name, files / name, shallow=False) for name in names)


@contextmanager
def made_whole(out: Path) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends without an error, and is gone otherwise.

    Raises FormatError where `out` has a name that not every system can hold, or exists and holds something else; with
    the same files in it, it stays as it is.
    """
    if not NAME.fullmatch(out.name):
        raise FormatError(
            f"{out.name!r} is no name for a folder here: letters, digits, '.', '_' and '-', at most 100, "
            "the first a letter or digit."
        )
    tmp = out.with_name(out.name + ".tmp")
    if tmp.exists():
        shutil.rmtree(tmp)  # of a run that was killed: nothing reads it
    tmp.mkdir(parents=True)
    try:
        yield tmp
        if not out.exists():
            os.replace(tmp, out)
        elif not _holds(out, tmp):
            raise FormatError(
                f"{out} exists already, and holds something else.\n"
                "  fix:   name another folder with --out, or move that one away"
            )
        else:
            shutil.rmtree(tmp)
    except BaseException:
        shutil.rmtree(tmp, ignore_errors=True)
        raise
