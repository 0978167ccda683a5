"""Result rows: (checkpoint, eval, metric, value, n, seed, version), beside the checkpoint as JSON and as parquet.

CHECKPOINT/evals/results.json       the truth; an evaluation's rows replace its earlier ones
CHECKPOINT/evals/results.parquet    the same, for DuckDB: saelab sql CHECKPOINT "select * from results"
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from saelab import sealed
from saelab.atomic import write_bytes
from saelab.errors import EvalError
from saelab.evals.subject import Figure
from saelab.store.tables import answer

JSON, PARQUET = "results.json", "results.parquet"
FORMAT = 1
SCHEMA = pa.schema(
    [
        ("checkpoint", pa.string()),
        ("eval", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),  # null: nothing to divide by
        ("n", pa.int64()),
        ("seed", pa.int64()),  # null: nothing was drawn at random
        ("version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One figure of one checkpoint; `version` is saelab's."""

    checkpoint: str
    eval: str
    metric: str
    value: float | None
    n: int
    seed: int | None
    version: str


def rows_of(checkpoint: str, name: str, figures: Iterable[Figure]) -> list[Row]:
    """The rows of one evaluation."""
    made = version("saelab")
    return [Row(checkpoint, name, f.metric, f.value, f.n, f.seed, made) for f in figures]


def keep_rows(checkpoint: Path, rows: Sequence[Row]) -> None:
    """Write `rows` in place of the earlier ones of the same evaluations; other evaluations' stay."""
    again = {row.eval for row in rows}
    kept = [row for row in read_rows(checkpoint) if row.eval not in again] + list(rows)
    folder = checkpoint / "evals"
    values = [asdict(row) for row in kept]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values, schema=SCHEMA), buffer)
    write_bytes(folder / PARQUET, buffer.getvalue())
    files = {PARQUET: sealed.digest(folder / PARQUET)}
    sealed.write(folder / JSON, {"format": FORMAT, "rows": values, "files": files})


def read_rows(checkpoint: Path) -> list[Row]:
    """Every row measured so far. Raises EvalError for a file that is none of ours."""
    path = checkpoint / "evals" / JSON
    if not path.is_file():
        return []
    try:
        content = sealed.read(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, where {FORMAT} is read")
        return [Row(**row) for row in content["rows"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise EvalError(f"{path} cannot be read ({error}).\n  fix:   delete it and measure again") from None


def problems(checkpoint: Path) -> list[str]:
    """What is wrong with a checkpoint's evaluations, one line each; nothing when they are whole."""
    found = [line for path in sorted(checkpoint.glob("evals/*.json")) for line in sealed.problems(path)]
    try:
        files = sealed.read(checkpoint / "evals" / JSON).get("files", {})
    except (FileNotFoundError, ValueError):
        return found
    paths = {checkpoint / "evals" / name: known for name, known in files.items()}
    lost = [f"{path} is missing" for path in paths if not path.is_file()]
    altered = [path for path, known in paths.items() if path.is_file() and sealed.digest(path) != known]
    return [*found, *lost, *(f"{path} is not the file that {JSON} was written with" for path in altered)]


class Results:
    """The result rows of every checkpoint at or below a folder, to be queried as `results`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = sorted(path.glob(f"**/evals/{PARQUET}"))

    def sql(self, query: str) -> pa.Table:
        """Answer one SELECT over the view `results`. Nothing outside the folder can be read."""
        return answer(self.path, {"results": self.files}, query)
