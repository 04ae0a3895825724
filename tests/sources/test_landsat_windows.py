"""Windows over a raster: each pixel belongs to one of them, well inside."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterscape.errors import UserError
from waterscape.sources.landsat.windows import REACH, cuts


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(2 * REACH + 1, 40))
def test_every_pixel_is_owned_once_with_all_around_it(height, width, side):
    owned = np.zeros((height, width), int)
    for cut in cuts(height, width, side):
        (top, bottom), (left, right) = cut.rows, cut.columns
        assert 0 <= top < bottom <= side
        assert 0 <= left < right <= side
        owned[cut.row + top : cut.row + bottom, cut.column + left : cut.column + right] += 1
        for start, (first, after), length in ((cut.row, cut.rows, height), (cut.column, cut.columns, width)):
            assert start == 0 or (first >= REACH and start + side <= length)
            assert start + after == length or side - after >= REACH
    assert (owned == 1).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(11, 60), st.integers(0, 10))
def test_there_are_no_more_windows_than_needed(length, side, overlap):
    starts = sorted({cut.column for cut in cuts(1, length, side, overlap)})
    assert all(second - first <= side - overlap for first, second in pairwise(starts))
    covered = side + (len(starts) - 2) * (side - overlap)  # by one window less
    assert len(starts) == 1 or covered < length


def test_tiles_must_be_larger_than_what_they_share():
    with pytest.raises(UserError, match="--tile-size 10, --overlap 10: tiles must be larger"):
        cuts(100, 100, 10)
