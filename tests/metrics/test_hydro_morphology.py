"""Hydro-morphology distance: known shapes, a second way to compute it, and its laws."""

import numpy as np
import pytest
from scipy import ndimage

from waterscape.metrics.hydro_morphology import MEAN, SCALES, describe, hydro_morphology_distance


def discs(radius, places, size=64):
    """A dry tile with round lakes."""
    rows, columns = np.mgrid[:size, :size]
    tile = np.zeros((size, size), np.uint8)
    for row, column in places:
        tile[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 100
    return tile


def lakes(count, seed, threshold=1.0):
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.normal(size=(64, 64)), 4, mode="wrap") for _ in range(count)]
    return [np.where(field > threshold * field.std(), 90, 0).astype(np.uint8) for field in fields]


def test_known_shapes():
    found = describe([discs(8, [(16, 16), (48, 48)]), discs(5, [(32, 32)])])
    areas = [(discs(8, [(16, 16)]) > 0).sum(), (discs(5, [(32, 32)]) > 0).sum()]
    assert found["bodies"].tolist() == [2, 1]
    assert found["water fraction"] == pytest.approx([2 * areas[0] / 4096, areas[1] / 4096])
    assert np.exp(found["body size"]) == pytest.approx([areas[0], areas[0], areas[1]])
    assert found["shoreline density"] == pytest.approx([4 * np.pi * 8 / 4096, 2 * np.pi * 5 / 4096], rel=0.1)


def test_a_winding_river_is_more_sinuous_than_a_straight_one():
    columns = np.arange(64)
    winding = np.zeros((64, 64), np.uint8)
    straight = winding.copy()
    for width in range(-2, 3):
        winding[np.round(32 + 14 * np.sin(columns / 6)).astype(int) + width, columns] = 100
        straight[32 + width, :] = 100
    one, other = describe([ndimage.grey_closing(winding, 3)]), describe([straight])
    assert other["sinuosity"] == pytest.approx([1.0], abs=0.05)
    assert one["sinuosity"].min() > 1.3


def test_against_a_second_way():
    """Of two samples of equal number the distance is the mean difference of their sorted values."""
    random = np.random.default_rng(0)
    true, made = ({name: random.gamma(2, 1, 50) for name in SCALES} for _ in range(2))
    found = hydro_morphology_distance(true, made)
    expected = {name: np.abs(np.sort(true[name]) - np.sort(made[name])).mean() / SCALES[name] for name in SCALES}
    assert {name: found[name] for name in SCALES} == pytest.approx(expected)
    assert found[MEAN] == pytest.approx(np.mean(list(expected.values())))


def test_zero_symmetric_and_growing():
    true = describe(lakes(40, 1))
    assert set(hydro_morphology_distance(true, true).values()) == {0.0}
    others = [describe(lakes(40, 2, threshold)) for threshold in (1.0, 0.7, 0.4, 0.1)]
    found = [hydro_morphology_distance(true, other) for other in others]
    for name in (MEAN, "water fraction"):
        assert [each[name] for each in found] == sorted(each[name] for each in found)
    assert hydro_morphology_distance(others[3], true) == pytest.approx(found[3])


def test_turned_tiles_are_the_same_set():
    tiles = lakes(10, 3)
    turned = [np.ascontiguousarray(np.rot90(tile)) for tile in tiles]
    assert hydro_morphology_distance(describe(tiles), describe(turned))[MEAN] == pytest.approx(0, abs=1e-9)


def test_sets_without_water():
    dry, wet = describe([np.zeros((64, 64), np.uint8)] * 3), describe(lakes(5, 4))
    assert hydro_morphology_distance(dry, dry)[MEAN] == 0
    assert np.isfinite(list(hydro_morphology_distance(dry, wet).values())).all()
    with pytest.raises(ValueError, match="without tiles"):
        hydro_morphology_distance(wet, describe([]))
