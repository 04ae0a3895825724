"""One network for many tiles: nobody is judged by what was taught their place, and mistakes of a tile are outvoted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from drawn_tiles import lake

from waterscape.errors import UserError
from waterscape.labels.confident import doubted
from waterscape.labels.features import Patches, seven_features
from waterscape.labels.learner import water_probability
from waterscape.labels.pooled import Pooled, folds_of, gather_classes, relabel, teach_network, usual_land
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER


def test_places_are_not_torn_and_folds_have_equally_many():
    groups = [f"place {number % 13}" for number in range(60)]
    folds = folds_of(groups, 4, 1)
    of = dict(zip(groups, folds, strict=True))
    assert [of[name] for name in groups] == folds
    assert sorted(Counter(of.values()).values()) == [3, 3, 3, 4]
    assert folds_of(groups[::-1], 4, 1) == folds[::-1]
    assert set(folds_of(["a", "b", "a"], 4, 1)) == {0, 1}


def test_one_place_cannot_be_judged_by_others():
    with pytest.raises(UserError, match="--recipe fast"):
        folds_of(["here"] * 5, 4, 1)


def test_patches_are_drawn_by_class_equally_from_all_tiles():
    bands, water = lake(24)
    features = seven_features(bands)
    given = np.where(water, WATER, LAND).astype(np.uint8)
    given[:4] = UNKNOWN
    wet, dry = gather_classes(((n, features, given) for n in range(3)), 3, 150, 1)
    assert len(wet) == len(dry) == 150
    assert (wet[:, 3, 3, 3] < 0.1).all()  # near infrared in the middle of the patch: dark
    assert (dry[:, 3, 3, 3] > 0.2).all()
    with pytest.raises(UserError, match="no water"):
        gather_classes([(0, features, np.zeros_like(given))], 1, 100, 1)


def test_labels_change_only_beyond_the_thresholds():
    probability = np.array([[0.49, 0.51, 0.02, 0.04, np.nan, np.nan, 0.9, 0.1]], np.float32)
    given = np.array([[LAND, LAND, WATER, WATER, LAND, WATER, UNKNOWN, UNKNOWN]], np.uint8)
    expected = [[LAND, WATER, LAND, WATER, LAND, WATER, UNKNOWN, UNKNOWN]]
    np.testing.assert_array_equal(relabel(given, probability, 0.5, 0.97), expected)


def test_a_lake_that_a_label_left_out_is_found_by_what_other_tiles_teach():
    bands, water = lake(32)
    features, noised = seven_features(bands), water.astype(np.uint8)
    noised[np.random.default_rng(0).uniform(size=noised.shape) < 0.1] ^= 1
    classes = gather_classes([(0, features, noised)], 1, 1000, 1)
    network = teach_network(*classes, Pooled(steps=60, batch=64), 1)
    probability = water_probability(network, Patches(features))
    usual = usual_land(network, classes[1])
    assert 0.5 < usual < 0.95  # it learnt that a label of land is not always right
    assert (relabel(np.zeros_like(noised), probability, 0.5, usual) == water).mean() > 0.97
    assert (relabel(noised, probability, 0.5, usual) == water).mean() > (noised == water).mean() + 0.04


def test_confident_learning_doubts_labels_off_the_diagonal():
    pytest.importorskip("cleanlab")
    draw = np.random.default_rng(0)
    truth = draw.uniform(size=4000) < 0.3
    probability = np.clip(np.where(truth, 0.95, 0.05) + draw.normal(0, 0.03, 4000), 0, 1).astype(np.float32)
    flipped = draw.uniform(size=4000) < 0.1
    doubts = doubted(truth ^ flipped, probability)
    assert doubts[flipped].mean() > 0.9  # it calls as many mistakes as it counts, the surest ones first
    assert doubts[~flipped].mean() < 0.01
    assert not doubted(np.ones(5, bool), np.zeros(5, np.float32)).any()


def test_high_ground_is_not_taught():
    bands, water = lake(24)
    bands[12:, :, -1] = 1400 / 4000
    given = np.where(water, WATER, LAND).astype(np.uint8)
    features = seven_features(bands)
    wet, dry = gather_classes([(0, features, given)], 1, 10_000, 1)
    low, known = np.arange(24)[:, None] < 12, Patches(features).known
    assert (len(wet), len(dry)) == ((water & low & known).sum(), (~water & low & known).sum())
