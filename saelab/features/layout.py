"""Where the files of an index lie.

    INDEX/CURRENT                     which database is read now, and which parts it was made from
    INDEX/app-000001.duckdb  .json    generated from the parts; never written again once published
    INDEX/index.json                  what the index was made from, and the size and crc32 of every part
    INDEX/labels.json                 what features stand for, when an evaluation has said so
    INDEX/parts-<key>/codes/          by token: (row, feature, act), one file per 65,536 rows
    INDEX/parts-<key>/buckets/        by feature: sorted by feature, then act descending, then row
    INDEX/parts-<key>/tables/         the pages' data, of which the database is a copy

`key` is the hash of all that decides the parts' bytes, so a rebuild for another checkpoint never touches files that
somebody reads. Every part `x.parquet` has a marker `x.json`, written last. The parts are the truth and the same bits
on every build; a database file holds random ids (measured on DuckDB 2.0), so it is equal in content only.
"""

from dataclasses import dataclass
from pathlib import Path

from saelab import sealed
from saelab.errors import FeatureIndexError


@dataclass(frozen=True)
class Layout:
    """The paths of one build: the index folder and the key of its parts."""

    root: Path
    key: str

    @property
    def parts(self) -> Path:
        return self.root / f"parts-{self.key}"

    def codes(self, part: int) -> Path:
        return self.parts / "codes" / f"{part:06d}.parquet"

    def keys(self, part: int) -> Path:
        """Sort keys of one part of the codes, grouped by bucket; deleted when the buckets are done."""
        return self.parts / "keys" / f"{part:06d}.bin"

    def bucket(self, bucket: int) -> Path:
        return self.parts / "buckets" / f"{bucket:06d}.parquet"

    def table(self, name: str, bucket: int = 0) -> Path:
        return self.parts / "tables" / name / f"{bucket:06d}.parquet"

    def tables(self, name: str) -> list[Path]:
        """A table's files, of all buckets, in order."""
        return sorted((self.parts / "tables" / name).glob("*.parquet"))


def database(root: Path, generation: int) -> Path:
    """The database of a generation."""
    return root / f"app-{generation:06d}.duckdb"


@dataclass(frozen=True)
class Current:
    """What the pointer file says: the generation to read and the key of the parts it was made from."""

    generation: int
    key: str


def current(root: Path) -> Current | None:
    """The pointer of the index at `root`; None before the first build has ended."""
    try:
        values = sealed.read(root / "CURRENT")
        return Current(int(values["generation"]), str(values["parts"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise FeatureIndexError(
            f"{root / 'CURRENT'} does not name a database.\n  fix:   delete it and run `saelab index` again"
        ) from None
