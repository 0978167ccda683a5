"""A card as two values: what goes in comes out, and what is not there stays not there."""

import numpy as np

from saelab.features.packed import CARD, WINDOWS, pack, unpack


def test_every_part_comes_back_as_it_was_and_in_order():
    arrays = {name: np.arange(3 * i % 7).astype(kind) for i, (name, kind) in enumerate({**CARD, **WINDOWS}.items())}
    for parts in (CARD, WINDOWS):
        assert unpack(pack(arrays, parts), parts) == {name: arrays[name].tolist() for name in parts}


def test_a_part_that_is_not_there_is_not_an_empty_one():
    parts = {"a": "<i4", "b": "<f8", "c": "u1"}
    held = unpack(pack({"a": None, "b": np.zeros(0), "c": np.array([7, 255])}, parts), parts)
    assert held == {"a": None, "b": [], "c": [7, 255]}


def test_numbers_keep_every_bit():
    value = np.array([1 / 3, -0.0, np.inf, 5e-324])
    found = unpack(pack({"x": value}, {"x": "<f8"}), {"x": "<f8"})["x"]
    assert np.array(found).tobytes() == value.tobytes()
    assert unpack(pack({"x": np.array([-(2**62)])}, {"x": "<i8"}), {"x": "<i8"}) == {"x": [-(2**62)]}
