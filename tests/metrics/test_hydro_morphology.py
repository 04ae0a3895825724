"""Hydro-morphology distance: known shapes, a second way to compute it, and its laws."""

import numpy as np
import pytest
from scipy import ndimage

from waterscape.metrics.hydro_morphology import MEAN, SCALES, describe, fractal_dimension, hydro_morphology_distance


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


def test_fractal_dimensions_that_are_known():
    rows, columns = np.mgrid[:128, :128]
    for name, water in {"a straight shore": rows < 64, "a slanting one": 3 * rows < 2 * columns}.items():
        assert fractal_dimension(water) == pytest.approx([1.0], abs=0.02), name
    assert fractal_dimension(discs(40, [(64, 64)], 128) > 0) == pytest.approx([1.0], abs=0.06)
    assert fractal_dimension(np.random.default_rng(0).random((128, 128)) < 0.5)[0] > 1.9
    # A rough ground's shores have the dimension 2 - H (Mandelbrot 1975), of which pixels show a part.
    grounds = {hurst: [rough_ground(256, hurst, seed) > 0 for seed in range(6)] for hurst in (0.2, 0.5, 0.8)}
    found = {hurst: np.mean([fractal_dimension(water)[0] for water in some]) for hurst, some in grounds.items()}
    assert 1.05 < found[0.8] < found[0.5] - 0.08 < found[0.2] - 0.2
    assert all(dimension < 2 - hurst for hurst, dimension in found.items())
    assert fractal_dimension(np.ones((64, 64), bool)) == []


def rough_ground(side, hurst, seed):
    """A fractional Brownian surface, by its spectrum: power falls with frequency to the −2H − 2."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    noise = np.random.default_rng(seed).normal(size=(side, side))
    return np.fft.ifft2(np.fft.fft2(noise) * frequency ** -(hurst + 1)).real


def test_a_wider_river_is_wider():
    def river(half):
        return np.repeat((abs(np.arange(64) - 32) < half)[:, None] * 100, 64, 1).astype(np.uint8)

    narrow, wide = describe([river(3), river(9)])["width"]
    assert wide - narrow == pytest.approx(np.log(17 / 5), abs=0.3)


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
