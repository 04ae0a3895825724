import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterscape.data.split import assign, place
from waterscape.errors import UserError

GROUPS = st.dictionaries(st.text(max_size=6), st.integers(1, 50), min_size=1, max_size=40)
SHARES = st.sampled_from([{"train": 0.8, "val": 0.1, "test": 0.1}, {"a": 0.5, "b": 0.5}, {"all": 1.0}])


@given(GROUPS, SHARES, st.integers(0, 9), st.randoms(use_true_random=False))
def test_assignment_is_whole_near_the_shares_and_free_of_order(groups, shares, seed, random):
    result = assign(groups, shares, seed)
    assert set(result) == set(groups)
    got = Counter()
    for group, split in result.items():
        got[split] += groups[group]
    for split, share in shares.items():
        assert got[split] < share * sum(groups.values()) + max(groups.values())
    assert len(got) == min(len(groups), len(shares)), "a split is empty, though there are groups enough"
    shuffled = random.sample(sorted(groups), len(groups))
    assert assign({group: groups[group] for group in shuffled}, dict(reversed(shares.items())), seed) == result


def test_a_split_without_a_share_stays_empty_and_a_large_group_stays_where_it_is_wanted():
    for seed in range(20):
        shares = {"train": 0.8, "val": 0.1, "test": 0.1}
        result = assign({"large": 1000, "one": 1, "another": 1}, shares, seed)
        assert result["large"] == "train"
        assert len(set(result.values())) == 3
        assert set(assign({"a": 1, "b": 2, "c": 3}, {"train": 0.5, "val": 0.5, "test": 0.0}, seed).values()) == {
            "train",
            "val",
        }


def test_many_equal_groups_meet_the_shares_and_seeds_differ():
    groups = {f"block {number}": 1 for number in range(1000)}
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    assert Counter(assign(groups, shares).values()) == {"train": 800, "val": 100, "test": 100}
    one, two = assign(groups, shares, 0), assign(groups, shares, 1)
    agree = sum(one[group] == two[group] for group in groups)
    assert 600 < agree < 720  # independent draws agree in 0.8² + 0.1² + 0.1² = 0.66


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_shares_that_do_not_add_up_are_refused(shares):
    with pytest.raises(UserError, match="add up to 1"):
        assign({"x": 1}, shares)


def test_blocks_are_those_of_the_equal_area_grid():
    # Lambert's cylindrical equal-area projection, standard parallel 30°, on the sphere of equal area: within half a per
    # cent of the ellipsoid's.
    radius_km, scale = 6371.007, math.cos(math.radians(30))
    for longitude, latitude in [(-74.55, -8.38), (11.9, 43.5), (130.2, -25.3), (-179.9, 70.0)]:
        east = radius_km * math.radians(longitude) * scale
        north = radius_km * math.sin(math.radians(latitude)) / scale
        assert place(longitude, latitude, 500) == f"500km:{math.floor(east / 500)}:{math.floor(north / 500)}"


def test_neighbours_share_a_block_and_far_ones_do_not():
    assert place(25.001, 60.1, 50) == place(25.002, 60.1001, 50)
    assert place(25, 60, 50) != place(27, 60, 50)


@pytest.mark.parametrize("point", [(181, 0, 10), (0, 91, 10), (float("nan"), 0, 10), (0, 0, 0), (0, 0, math.inf)])
def test_impossible_places_are_refused(point):
    with pytest.raises(UserError):
        place(*point)
