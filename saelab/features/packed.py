"""All that a feature's card shows, as two values: arrays one after the other, deflated.

    lengths int32[parts]     of each array, -1 for one that is not there (no language model: no logits)
    arrays                   in the order and with the types of CARD, or of WINDOWS, all first bytes of an array before
                             all second ones: high bytes are alike, and so deflate to little

Of a value, a page reads some kilobytes in half a millisecond. Lists in columns of their own cost it several times as
much, because a database decodes those of two thousand features to find those of one. They are two because DuckDB keeps
values above 4 KiB apart, with half as much room again.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

CARD = {
    "stats": "<f8",
    "first_bin": "<i4",
    "counts": "<i8",
    "promoted": "<i4",
    "promoted_by": "<f4",
    "suppressed": "<i4",
    "suppressed_by": "<f4",
    "near": "<i4",
    "near_cosine": "<f4",
    "together": "<i4",
    "together_jaccard": "<f8",
    "together_count": "<i4",
    "rank": "<i4",  # from here on of the examples, by rank
    "quantile": "u1",
    "sampled": "u1",
    "row": "<i8",
    "doc": "<i4",
    "pos": "<i4",
    "peak": "u1",
    "shown": "u1",  # tokens of each
    "firing": "u1",  # and how many of them are active
    "names": "u1",  # of their documents, in UTF-8, a zero byte after each
}
WINDOWS = {"tokens": "<i4", "fired": "u1", "acts": "<f2"}  # of all examples, one after the other
LEVEL = 1  # of deflation: a higher one saves 3 % and takes three times as long


def pack(arrays: Mapping[str, np.ndarray | None], parts: Mapping[str, str]) -> bytes:
    """One value from an array (or None) for each of `parts`."""
    found = [(arrays[name], kind) for name, kind in parts.items()]
    held = [None if array is None else array.astype(kind) for array, kind in found]
    lengths = np.array([-1 if one is None else len(one) for one in held], "<i4")
    return zlib.compress(b"".join([lengths.tobytes(), *(_planes(one) for one in held if one is not None)]), LEVEL)


def unpack(value: bytes, parts: Mapping[str, str]) -> dict[str, Any]:
    """What `pack` was given, as lists."""
    data = zlib.decompress(value)
    lengths, at = np.frombuffer(data, "<i4", len(parts)).tolist(), 4 * len(parts)
    found: dict[str, list[Any] | None] = {}
    for (name, kind), length in zip(parts.items(), lengths, strict=True):
        size = np.dtype(kind).itemsize
        planes = np.frombuffer(data, np.uint8, max(0, length) * size, at).reshape(size, -1)
        found[name] = None if length < 0 else np.ascontiguousarray(planes.T).view(kind).ravel().tolist()
        at += planes.size
    return found


def _planes(array: np.ndarray) -> bytes:
    return array.view(np.uint8).reshape(-1, array.itemsize).T.tobytes()
