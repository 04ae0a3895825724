"""Grids over study areas: they cover them, without overlap, and ask for nothing beside them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from waterscape.errors import UserError
from waterscape.sources.area import Area, box_area
from waterscape.sources.landsat.grid import outline, tiles_over
from waterscape.sources.landsat.grid_map import draw_grid


def squares(tiles):
    return [shapely.Polygon(list(outline(tile))) for tile in tiles]


def ring(west, south, east, north, hole):
    shape = shapely.box(west, south, east, north).difference(shapely.box(*hole))
    return Area(shapely.MultiPolygon([shape]))


@pytest.mark.parametrize("box", [(55, 37, 56, 38.5), (-9.2, -75.3, -8, -74), (-0.2, -0.2, 0.2, 0.2), (-90, 0, -89, 1)])
@pytest.mark.parametrize("pixels", [501, 300])
def test_squares_of_degrees_cover_an_area_once(box, pixels):
    area = box_area(*box)
    tiles = tiles_over(area, "degrees", pixels)
    found = squares(tiles)
    assert shapely.union_all(found).buffer(1e-7).covers(area.shape)
    assert all(one.intersection(other).area < 1e-12 for one, other in itertools.combinations(found, 2))
    assert all(square.intersection(area.shape).area > 0 for square in found)
    assert len({tile.key for tile in tiles}) == len(tiles)
    assert all(tile.width == tile.height == pixels for tile in tiles if tile.bounds[1] > -90 and tile.bounds[3] < 90)


def test_the_reference_grid_has_tiles_of_0135_degrees_with_pixels_of_30_metres():
    (tile,) = tiles_over(box_area(55.81, 37.09, 55.92, 37.2), "degrees")
    assert tile.bounds == (37.08, 55.8, 37.215, 55.935)
    assert (tile.key, tile.width, tile.height) == ("N55.800E037.080", 501, 501)
    assert tile.transform[0] * 111_319.49 == pytest.approx(30, rel=2e-4)


def test_the_grid_does_not_depend_on_the_area():
    whole = {tile.key: tile for tile in tiles_over(box_area(55, 37, 56, 38), "degrees")}
    assert all(whole[tile.key] == tile for tile in tiles_over(box_area(55.3, 37.3, 55.5, 37.4), "degrees"))
    metres = {tile.key: tile for tile in tiles_over(box_area(55, 37, 56, 38), "utm")}
    assert all(metres[tile.key] == tile for tile in tiles_over(box_area(55.3, 37.3, 55.5, 37.4), "utm"))


def test_an_edge_on_a_tiles_edge_is_no_touch():
    tiles = tiles_over(box_area(55.8, 37.08, 55.935, 37.215), "degrees")
    assert [tile.key for tile in tiles] == ["N55.800E037.080"]


@pytest.mark.parametrize("kind", ["degrees", "utm"])
def test_tiles_in_a_hole_are_not_asked_for(kind):
    whole, holed = box_area(55, 37, 56, 38), ring(37, 55, 38, 56, (37.2, 55.2, 37.8, 55.8))
    left_out = {tile.key for tile in tiles_over(whole, kind)} - {tile.key for tile in tiles_over(holed, kind)}
    inside = shapely.box(37.2, 55.2, 37.8, 55.8)
    assert len(left_out) >= 4
    squares_of = dict(
        zip((tile.key for tile in tiles_over(whole, kind)), squares(tiles_over(whole, kind)), strict=True)
    )
    assert all(inside.covers(squares_of[key]) for key in left_out)


def test_tiles_of_degrees_end_at_the_antimeridian_and_are_the_same_from_both_sides():
    tiles = tiles_over(box_area(60, 179.6, 60.1, -179.6), "degrees")
    assert min(tile.bounds[0] for tile in tiles) == -180
    assert max(tile.bounds[2] for tile in tiles) == 180
    assert sorted({tile.width for tile in tiles}) == [334, 501]  # 360° are 2666 and two thirds


def test_squares_of_metres_have_metres_in_their_zone_and_leave_out_only_a_strip_between_zones():
    area = box_area(62, -0.6, 62.3, 0.6)
    tiles = tiles_over(area, "utm")
    assert {tile.crs for tile in tiles} == {"EPSG:32630", "EPSG:32631"}
    assert {tile.transform[0] for tile in tiles} == {30.0}
    found = squares(tiles)
    assert all(one.intersection(other).area < 1e-5 for one, other in itertools.combinations(found, 2))
    assert all(square.intersects(area.shape) for square in found)
    missing = area.shape.difference(shapely.union_all(found))
    west, _, east, _ = missing.buffer(-0.001).bounds
    assert -0.31 < west < east < 0.31  # 15 km are 0.29 degrees there
    within = tiles_over(box_area(55, 37, 56, 38.5), "utm")
    assert shapely.union_all(squares(within)).buffer(1e-4).covers(box_area(55, 37, 56, 38.5).shape)


@pytest.mark.parametrize("box", [(55, 37, 55.5, 38), (-12.3, -75.1, -12, -74.8), (-0.2, 8.8, 0.2, 9.2)])
@pytest.mark.parametrize("pixels", [512, 201])
def test_squares_of_metres_have_landsats_own_pixels(box, pixels):
    """Corners at odd multiples of 15 m of the zone's northern half, in which Landsat counts in the south too."""
    for tile in tiles_over(box_area(*box), "utm", pixels):
        north = f"EPSG:{32600 + int(tile.crs[-2:])}"
        x, y = Transformer.from_crs(tile.crs, north).transform(tile.transform[2], tile.transform[5])
        assert (round(x, 4) % 30, round(y, 4) % 30) == (15, 15)
        east, up = Transformer.from_crs(tile.crs, "EPSG:4326", always_xy=True).transform(
            [tile.transform[2], tile.transform[2] + 30 * pixels], [tile.transform[5], tile.transform[5] - 30 * pixels]
        )
        west, south, right, top = tile.bounds
        assert west - 1e-9 <= min(east) < max(east) <= right + 1e-9
        assert south - 1e-9 <= min(up) < max(up) <= top + 1e-9


