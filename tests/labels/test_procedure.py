"""The three rounds: what is drawn, what is sure, and that they find a lake that a label half forgot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_tiles import lake, scene

from waterscape.labels.correction import RECIPES
from waterscape.labels.features import Patches, seven_features
from waterscape.labels.procedure import Rounds, balanced_draw, correct_tile, surely_water
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER

QUICK = Rounds(epochs=(12, 6, 6), batch=32, rate=3e-3, sure=0.8)


def test_the_literal_recipe_is_the_published_one():
    assert RECIPES["literal"] == Rounds(epochs=(30, 5, 5), batch=16, rate=1e-5, sure=0.95)


def test_as_much_land_as_water_is_drawn_or_all_of_it():
    label = np.zeros((10, 10), np.uint8)
    label[:3] = WATER
    label[9] = UNKNOWN
    taught = np.ones((10, 10), bool)
    taught[0] = False
    drawn = balanced_draw(label, taught, 1)
    kinds = label.ravel()[drawn]
    assert np.count_nonzero(kinds == WATER) == np.count_nonzero(kinds == LAND) == 20
    assert len(set(drawn)) == 40
    assert drawn.min() >= 10
    flooded = np.where(np.indices((10, 10))[0] < 8, WATER, LAND)
    assert len(balanced_draw(flooded, np.ones((10, 10), bool), 1)) == 100


def test_sure_water_has_six_usual_features_of_seven():
    features = np.random.default_rng(0).normal(0, 1, (50, 50, 7)).astype(np.float32)
    probability = np.full((50, 50), 0.99, np.float32)
    probability[0] = 0.9
    features[5, 5, 0] = 40  # one unusual feature is forgiven
    features[6, 6, :2] = 40
    found = surely_water(probability, features, np.ones((50, 50), bool), 0.95)
    mean, deviation = features[1:].reshape(-1, 7).mean(0), features[1:].reshape(-1, 7).std(0)
    expected = (np.abs(features - mean) < 3 * deviation).sum(-1) >= 6
    expected[0] = False
    np.testing.assert_array_equal(found, expected)
    assert found[5, 5]
    assert not found[6, 6]


def test_a_lake_is_found_again_whose_label_lost_a_part_and_gained_specks():
    bands, water = lake()
    given = water.astype(np.uint8)
    noise = np.random.default_rng(2).uniform(size=given.shape) < 0.1
    given[noise] = 1 - given[noise]
    given[:2] = UNKNOWN
    corrected = correct_tile(seven_features(bands), given, QUICK, 1)
    assert not corrected.left
    assert (corrected.label[:2] == UNKNOWN).all()
    known = given != UNKNOWN
    assert (corrected.label == water)[known].mean() > 0.98 > (given == water)[known].mean()


def test_the_same_arguments_give_the_same_label_and_another_seed_other_draws():
    bands, water = lake(16)
    features, given = seven_features(bands), water.astype(np.uint8)
    np.testing.assert_array_equal(
        correct_tile(features, given, QUICK, 1).label, correct_tile(features, given, QUICK, 1).label
    )
    taught = np.ones((16, 16), bool)
    assert (balanced_draw(given, taught, 1) != balanced_draw(given, taught, 2)).any()


@pytest.mark.parametrize(
    ("spoil", "left"),
    [
        (lambda bands, label: (bands, np.zeros_like(label)), "no water"),
        (lambda bands, label: (bands, np.ones_like(label)), "no land"),
        (lambda bands, label: (bands, np.full_like(label, UNKNOWN)), "nothing is known"),
        (lambda bands, label: (np.full_like(bands, np.nan), label), "nothing is known"),
    ],
)
def test_a_tile_with_nothing_to_learn_from_is_left_as_it_is(spoil, left):
    bands, water = lake(16)
    bands, given = spoil(bands, water.astype(np.uint8))
    corrected = correct_tile(seven_features(bands), given, QUICK, 1)
    assert corrected.left == left
    np.testing.assert_array_equal(corrected.label, given)


def test_pixels_from_1400_metres_up_are_not_taught():
    bands, water = lake(16, metres=1600)
    assert correct_tile(seven_features(bands), water.astype(np.uint8), QUICK, 1).left == "all above 1400 m"
    bands = scene(16, 16)
    low = bands[..., 7] < 0.35
    drawn = balanced_draw((np.indices((16, 16))[0] % 2).astype(np.uint8), low & Patches(seven_features(bands)).known, 3)
    assert (bands[..., 7].ravel()[drawn] * 4000 < 1400).all()


def test_a_network_that_is_sure_of_nothing_leaves_the_tile():
    bands, water = lake(16)
    hurried = replace(QUICK, epochs=(1, 1, 1), rate=1e-6)
    corrected = correct_tile(seven_features(bands), water.astype(np.uint8), hurried, 1)
    assert corrected.left == "nothing is surely water"
    np.testing.assert_array_equal(corrected.label, water)
