"""One shard: parquet with a few plain columns and one column of raw bytes per row.

    doc int32 | pos int32 | ctx int32 | token int32 | norm float32 | act FixedSizeBinary(d * itemsize)
                                                 and, where they were harvested, | gradient, the same

Raw bytes because parquet and Arrow have no bfloat16, and because lists of numbers read 5 to 25 times slower.
They are not compressed (activations are noise to a compressor) and each row group is one page, so that the rows
of a group lie in the file as they lie in memory and are read without parsing. The file is built in memory and
written in one call: pyarrow's own file writer reports no error when it closes on a full disk.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab import sealed
from saelab.errors import StoreError
from saelab.store.layout import SiteInfo

META = ("doc", "pos", "ctx", "token")
Column = Literal["act", "gradient"]
RAW: tuple[Column, ...] = ("act", "gradient")
_CHECKED: set[tuple[str, int, int, int]] = set()  # files whose checksum this process has seen to be right


@dataclass(frozen=True)
class ShardColumns:
    """Where the rows of a shard come from, and the shard's own place in its split."""

    doc: Int[Tensor, "rows"]
    pos: Int[Tensor, "rows"]
    ctx: Int[Tensor, "rows"]
    token: Int[Tensor, "rows"]
    first_row: int
    first_ctx: int
    contexts: int


def encode(
    columns: ShardColumns,
    raw: Mapping[Column, Float[Tensor, "rows d"]],
    norm: Float[Tensor, "rows"],
    site: SiteInfo,
    row_group: int,
) -> pa.Buffer:
    """The bytes of the parquet file; `raw` holds `act` and, where the site has it, `gradient`; `norm` as by `norms`."""
    arrays: dict[str, pa.Array] = {name: pa.array(getattr(columns, name).to(torch.int32).numpy()) for name in META}
    arrays["norm"] = pa.array(norm.numpy())
    plain = {name: _as_bytes(rows) for name, rows in raw.items()}
    for name, rows in plain.items():
        arrays[name] = rows
    table = pa.table(arrays).replace_schema_metadata({"saelab": json.dumps(site.model_dump())})
    data = to_parquet(table, row_group, plain)
    footer = pq.read_metadata(pa.BufferReader(data))
    for column, rows in plain.items():
        at, bytes_ = 0, rows.buffers()[1]
        for place in places_in(footer, column):
            size = place.rows * place.width  # reading relies on this layout, so it is made sure of here
            assert data.slice(place.offset, size).equals(bytes_.slice(at, size)), "parquet's layout is not as expected"
            at += size
    return data


def _as_bytes(rows: Float[Tensor, "rows d"]) -> pa.FixedSizeBinaryArray:
    """Each row as its bytes."""
    kind = pa.binary(rows.shape[1] * rows.element_size())
    buffer = pa.py_buffer(rows.contiguous().view(torch.uint8).numpy())
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(rows), [None, buffer])


def to_parquet(table: pa.Table, row_group: int, plain: Iterable[str] = ()) -> pa.Buffer:
    """The table as parquet; the columns in `plain` as they are, the others with zstd."""
    plain = set(plain)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=row_group,
        compression={name: "none" if name in plain else "zstd" for name in table.column_names},
        write_statistics=[name for name in table.column_names if name not in plain],
        use_dictionary=False,
        data_page_size=1 << 30,  # one page per row group
        write_page_checksum=True,
    )
    return sink.getvalue()


def norms(act: Float[Tensor, "rows d"], step: int = 4096) -> Float[Tensor, "rows"]:
    """|row| as stored, in fp32; some thousand rows at a time: all of a wide shard in fp32 would not fit beside it."""
    parts = [torch.linalg.vector_norm(part.float(), dim=1) for part in act.split(step)]
    return torch.cat(parts) if parts else torch.empty(0)


def copy_rows(path: Path, column: Column, group: int, first: int, out: Float[Tensor, "rows d"]) -> None:
    """Fill `out` with rows first, first + 1, … of a row group, as they lie on disk: one read, nothing in between.

    The caller has checked the file (`check`), so that its layout is the one `encode` made sure of.
    """
    width = out.shape[1] * out.element_size()
    places = _places(path, path.stat().st_mtime_ns, column)
    if group >= len(places) or places[group].width != width or first + len(out) > places[group].rows:
        raise StoreError(f"{path} does not hold the rows that its marker says. {mend(path)}")
    target = memoryview(out.view(torch.uint8).numpy().data).cast("B")
    with open(path, "rb", buffering=0) as file:
        file.seek(places[group].offset + first * width)
        done = 0
        while done < len(target):
            count = file.readinto(target[done:])
            if not count:
                raise StoreError(f"{path} ends too early. {mend(path)}")
            done += count


class Place(NamedTuple):
    """Where a row group of a raw column begins in the file, how many rows it has, and how many bytes a row is."""

    offset: int
    rows: int
    width: int


@lru_cache(maxsize=4096)
def _places(path: Path, mtime_ns: int, column: Column) -> tuple[Place, ...]:
    """Of every row group of a file; `mtime_ns` is there so that a file that was replaced is read anew."""
    try:
        return places_in(pq.read_metadata(path), column)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} cannot be read: {error}. {mend(path)}") from None


def places_in(footer: pq.FileMetaData, column: Column) -> tuple[Place, ...]:
    """An uncompressed column of plain values in one page: a short header, then the rows, up to the column's end."""
    number = len(META) + 1 + RAW.index(column)  # behind the norm
    if number >= footer.num_columns:
        return ()
    width = footer.schema.column(number).length
    found = []
    for group in range(footer.num_row_groups):
        chunk = footer.row_group(group).column(number)
        end = chunk.data_page_offset + chunk.total_compressed_size
        found.append(Place(end - chunk.num_values * width, chunk.num_values, width))
    return tuple(found)


def read_meta(path: Path) -> pa.Table:
    """Every column but the activations."""
    return pq.read_table(path, columns=[*META, "norm"])


def check(path: Path, size: int, crc: int) -> None:
    """Size always, checksum once per process. Raises StoreError naming the file."""
    require_size(path, size)
    stat = path.stat()
    key = (str(path.absolute()), stat.st_mtime_ns, stat.st_size, crc)
    if key in _CHECKED:
        return
    found = sealed.digest(path)["crc32"]
    if found != crc:
        raise StoreError(f"{path} is damaged: checksum {found:08x}, but its marker says {crc:08x}. {mend(path)}")
    _CHECKED.add(key)


def require_size(path: Path, size: int) -> None:
    """Raise StoreError unless the file is there in full length."""
    found: Any = path.stat().st_size if path.is_file() else "no"
    if found != size:
        raise StoreError(f"{path} is damaged: {found} bytes, but its marker says {size}. {mend(path)}")


def mend(path: Path) -> str:
    return f"\n  fix:   delete {path.name} there and run the same harvest again: it makes only what is missing"
