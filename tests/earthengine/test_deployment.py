"""What a deployment is made of: its pixels, its regions and plan, and how its water is compared with others'."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from pyproj import CRS

from waterscape.earthengine.agreement import Agreement
from waterscape.earthengine.comparison import probability
from waterscape.earthengine.deploy import Deployment, Region, compiled_water, training_pixels
from waterscape.earthengine.pixels import Pixels
from waterscape.errors import UserError
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.sources.area import box_area
from waterscape.sources.landsat.bands import BANDS

HERE = box_area(60.0, 37.0, 60.1, 37.3)
FACTS = {"tiles": {"side": 128, "metres_per_pixel": 30.0, "crs": None, "bands": list(BANDS)}}


@pytest.fixture(scope="module")
def compiled():
    torch.manual_seed(0)
    return compiled_water(PixelNetwork(), Pixels("EPSG:32637", 30.0))


@pytest.mark.parametrize(
    ("trained", "asked", "area", "crs"),
    [
        (None, None, HERE, "EPSG:32637"),
        ("EPSG:32718", None, HERE, "EPSG:32637"),
        ("EPSG:4326", None, HERE, "EPSG:4326"),
        (None, "EPSG:3035", HERE, "EPSG:3035"),
        (None, None, box_area(-10.0, -75.2, -9.9, -75.1), "EPSG:32718"),
        (None, None, box_area(10.0, 179.5, 10.1, 179.9), "EPSG:32660"),
    ],
)
def test_pixels_are_of_the_size_that_was_learnt(trained, asked, area, crs):
    pixels, sentence = training_pixels({"tiles": {**FACTS["tiles"], "crs": trained}}, area, asked)
    assert pixels.crs == crs
    side = 30 / 111319.49079327358 if CRS(crs).is_geographic else 30.0
    assert pixels.lattice == (side, 0.0, 0.0, 0.0, -side, 0.0)
    assert "30 m" in sentence


def test_a_run_that_does_not_tell_its_pixels_is_refused():
    with pytest.raises(UserError, match="--metres-per-pixel"):
        training_pixels({"tiles": None}, HERE)
    with pytest.raises(UserError, match="other bands"):
        training_pixels({"tiles": {**FACTS["tiles"], "bands": ["B1"]}}, HERE)


def test_an_exports_pixels_are_counted(compiled):
    count = Region("here", HERE).pixels(compiled.pixels)
    square_metres = 0.1 * 111_412 * 0.3 * 111_320 * math.cos(math.radians(60.05))
    assert 1 < count / (square_metres / 900) < 1.1  # of a rectangle around one that is turned by 2 degrees
    estimate = " ".join(deployment(compiled, Region("here", HERE)).estimate())
    assert f"{count:,} pixels the largest, {2 * count:,} in all" in estimate


def deployment(compiled, *regions, years=(2019, 2020), asset="projects/demo-water/assets/water"):
    return Deployment(compiled, regions, years, asset, {"model": "pixel_cnn:reference"})


def test_plans_are_told_apart(compiled):
    here, there = Region("here", HERE), Region("here", box_area(60.0, 37.0, 60.1, 37.4))
    plan = deployment(compiled, here).plan
    assert plan == deployment(compiled, here).plan == json.loads(json.dumps(plan))
    assert plan["regions"] != deployment(compiled, there).plan["regions"]
    torch.manual_seed(1)
    other = compiled_water(PixelNetwork(), compiled.pixels)
    assert plan["graph_sha256"] != deployment(other, here).plan["graph_sha256"]


@pytest.mark.parametrize(
    ("regions", "years", "message"),
    [
        ([Region("here", HERE), Region("here", HERE)], (2019,), "two regions are called here"),
        ([Region("far", box_area(60.0, 60.0, 60.1, 60.3))], (2019,), "reaches beyond EPSG:32637"),
        ([Region("here", HERE)], (2010,), "first summer"),
    ],
)
def test_what_cannot_be_deployed_is_told(compiled, regions, years, message):
    with pytest.raises(UserError, match=message):
        deployment(compiled, *regions, years=years)


def test_regions_have_names_that_assets_may_have():
    assert Region.named("my área, 2", HERE).name == "my-rea-2"
    assert Region.named("…", HERE).name == "region"
    assert Region("south", box_area(-10.0, -75.2, -9.9, -75.1)).southern


def test_the_probability_is_known_where_all_that_is_seen_is_known():
    torch.manual_seed(0)
    network = PixelNetwork()
    bands = np.random.default_rng(0).normal(size=(20, 24, 8))
    bands[10, 12, 3] = np.nan
    found = probability(network, bands)
    unknown = np.ones((20, 24), bool)
    unknown[3:-3, 3:-3] = False
    unknown[7:14, 9:16] = True
    np.testing.assert_array_equal(np.isnan(found), unknown)
    window = torch.from_numpy(np.moveaxis(bands[2:9, 3:10], -1, 0)[None]).float()
    theirs = torch.softmax(network(window), 1)[0, 0, 0, 0].item()
    assert found[5, 6] == pytest.approx(theirs, abs=1e-6)
    assert next(network.parameters()).dtype == torch.float32


def test_agreement_is_counted_where_both_are_known():
    ours = np.array([[1.0, 1.0], [0.0, np.nan]])
    occurrence = np.array([[0.9, 0.1], [0.0, 1.0]])
    facts = Agreement(ours, occurrence, 1, 900.0).facts()
    assert (facts["pixels"], facts["iou"]) == (3, 0.5)
    assert facts["agreement"] == pytest.approx(2 / 3)
    assert facts["ours km2"] == pytest.approx(2 * 900 / 1e6)
    assert facts["mean absolute difference"] == pytest.approx(1 / 3)
    with pytest.raises(UserError, match="none of the deployed"):
        Agreement(ours * np.nan, occurrence, 1, 900.0).facts()
