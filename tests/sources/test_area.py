"""Study areas: what GeoJSON may hold, where the Earth's longitudes jump, and what is no area."""

from __future__ import annotations

import json

import pytest
import shapely

from waterscape.errors import UserError
from waterscape.sources.area import box_area, read_area

SQUARE = [[10, 50], [12, 50], [12, 52], [10, 52], [10, 50]]
HOLE = [[10.5, 50.5], [10.5, 51], [11, 51], [11, 50.5], [10.5, 50.5]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (polygon(SQUARE), 4),
        (polygon(SQUARE, HOLE), 3.75),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [[[x + 5, y] for x, y in SQUARE]]]}, 8),
        (feature(polygon([[*place, 120.0] for place in SQUARE])), 4),
        ({"type": "FeatureCollection", "features": [feature(polygon(SQUARE)), feature(polygon(SQUARE))]}, 4),
        ({"type": "FeatureCollection", "features": [feature(None), feature(polygon(SQUARE))]}, 4),
        ("\ufeff" + json.dumps(polygon(SQUARE)), 4),
        ({"type": "GeometryCollection", "geometries": [polygon(SQUARE)]}, 4),
        (polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]), 2),
        (polygon([[179, 0], [181, 0], [181, 1], [179, 1], [179, 0]]), 2),
        (
            polygon([[170, 0], [-170, 0], [-170, 9], [170, 9], [170, 0]], [[-175, 1], [-175, 2], [-174, 2], [-175, 1]]),
            179.5,
        ),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [[[x - 360, y] for x, y in SQUARE]]]}, 4),
    ],
)
def test_whatever_geojson_says_of_polygons_is_read(tmp_path, content, size):
    area = read_area(written(tmp_path / "area.geojson", content))
    assert area.shape.area == pytest.approx(size)
    assert area.shape.is_valid
    west, _, east, _ = area.shape.bounds
    assert -180 <= west < east <= 180
    again = read_area(written(tmp_path / "again.geojson", area.geojson()))
    assert again.digest == area.digest


def test_an_area_across_the_antimeridian_is_the_same_however_it_is_written(tmp_path):
    jumping = polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]])
    beyond = polygon([[179, 0], [181, 0], [181, 1], [179, 1], [179, 0]])
    cut = [[[[w, 0], [e, 0], [e, 1], [w, 1], [w, 0]]] for w, e in ((179, 180), (-180, -179))]
    areas = [
        read_area(written(tmp_path / f"{number}.geojson", content))
        for number, content in enumerate([jumping, beyond, {"type": "MultiPolygon", "coordinates": cut}])
    ] + [box_area(0, 179, 1, -179), box_area(0, 179, 1, 181)]
    wanted = shapely.union_all([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])
    assert all(area.shape.equals(wanted) for area in areas)
    assert len({area.digest for area in areas}) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ([1, 2], "nothing that GeoJSON knows"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "is a Point: an area is made of"),
        ({"type": "FeatureCollection", "features": [feature(None)]}, "holds no polygon"),
        (feature(None), "holds no polygon"),
        (
            {"type": "FeatureCollection", "features": [feature(polygon(SQUARE)), {"type": "Feature"}]},
            "feature 2 is a Feature: an area is made of",
        ),
        (polygon(), "without an outline"),
        (polygon(SQUARE[:-1]), "not closed"),
        (polygon([[1], [2], [3], [1]]), "a position that is not"),
        (polygon([["a", "b"]] * 4), "a position that is not"),
        (polygon([[400_000, 6_200_000], [400_030, 6_200_000], [400_030, 6_200_030], [400_000, 6_200_000]]), "degrees"),
        (polygon([[50, 100], [51, 100], [51, 101], [50, 100]]), "degrees, longitude first"),
        (polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]), "no valid polygon: Self-intersection[0.5 0.5]"),
        (polygon([[0, 0], [1, 1], [2, 2], [0, 0]]), "no valid polygon"),
        (polygon([[0, 80], [90, 80], [180, 80], [-90, 80], [0, 80]]), "goes around a pole"),
    ],
)
def test_what_is_no_area_is_named(tmp_path, content, words):
    with pytest.raises(UserError, match=r"area\.geojson") as error:
        read_area(written(tmp_path / "area.geojson", content))
    assert words in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.geojson cannot be read \(No such file or directory\)"):
        read_area(tmp_path / "none.geojson")


@pytest.mark.parametrize("box", [(10, 0, 5, 1), (-91, 0, 5, 1), (0, 5, 1, 5), (0, -200, 1, 5), (0, float("nan"), 1, 5)])
def test_what_is_no_box_is_named(box):
    with pytest.raises(UserError, match=r"--box .* give S,W,N,E in degrees"):
        box_area(*box)
