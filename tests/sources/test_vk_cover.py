"""Circles over an area: no gap anywhere on the Earth, hardly more of them than must be, none that touches nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import shapely
from pyproj import Geod
from scipy.spatial import cKDTree

from waterscape.errors import UserError
from waterscape.sources.area import box_area, read_area
from waterscape.sources.vk.cover import EARTH, cover

REFERENCE = (53.81, 36.58, 58.69, 40.42)
LATTICE = 1.5 * math.sqrt(3)  # radius squared: what a circle of a hexagonal cover of the plane accounts for


def points_of(latitudes, longitudes):
    y, x = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def anywhere(box, count=60_000):
    """Latitudes and longitudes of random points all over a box, and its corners."""
    south, west, north, east = box
    east += 360 if east < west else 0
    random = np.random.default_rng(7)
    heights = random.uniform(math.sin(math.radians(south)), math.sin(math.radians(north)), count)
    y, x = np.degrees(np.arcsin(heights)), random.uniform(west, east, count)
    corners = [(y, x) for y in (south, north) for x in (west, east)]
    return np.append(y, [y for y, _ in corners]), np.append(x, [x for _, x in corners])


def nearest(circles, y, x):
    """Metres from each point to the centre that is nearest, on the sphere and on WGS 84."""
    centres = np.array([(circle.latitude, circle.longitude) for circle in circles])
    chord, place = cKDTree(points_of(*centres.T)).query(points_of(y, x))
    ellipsoid = Geod(ellps="WGS84").inv(x, y, centres[place, 1], centres[place, 0])[2]
    return 2 * EARTH * np.arcsin(chord / 2), ellipsoid


@pytest.mark.parametrize(
    ("box", "radius"),
    [
        (REFERENCE, 6000),
        (REFERENCE, 50_000),
        ((-3, 178, 4, -177), 6000),
        ((79, -180, 90, 180), 50_000),
        ((-90, 20, -84, 200), 50_000),
        ((-72, -10, -60, 10), 50_000),
        ((89.9, 0, 90, 20), 800),
        ((55.75, 37.6, 55.755, 37.61), 10),
        ((55.75, 37.6, 55.7501, 37.6001), 100),
    ],
    ids=str,
)
def test_no_point_of_an_area_is_further_from_a_centre_than_the_radius(box, radius):
    circles = cover(box_area(*box), radius)
    for metres in nearest(circles, *anywhere(box)):
        assert metres.max() <= radius
    assert len({circle.name for circle in circles}) == len(circles)


@pytest.mark.parametrize("box", [(30, 0, 60, 60), (60, -180, 90, 180), (-20, 150, 20, -150)], ids=str)
def test_hardly_more_circles_than_a_hexagonal_lattice_has(box):
    south, west, north, east = (math.radians(degrees) for degrees in box)
    wide = (east - west) % (2 * math.pi) or 2 * math.pi
    square_metres = EARTH**2 * wide * (math.sin(north) - math.sin(south))
    around = EARTH * (wide * (math.cos(south) + math.cos(north)) + 2 * (north - south))
    least = (square_metres + around * 50_000) / (LATTICE * 50_000**2)
    assert len(cover(box_area(*box), 50_000)) < 1.07 * least


def test_only_circles_that_touch_the_area_and_none_in_its_hole(tmp_path):
    outer = [[30, 60], [34, 60], [34, 62], [30, 62], [30, 60]]
    hole = [[30.5, 60.3], [33.5, 60.3], [33.5, 61.7], [30.5, 61.7], [30.5, 60.3]]
    (tmp_path / "ring.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [outer, hole]}))
    area = read_area(tmp_path / "ring.geojson")
    circles = cover(area, 6000)
    y, x = anywhere((60, 30, 62, 34))
    inside = shapely.intersects_xy(area.shape, x, y)
    assert nearest(circles, y[inside], x[inside])[0].max() <= 6000
    edges = shapely.get_coordinates(shapely.segmentize(area.shape, 0.002))
    to_edge, _ = cKDTree(points_of(edges[:, 1], edges[:, 0])).query(
        points_of([one.latitude for one in circles], [one.longitude for one in circles])
    )
    within = shapely.intersects_xy(area.shape, [(one.longitude, one.latitude) for one in circles])
    assert (within | (to_edge * EARTH < 6000 * 1.02)).all()
    assert len(circles) < 0.7 * len(cover(box_area(60, 30, 62, 34), 6000))


def test_more_circles_than_anybody_waits_for_are_refused():
    with pytest.raises(UserError, match="take a larger --radius"):
        cover(box_area(*REFERENCE), 10)
