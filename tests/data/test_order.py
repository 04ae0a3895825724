import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterscape.data.order import Order
from waterscape.errors import UserError

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


def pairs(order, start, count):
    return list(zip(*(part.tolist() for part in order.locate(start, count)), strict=True))


@given(COUNTS, st.integers(0, 5), st.integers(1, 5))
def test_every_epoch_is_a_permutation(counts, seed, block):
    order = Order(counts, seed, block)
    every = [(shard, row) for shard, count in enumerate(counts) for row in range(count)]
    for epoch in range(3):
        assert sorted(pairs(order, epoch * order.total, order.total)) == every


@given(COUNTS, st.integers(1, 5), st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 100))
def test_any_cutting_gives_the_same_stream(counts, block, cuts, start):
    whole = pairs(Order(counts, 7, block), start, sum(cuts))
    order, position, pieces = Order(counts, 7, block), start, []
    for cut in cuts:
        pieces += pairs(order, position, cut)
        position += cut
    assert pieces == whole
    for place in range(0, sum(cuts), 7):  # and out of turn
        assert pairs(order, start + place, 1) == whole[place : place + 1]


@given(COUNTS, st.integers(1, 4))
def test_a_block_is_read_to_its_end_before_the_next(counts, block):
    order = Order(counts, 3, block)
    used = list(dict.fromkeys(shard for shard, _ in pairs(order, 0, order.total)))
    stream = [shard for shard, _ in pairs(order, 0, order.total)]
    open_at_once = max(
        sum(stream.index(shard) <= place <= len(stream) - 1 - stream[::-1].index(shard) for shard in used)
        for place in range(len(stream))
    )
    assert open_at_once <= block


def test_epochs_and_seeds_differ_and_samples_are_mixed():
    order = Order([100] * 10, seed=0)
    first, second = pairs(order, 0, 1000), pairs(order, 1000, 1000)
    other = pairs(Order([100] * 10, seed=1), 0, 1000)
    for a, b in [(first, second), (first, other)]:
        assert sum(x == y for x, y in zip(a, b, strict=True)) < 10  # 1 expected
    steps = np.diff([shard for shard, _ in first])
    assert (steps == 0).mean() < 0.15  # 0.1 expected


def test_order_never_changes_between_versions():
    order = Order([3, 2, 4], seed=5, block=2)
    golden = [(0, 0), (0, 2), (1, 0), (0, 1), (1, 1), (2, 1), (2, 3), (2, 0), (2, 2), (1, 0), (0, 1), (0, 2)]
    assert pairs(order, 0, 12) == golden


def test_sequential_is_as_stored_again_and_again():
    assert pairs(Order.sequential([2, 0, 1]), 1, 6) == [(0, 1), (2, 0), (0, 0), (0, 1), (2, 0), (0, 0)]


def test_nothing_to_read_is_an_error():
    for counts, block in [([], 1), ([0], 1), ([1], 0)]:
        with pytest.raises(UserError):
            Order(counts, 0, block)
    with pytest.raises(ValueError, match="do not exist"):
        Order([1], 0).locate(-1, 1)
