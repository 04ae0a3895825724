"""What a deployment is made of: its pixels, its regions and plan, and how its water is compared with others'."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from pyproj import CRS, Transformer

from waterscape.earthengine.agreement import Agreement
from waterscape.earthengine.comparison import probability
from waterscape.earthengine.deploy import Deployment, Region, compiled_water, training_pixels
from waterscape.earthengine.pixels import Pixels
from waterscape.errors import UserError
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.sources.area import box_area
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.grid import tiles_over

HERE = box_area(60.0, 37.0, 60.1, 37.3)
PERU = box_area(-10.0, -75.2, -9.9, -75.1)
FACTS = {"tiles": {"side": 128, "metres_per_pixel": 30.0, "crs": None, "bands": list(BANDS)}}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PixelNetwork()


@pytest.fixture(scope="module")
def compiled(network):
    return compiled_water(network, Pixels("EPSG:32637", 30.0))


@pytest.mark.parametrize(
    ("trained", "asked", "area", "crs"),
    [
        (None, None, HERE, "EPSG:32637"),
        ("EPSG:32718", None, HERE, "EPSG:32637"),
        ("EPSG:4326", None, HERE, "EPSG:4326"),
        (None, "EPSG:3035", HERE, "EPSG:3035"),
        (None, None, PERU, "EPSG:32718"),
        (None, None, box_area(10.0, 179.5, 10.1, 179.9), "EPSG:32660"),
    ],
)
def test_pixels_are_of_the_size_that_was_learnt(trained, asked, area, crs):
    pixels, sentence = training_pixels({"tiles": {**FACTS["tiles"], "crs": trained}}, area, asked)
    assert pixels.crs == crs
    side = 30 / 111319.49079327358 if CRS(crs).is_geographic else 30.0
    assert (pixels.lattice[0], pixels.lattice[4]) == (side, -side)
    assert "30 m" in sentence


@pytest.mark.parametrize(
    ("area", "crs", "scenes"),
    [(HERE, None, "EPSG:32637"), (PERU, None, "EPSG:32618"), (PERU, "EPSG:32618", "EPSG:32618")],
)
def test_pixels_of_utm_are_landsats(area, crs, scenes):
    """Whose northings are negative in the south, with corners at odd multiples of 15 m."""
    pixels, _ = training_pixels(FACTS, area, crs)
    corner = Transformer.from_crs(pixels.crs, scenes, always_xy=True).transform(
        pixels.lattice[2] + 30 * 14_000, pixels.lattice[5] + 30 * 200_000
    )
    assert [place % 30 for place in corner] == pytest.approx([15, 15], abs=1e-3)


@pytest.mark.parametrize("area", [HERE, PERU])
def test_pixels_are_those_of_exported_tiles(area):
    pixels, _ = training_pixels(FACTS, area)
    for tile in tiles_over(area, "utm", 32):
        assert tile.crs == pixels.crs
        assert (tile.transform[2] % 30, tile.transform[5] % 30) == (pixels.lattice[2], pixels.lattice[5])


def test_other_sizes_begin_at_the_origin():
    pixels, _ = training_pixels({"tiles": {**FACTS["tiles"], "metres_per_pixel": 10.0}}, HERE)
    assert pixels.lattice == (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)


def test_degrees_are_for_runs_that_learnt_degrees():
    for trained in (None, "EPSG:32637"):
        with pytest.raises(UserError, match="EPSG:4326 is in degrees, and the run's tiles were not"):
            training_pixels({"tiles": {**FACTS["tiles"], "crs": trained}}, HERE, "EPSG:4326")
    assert training_pixels({"tiles": {**FACTS["tiles"], "crs": "EPSG:4326"}}, HERE, "EPSG:4258")[0].crs == "EPSG:4258"


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
    assert Region.named("a" * 79 + " " + "b" * 99, HERE).name == "a" * 79
    assert Region("south", PERU).southern


@pytest.mark.parametrize(
    ("crs", "area", "told"),
    [
        ("EPSG:3857", HERE, r"a metre of EPSG:3857 is 0\.50 m on the ground in here"),
        ("EPSG:6933", HERE, "on the ground"),  # areas are true, lengths are not
        ("EPSG:3857", box_area(-5.0, 10.0, -4.9, 10.1), None),
        ("EPSG:3035", HERE, None),
        ("EPSG:32637", box_area(60.0, 42.4, 60.1, 42.5), None),
    ],
)
def test_a_metre_is_one_on_the_ground(network, crs, area, told):
    there = compiled_water(network, Pixels(crs, 30.0))
    with pytest.raises(UserError, match=told) if told else nullcontext():
        deployment(there, Region("here", area))


@pytest.mark.parametrize("crs", ["EPSG:32660", "EPSG:4326"])
def test_a_region_across_180_degrees_is_to_be_cut(network, crs):
    taveuni = Region("taveuni", box_area(-17.0, 179.9, -16.7, -179.9))
    with pytest.raises(UserError, match="taveuni crosses 180°: cut it there into two files"):
        deployment(compiled_water(network, Pixels(crs, 30.0)), taveuni)
    east = Region("east", box_area(16.7, 179.9, 17.0, 180.0))
    assert deployment(compiled_water(network, Pixels(crs, 30.0)), east).regions == (east,)


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
