"""Outlines: those of the whole mask, however it is cut; holes and corners; areas; the GeoPackage that others read."""

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyproj import Geod
from rasterio.features import shapes
from rasterio.transform import from_origin

from waterscape.rasters import outlines
from waterscape.rasters.outlines import bodies, write_outlines
from waterscape.sources.landsat.raster_file import Grid


def cut(mask, rows):
    return (mask[row : row + rows] for row in range(0, len(mask), rows))


def at_once(mask):
    """GDAL's outlines of the whole."""
    found = shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return [shapely.Polygon(shape["coordinates"][0], shape["coordinates"][1:]) for shape, _ in found]


def texts(polygons):
    return sorted(shapely.to_wkt(shapely.normalize(polygon)) for polygon in polygons)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)), st.integers(1, 12))
def test_strips_give_the_outlines_of_the_whole(mask, rows):
    found = list(bodies(cut(mask, rows)))
    assert texts(found) == texts(at_once(mask))
    assert all(polygon.is_valid for polygon in found)


def test_a_lake_with_an_island_over_many_strips_is_one():
    mask = np.zeros((20, 15), bool)
    mask[2:18, 2:13] = True
    mask[6:12, 5:9] = False
    mask[8, 6] = True  # a pond on the island
    lake, pond = sorted(bodies(cut(mask, 3)), key=lambda body: -body.area)
    assert lake.area == 16 * 11 - 6 * 4
    assert len(lake.interiors) == 1
    assert shapely.get_num_coordinates(lake) == 5 + 5  # no corner is left at a seam
    assert pond.equals(shapely.box(6, 8, 7, 9))


def test_bodies_that_meet_late_are_one():
    """A comb: its teeth are apart until the last row."""
    mask = np.zeros((40, 41), bool)
    mask[:, ::2] = True
    mask[-1] = True
    (comb,) = bodies(cut(mask, 4))
    assert comb.area == mask.sum()


def test_open_bodies_alone_are_kept():
    """However many bodies there are, each is given away when its last row is done."""
    mask = np.zeros((4000, 20), bool)
    mask[::2, ::2] = True
    given_away = bodies(cut(mask, 10))
    first = [next(given_away) for _ in range(50)]
    assert max(body.bounds[3] for body in first) <= 10


GRID = Grid("EPSG:32637", from_origin(400_000, 6_100_000, 30, 30), 40, 40, 30.0, degrees=False)


@pytest.fixture
def mask():
    made = np.zeros((40, 40), bool)
    made[5:15, 5:25] = True
    made[8:10, 8:12] = False
    made[30, 30] = True
    return made


def test_a_geopackage_that_others_read(mask, tmp_path, monkeypatch):
    monkeypatch.setattr(outlines, "AT_ONCE", 1)
    path = tmp_path / "water.gpkg"
    assert write_outlines(cut(mask, 7), path, GRID) == 2
    about, _, shapes_there, (areas, pixels) = pyogrio.raw.read(path)
    assert about["crs"] == "EPSG:32637"
    assert about["geometry_type"] == "Polygon"
    assert dict(zip(about["fields"], (areas.tolist(), pixels.tolist()), strict=True)) == {
        "area_m2": [192 * 900, 900],
        "pixels": [192, 1],
    }
    lake, pond = shapely.from_wkb(shapes_there)
    assert lake.bounds == (400_150, 6_099_550, 400_750, 6_099_850)
    assert len(lake.interiors) == 1
    assert pond.equals(shapely.box(400_900, 6_099_070, 400_930, 6_099_100))


def test_areas_in_degrees_are_those_of_the_ground(mask, tmp_path):
    step = 30 / 111_319.490793
    grid = Grid("EPSG:4326", from_origin(50, 60, step, step), 40, 40, 30.0, degrees=True)
    write_outlines([mask], tmp_path / "water.gpkg", grid)
    areas, pixels = pyogrio.raw.read(tmp_path / "water.gpkg")[3]
    height, width = (Geod(ellps="WGS84").inv(50, 60, 50 + dx, 60 + dy)[2] for dx, dy in ((0, step), (step, 0)))
    np.testing.assert_allclose(areas, pixels * height * width, rtol=5e-4)
    assert areas[0] < 0.55 * 900 * pixels[0]  # half as wide as at the equator


def test_areas_in_feet_are_in_square_metres(mask, tmp_path):
    grid = Grid("EPSG:2263", from_origin(980_000, 200_000, 100, 100), 40, 40, 30.48, degrees=False)
    write_outlines([mask], tmp_path / "water.gpkg", grid)
    areas, pixels = pyogrio.raw.read(tmp_path / "water.gpkg")[3]
    np.testing.assert_allclose(areas, pixels * (100 * 1200 / 3937) ** 2)


def test_no_water_is_a_layer_without_bodies(tmp_path):
    assert write_outlines([np.zeros((5, 40), bool)], tmp_path / "water.gpkg", GRID) == 0
    about, _, shapes_there, _ = pyogrio.raw.read(tmp_path / "water.gpkg")
    assert (about["crs"], len(shapes_there)) == ("EPSG:32637", 0)
    assert set(about["fields"]) == {"area_m2", "pixels"}


def test_a_folder_that_is_not_there_is_told(mask, tmp_path):
    with pytest.raises(OSError, match=r"water\.gpkg could not be written"):
        write_outlines([mask], tmp_path / "none" / "water.gpkg", GRID)
