"""Stage 9, cards: what a page shows of each feature, gathered from the tables and packed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saelab.features.indexing.keys import Buckets
from saelab.features.layout import Layout
from saelab.features.packed import CARD, WINDOWS, pack
from saelab.features.stats import COLUMNS

LISTS = {
    "logits": ("promoted", "promoted_by", "suppressed", "suppressed_by"),
    "neighbours": ("near", "near_cosine"),
    "coactive": ("together", "together_jaccard", "together_count"),
}
EXAMPLE = ("rank", "quantile", "sampled", "row", "doc", "pos", "peak")


def cards(layout: Layout, buckets: Buckets) -> Iterator[pa.Table]:
    """(feature, card, windows) of each bucket's features."""
    once = {name: pq.read_table(layout.table(name)) for name in (*LISTS, "weights", "documents")}
    names = dict(zip(once["documents"]["doc"].to_pylist(), once["documents"]["name"].to_pylist(), strict=True))
    lists = {part: Lists.of(once[table], part) for table, parts in LISTS.items() for part in parts}
    for bucket in range(buckets.count):
        features = buckets.features(bucket)
        stats = _stats(pq.read_table(layout.table("statistics", bucket)), once["weights"], features)
        histogram = pq.read_table(layout.table("histogram", bucket))
        first, counts = histogram["first_bin"].to_numpy(), Lists.of(histogram, "counts")
        examples = Examples.of(pq.read_table(layout.table("examples", bucket)), features, names)
        packed: dict[str, list[bytes]] = {"card": [], "windows": []}
        for i, feature in enumerate(features):
            own = {"stats": stats[i], "first_bin": first[i : i + 1], "counts": counts[feature], **examples[feature]}
            packed["card"].append(pack({**own, **{part: held[feature] for part, held in lists.items()}}, CARD))
            packed["windows"].append(pack(own, WINDOWS))
        values = {name: pa.array(each, pa.binary()) for name, each in packed.items()}
        yield pa.table({"feature": pa.array(features, pa.int32()), **values})


def _stats(statistics: pa.Table, weights: pa.Table, features: range) -> np.ndarray:
    """The values of COLUMNS, a row per feature; not-a-number where there is none."""
    own = weights.slice(features.start, len(features))
    columns = [(statistics if name in statistics.column_names else own)[name] for name in COLUMNS]
    return np.stack([column.cast(pa.float64()).to_numpy() for column in columns], axis=1)


@dataclass(frozen=True, eq=False)
class Lists:
    """A column of lists by feature, without an object for each: the feature's values are a slice."""

    first: int
    offsets: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, table: pa.Table, name: str) -> "Lists":
        """From a table whose features follow each other, or an empty one."""
        column = table[name].combine_chunks()
        first = table["feature"][0].as_py() if len(table) else 0
        return cls(first, column.offsets.to_numpy(), column.values.to_numpy())

    def __getitem__(self, feature: int) -> np.ndarray | None:
        """The feature's list; None where the table is empty."""
        at = feature - self.first
        return self.values[self.offsets[at] : self.offsets[at + 1]] if len(self.offsets) > 1 else None


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of a bucket, by feature and rank; those of one feature stand together."""

    first: int  # of the bucket's features
    bounds: np.ndarray  # the rows of the bucket's i-th feature are bounds[i] to bounds[i + 1]
    columns: Mapping[str, np.ndarray]
    lists: Mapping[str, tuple[np.ndarray, np.ndarray]]  # offsets, values
    names: Mapping[int, str]

    @classmethod
    def of(cls, table: pa.Table, features: range, names: Mapping[int, str]) -> "Examples":
        lists = {name: table[name].combine_chunks() for name in ("tokens", "fired", "acts")}
        return cls(
            features.start,
            np.searchsorted(table["feature"].to_numpy(), np.arange(features.start, features.stop + 1, dtype=np.int32)),
            {name: table[name].to_numpy() for name in EXAMPLE},
            {name: (one.offsets.to_numpy(), one.values.to_numpy()) for name, one in lists.items()},
            names,
        )

    def __getitem__(self, feature: int) -> dict[str, np.ndarray]:
        first, last = self.bounds[feature - self.first : feature - self.first + 2]
        spans = {name: offsets[first : last + 1] for name, (offsets, _) in self.lists.items()}
        flat = {name: self.lists[name][1][at[0] : at[-1]] for name, at in spans.items()}
        plain = {name: column[first:last] for name, column in self.columns.items()}
        said = "".join(f"{self.names.get(doc, '')}\0" for doc in plain["doc"].tolist()).encode()
        return {
            **plain,
            "shown": np.diff(spans["tokens"]),
            "firing": np.diff(spans["fired"]),
            **flat,
            "names": np.frombuffer(said, np.uint8),
        }
