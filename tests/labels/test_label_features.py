"""The seven features against their formulas, and patches against the tile that they are cut from."""

from __future__ import annotations

import numpy as np
import torch
from drawn_tiles import scene

from waterscape.labels.features import FEATURES, Patches, seven_features
from waterscape.labels.learner import fresh_network, water_probability


def test_features_are_those_of_their_formulas():
    bands = scene()
    found = dict(zip(FEATURES, np.moveaxis(seven_features(bands), -1, 0), strict=True))
    blue, green, red, nir, swir = np.moveaxis(bands[..., :5], -1, 0).astype(float)
    np.testing.assert_allclose(found["NDVI"], (nir - red) / (nir + red), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["MNDWI"], (green - swir) / (green + swir), rtol=1e-5, atol=1e-6)
    for name, band in (("blue", blue), ("green", green), ("red", red), ("NIR", nir), ("elevation", bands[..., 7])):
        np.testing.assert_array_equal(found[name], band.astype(np.float32))


def test_one_pass_over_the_tile_is_the_network_at_every_gathered_patch():
    patches, network = Patches(seven_features(scene())), fresh_network(1)
    pixels = np.arange(20 * 24)
    with torch.no_grad():
        scores = network(torch.from_numpy(patches.gather(pixels)))[:, :, 0, 0]
    one_by_one = torch.softmax(scores, 1)[:, 0].reshape(20, 24)
    np.testing.assert_allclose(water_probability(network, patches), one_by_one, atol=1e-6)


def test_nodata_is_not_known_within_three_pixels():
    bands = scene()
    bands[10, 12, 0] = np.nan
    patches = Patches(seven_features(bands))
    expected = np.ones((20, 24), bool)
    expected[7:14, 9:16] = False
    np.testing.assert_array_equal(patches.known, expected)
    found = water_probability(fresh_network(1), patches)
    np.testing.assert_array_equal(np.isnan(found), ~expected)
    assert np.isfinite(patches.raster).all()


def test_the_line_band_which_is_unknown_at_the_edges_is_no_feature():
    assert Patches(seven_features(scene())).known.all()


def test_a_fresh_network_is_that_of_its_seed_and_leaves_torchs_own_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = fresh_network(1, 2), fresh_network(1, 2), fresh_network(1, 3)
    assert torch.rand(1) == expected
    assert torch.equal(one.first.weight, same.first.weight)
    assert not torch.equal(one.first.weight, other.first.weight)
