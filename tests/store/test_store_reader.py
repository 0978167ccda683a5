"""Shuffled batches: complete, reproducible, in lock step, found by number, and without threads left behind."""

import threading
from collections import Counter
from contextlib import closing
from itertools import count, islice

import pytest
import torch

from saelab.errors import StoreError
from saelab.store.ahead import ahead
from saelab.store.order import Pools, find, rows_of


def numbers(store, n, *, start=0, sites=("a",), **options):
    """The row numbers in n batches."""
    reader = store.reader(list(sites), **{"batch": 64, "seed": 0, "pool": 2, **options})
    with closing(reader.batches(start)) as batches:
        return [batch[sites[0]][:, 0].int().tolist() for batch in islice(batches, n)]


def test_an_epoch_gives_every_row_once_but_for_the_last_that_fill_no_batch(make_store):
    store = make_store()
    reader = store.reader(["a"], batch=64, seed=0, pool=2)
    assert (reader.rows_per_epoch, reader.batches_per_epoch) == (1700, 26)
    for epoch in (0, 1):
        seen = Counter(row for batch in numbers(store, 26, start=26 * epoch) for row in batch)
        assert len(seen) == 26 * 64
        assert set(seen.values()) == {1}


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(make_store):
    store = make_store()
    assert numbers(store, 30) == numbers(store, 30) == numbers(make_store("copy"), 30)
    assert numbers(store, 26) != numbers(store, 26, seed=1)
    assert numbers(store, 26) != numbers(store, 26, start=26)


def test_batch_i_is_found_without_reading_those_before(make_store):
    store = make_store()
    whole = numbers(store, 80, prefetch=5)
    for start in (1, 7, 25, 26, 27, 51, 52, 60):
        assert numbers(store, 5, start=start) == whole[start : start + 5]


def test_several_sites_are_in_lock_step(make_store):
    with closing(make_store().reader(["a", "b"], batch=100, seed=3).batches()) as batches:
        for batch in islice(batches, 40):
            assert batch["a"].shape == (100, 2)
            assert torch.equal(batch["a"], batch["b"][:, :2])


def test_a_batch_stays_as_it_was_given_while_others_follow(make_store):
    with closing(make_store().reader(["a"], batch=64, seed=0, pool=2).batches()) as batches:
        kept = list(islice(batches, 60))
    assert [batch["a"][:, 0].int().tolist() for batch in kept] == numbers(make_store("again"), 60)


def test_a_batch_larger_than_a_pool_is_filled_from_several(make_store):
    first = numbers(make_store(), 3, batch=1000, pool=1)
    assert all(len(set(batch)) == 1000 for batch in first)


def test_each_pool_takes_from_all_shards_evenly():
    pools = Pools(shard_rows=(800,) * 4, row_group=100, pool=4, seed=5, key="k")
    for epoch in range(3):
        groups = [group for pool in pools.of_epoch(epoch) for group in pool]
        assert len(set(groups)) == 32
        for half in (groups[:16], groups[16:]):
            assert all(3 <= n <= 5 for n in Counter(group.shard for group in half).values())


def test_a_row_of_the_epoch_is_found_by_arithmetic():
    pools = Pools(shard_rows=(250, 100), row_group=100, pool=2, seed=0, key="k").of_epoch(0)
    sizes = [rows_of(pool) for pool in pools]
    assert sum(sizes) == 350
    assert find(pools, 0) == (0, 0)
    assert find(pools, sizes[0]) == (1, 0)
    assert find(pools, 349) == (len(pools) - 1, sizes[-1] - 1)


def test_other_rows_come_in_another_order():
    one, two = (Pools(shard_rows=(5000,), row_group=100, pool=50, seed=0, key=key) for key in "ab")
    assert one.of_epoch(0) != two.of_epoch(0)


def test_a_batch_that_the_store_cannot_fill_is_refused(make_store):
    with pytest.raises(StoreError, match="has 50 heldout rows, fewer than one batch of 64"):
        make_store().reader(["a"], split="heldout", batch=64, seed=0)


def test_closing_ends_the_threads_even_in_the_middle(make_store):
    before = threading.active_count()
    batches = make_store().reader(["a", "b"], batch=64, seed=0).batches()
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_ahead_raises_the_error_where_the_items_are_read():
    def two_then_error():
        yield from (1, 2)
        raise ValueError("third")

    items = ahead(two_then_error(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="third"):
        next(items)


def test_ahead_makes_no_more_than_was_agreed_and_closes_its_source():
    made, closed = [], []

    def source():
        try:
            for number in count():
                made.append(number)
                yield number
        finally:
            closed.append(True)

    items = ahead(source(), 2)
    assert next(items) == 0
    items.close()
    assert closed == [True]
    assert len(made) <= 4
