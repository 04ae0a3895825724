"""Parts of a country: their areas by a law, their names, boxes and halves."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod

from waterscape.errors import UserError
from waterscape.sources.area import Area, box_area, joined
from waterscape.sources.occurrence_export.parts import (
    REFERENCE_CUTS,
    REFERENCE_KM2,
    Cut,
    Part,
    apply_cuts,
    ground_km2,
    halved,
    named,
    reference_names,
    safe_name,
)


def zone_km2(west, south, east, north):
    """The area between parallels and meridians, by geodesics: a second implementation."""
    whole = 0.0
    for left in np.arange(west, east, 60.0):
        right = min(left + 60, east)
        box = shapely.segmentize(shapely.box(left, south, right, north), 0.1)
        whole += abs(Geod(ellps="WGS84").geometry_area_perimeter(box)[0]) / 1e6
    return whole


@pytest.mark.parametrize("box", [(10, 0, 20, 10), (115, 66, 193, 78), (-179, -60, 179, 70), (30, 80, 31, 89)])
def test_areas_are_those_of_the_ellipsoid(box):
    west, south, east, north = box
    assert ground_km2(box_area(south, west, north, east).shape) == pytest.approx(zone_km2(*box), rel=1e-5)


def test_names_fit_folders_drive_buckets_and_tasks():
    assert safe_name("baikal/tyumen") == "baikal-tyumen"
    assert safe_name("../../etc") == "etc"
    assert safe_name("Čukotka · Анадырь") == "Cukotka"
    assert safe_name("Анадырь") == "part"
    assert len(safe_name("x" * 500)) == 40
    area = box_area(0, 0, 1, 1)
    assert [part.name for part in named([("a", area), ("A", area), ("a/", area)])] == ["a", "A-2", "a-3"]


def test_the_references_parts_are_known_by_their_areas():
    def area(km2, north):
        """A band between parallels that has so many km²."""
        return box_area(north - 10, 0, north, km2 / zone_km2(0, north - 10, 1, north))

    areas = [area(km2, 70 - number) for number, km2 in enumerate(REFERENCE_KM2.values())]
    assert reference_names(areas[::-1]) == list(REFERENCE_KM2)[::-1]
    assert reference_names(areas[:5]) is None
    assert reference_names([*areas[:5], area(2_000_000, 60)]) is None


def test_the_references_boxes_cut_over_the_antimeridian():
    lena = Part("lena", box_area(45, 100, 77, 191))
    surgut = Part("surgut", box_area(45, 70, 77, 100))
    parts = apply_cuts([surgut, lena], [Cut.read(words) for words in REFERENCE_CUTS])
    assert [part.name for part in parts] == ["surgut", "lena", "dezhnev_south", "dezhnev_north"]
    assert sum(part.km2 for part in parts) == pytest.approx(surgut.km2 + lena.km2, rel=1e-6)
    for one in range(4):
        for other in range(one):
            assert (parts[one].area.shape & parts[other].area.shape).area < 1e-9
    south, north = parts[2:]
    assert north.km2 == pytest.approx(zone_km2(115.37264142588786, 66.30313636189791, 191, 77), rel=2e-4)
    assert shapely.contains_xy(north.area.shape, -170, 70)
    assert shapely.contains_xy(south.area.shape, -170, 60)
    assert not shapely.contains_xy(south.area.shape, -170, 66.5)  # less the north box
    assert north.area.shape.bounds[::2] == (-180, 180)


@pytest.mark.parametrize("box", [(0, 50, 40, 60), (0, -60, 4, 60), (170, 60, 195, 65)])
def test_halves_have_equal_ground_and_lie_where_they_say(box):
    west, south, east, north = box
    whole = Part("x", box_area(south, west, north, east))
    first, second = halved(whole, whole.km2 * 0.6)
    across = {"x-west", "x-east"} if east - west > 10 else {"x-north", "x-south"}
    assert {first.name, second.name} == across
    assert first.km2 == pytest.approx(whole.km2 / 2, rel=5e-3)
    assert first.km2 + second.km2 == pytest.approx(whole.km2, rel=1e-6)
    if box[2] > 180:
        assert shapely.contains_xy(second.area.shape, -170, 62)
        assert shapely.contains_xy(first.area.shape, 171, 62)
    pieces = halved(whole, whole.km2 / 10)
    assert len(pieces) == 16
    assert max(piece.km2 for piece in pieces) <= whole.km2 / 10
    assert len({piece.name for piece in pieces}) == 16


def test_a_ragged_part_is_halved_by_ground_not_by_its_box():
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 6 + np.sin(7 * angles) + 3 * (angles < 1)
    star = shapely.Polygon(np.stack([40 + 2 * radius * np.cos(angles), 62 + radius * np.sin(angles)], 1))
    whole = Part("star", Area(shapely.MultiPolygon([star])))
    one, other = halved(whole, whole.km2 * 0.7)
    assert one.km2 == pytest.approx(other.km2, rel=1e-2)
    assert one.km2 + other.km2 == pytest.approx(whole.km2, rel=1e-6)


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (60, 0), (60, 60)],
        [(90, 50), (150, 50), (150, 75)],
        [(0, -60), (8, -60), (8, 60)],
        [(160, 10), (230, 60), (170, 70)],
    ],
)
def test_long_slanted_edges_stay_where_they_are(corners):
    whole = Part("x", joined([shapely.Polygon(corners)], "x"))
    one, other = halved(whole, whole.km2 * 0.7)
    both = shapely.union_all([one.area.shape, other.area.shape])
    assert (both ^ whole.area.shape).area < 1e-9 * whole.area.shape.area
    assert (one.area.shape & other.area.shape).area < 1e-9
    assert one.km2 == pytest.approx(other.km2, rel=1e-2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a", "give NAME=S,W,N,E"),
        ("a=1,2,3", "give NAME=S,W,N,E"),
        ("=1,2,3,4", "give NAME=S,W,N,E"),
        ("/a=1,2,3,4", "give NAME=S,W,N,E"),
        ("a=1,2,3,x", "give NAME=S,W,N,E"),
        ("a=9,2,3,4", "give S,W,N,E in degrees"),
        ("a=60,10,61,11", "holds no ground of the area"),
        ("none/a=0,0,1,1", "there is no such part"),
    ],
)
def test_a_box_that_does_not_fit_is_refused(words, told):
    with pytest.raises(UserError, match=told):
        apply_cuts([Part("x", box_area(0, 0, 10, 10))], [Cut.read(words)])
