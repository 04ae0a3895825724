"""Known noise: as much as was asked for, of the kind that was asked for, the same wherever it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from waterscape.labels.noise import KINDS, Noise
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER


@pytest.fixture
def label():
    """A lake, three ponds and a strip that is not known: H W."""
    made = np.zeros((96, 96), np.uint8)
    made[20:60, 10:50] = WATER
    made[70:76, 70:76] = made[80:84, 20:24] = made[5:7, 80:82] = WATER
    made[:, 90:] = UNKNOWN
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_stays_so_and_the_draw_is_a_function_of_its_arguments(kind, label):
    noise = Noise(kind, 0.1)
    spoiled = noise.spoil(label, 3, 7)
    assert (spoiled[label == UNKNOWN] == UNKNOWN).all()
    assert set(np.unique(spoiled)) <= {WATER, LAND, UNKNOWN}
    np.testing.assert_array_equal(spoiled, noise.spoil(label.copy(), 3, 7))


def test_random_noise_flips_its_share_of_both_classes(label):
    spoiled = Noise("random", 0.2).spoil(label, 1, 2)
    for kind in (WATER, LAND):
        here = label == kind
        share, deviation = (spoiled != label)[here].mean(), np.sqrt(0.2 * 0.8 / here.sum())
        assert abs(share - 0.2) < 4 * deviation
    assert (spoiled != Noise("random", 0.2).spoil(label, 1, 3)).any()  # another tile, another draw


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_shifted_edges_flip_about_their_share_and_only_near_the_shores(label, share):
    spoiled = Noise("edges", share).spoil(label, 5, 1)
    flipped = (spoiled != label) & (label != UNKNOWN)
    water = np.count_nonzero(label == WATER)
    assert share * water <= flipped.sum() < (share + 0.1) * water
    shores = ndimage.distance_transform_cdt(label != WATER) + ndimage.distance_transform_cdt(label == WATER)
    assert shores[flipped].max() <= 8
    assert abs(np.count_nonzero(spoiled == WATER) - water) < 0.05 * water  # moved, not made larger


def test_the_smallest_bodies_are_left_out_and_nothing_else(label):
    spoiled = Noise("bodies", 0.05).spoil(label, 5, 1)
    bodies, count = ndimage.label(label == WATER, np.ones((3, 3)))
    areas = np.bincount(bodies.ravel())[1:]
    gone = [number for number in range(1, count + 1) if (spoiled[bodies == number] == LAND).all()]
    assert sorted(areas[np.array(gone) - 1]) == [4, 16, 36]
    assert (spoiled[~np.isin(bodies, gone)] == label[~np.isin(bodies, gone)]).all()
    assert (Noise("bodies", 0.001).spoil(label, 5, 1) == label).all()  # the smallest one is more than that already