def test_squares_of_metres_cross_the_antimeridian():
    tiles = tiles_over(box_area(60, 179.5, 60.2, -179.5), "utm")
    assert {tile.crs for tile in tiles} == {"EPSG:32660", "EPSG:32601"}
    assert all(tile.bounds[2] - tile.bounds[0] < 0.4 for tile in tiles)


def test_the_hemisphere_is_that_of_the_centre():
    tiles = tiles_over(box_area(-0.3, 10, 0.3, 10.2), "degrees")
    assert {(tile.bounds[1] + tile.bounds[3] < 0, tile.southern) for tile in tiles} == {(True, True), (False, False)}


def test_what_has_no_tiles_or_too_many_is_named():
    with pytest.raises(UserError, match="no tile lies on the area; UTM reaches from -80 to 84° north"):
        tiles_over(box_area(85, 0, 86, 1), "utm")
    with pytest.raises(UserError, match="more than 200000 tiles"):
        tiles_over(box_area(-60, -180, 70, 180), "degrees")
    with pytest.raises(UserError, match="32 to 1024 pixels a side, not 2000"):
        tiles_over(box_area(0, 0, 1, 1), "degrees", 2000)


def test_the_map_shows_what_is_left_in_another_colour(tmp_path):
    from PIL import Image

    area = box_area(60, 179.8, 60.3, -179.8)
    tiles = tiles_over(area, "degrees")
    shares = []
    for left in (tiles, tiles[: len(tiles) // 2]):
        draw_grid(tmp_path / "map.png", area, tiles, left, "a title")
        colours = np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).reshape(-1, 3)
        shares.append([(colours == wanted).all(1).mean() for wanted in ((233, 196, 106), (156, 203, 211))])
    assert shares[0][0] > 0.3
    assert shares[0][1] == 0
    assert shares[1][0] / shares[1][1] == pytest.approx(1, rel=0.3)
