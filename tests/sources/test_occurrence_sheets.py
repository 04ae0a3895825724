"""Sheets of tiles: that they cover the ground, lie on the grid of their zone, and are told apart by their names."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod

from waterscape.errors import UserError
from waterscape.pages.occurrence_export import tell_distortion
from waterscape.sources.area import box_area
from waterscape.sources.equal_area import squares_centred_in
from waterscape.sources.occurrence_export import sheets as rules
from waterscape.sources.occurrence_export.covered import uncovered
from waterscape.sources.occurrence_export.distortion import distortion
from waterscape.sources.occurrence_export.parts import Part
from waterscape.sources.occurrence_export.sheets import sheets_over
from waterscape.sources.place import locate


def over(*box, way="utm", metres=100.0, size=256, name="x"):
    return sheets_over([Part(name, box_area(*box))], way, metres, size)


def paths(sheets):
    return [sheet.path(tile) for sheet in sheets for tile in sheet.tiles]


@pytest.mark.parametrize(
    ("box", "zones"),
    [
        ((60, 40, 62, 44), {"x-37N", "x-38N"}),
        ((-1, 100, 1, 101), {"x-47N", "x-47S"}),
        ((65, 178, 67, -178), {"x-60N", "x-01N"}),
        ((-70, -70.5, -69, -69.5), {"x-19S"}),
    ],
)
def test_nearly_all_ground_lies_in_one_tile_and_none_in_two(box, zones):
    sheets = over(*box)
    assert {sheet.name for sheet in sheets} == zones
    assert len(set(paths(sheets))) == len(paths(sheets))
    squares = np.concatenate([sheet.rings_in_degrees() for sheet in sheets])
    west, east = (box[1], box[3]) if box[1] < box[3] else (box[1], box[3] + 360)
    squares[..., 0] = (squares[..., 0] - west + 180) % 360 - 180 + west
    tiles = shapely.polygons(squares)
    ground = shapely.union_all(tiles)
    assert ground.area == pytest.approx(sum(tile.area for tile in tiles), rel=1e-4)
    wanted = shapely.box(west, box[0], east, box[2])
    share = (ground & wanted).area / wanted.area
    assert share > (0.999 if len(zones) == 1 or "x-47S" in zones else 0.9)
    told = uncovered([Part("x", box_area(*box))], sheets)
    assert told == pytest.approx(1 - share, abs=0.002)
    assert shapely.intersects(wanted, tiles).all()


def test_tiles_lie_on_the_grid_of_their_zone_whatever_the_area():
    small, large = over(60.5, 40, 60.7, 40.5), over(60, 39, 62, 41.9)
    places = [{sheet.transform(tile) for sheet in each for tile in sheet.tiles} for each in (small, large)]
    assert places[0] < places[1]
    for _, _, x, _, _, y in places[1]:
        assert ((x - 500_000) % 25_600, y % 25_600) == (0, 0)


@pytest.mark.parametrize(
    ("box", "blocks"),
    [
        ((60.2, 37, 61, 39), {"x-66N048E"}),
        ((59, 29, 61, 41), {"x-54N030E", "x-54N050E", "x-66N024E", "x-66N048E"}),
        ((-1, 95, 1, 97), {"x-06N090E", "x-06N102E", "x-06S090E", "x-06S102E"}),
        ((65, 178, 67, -178), {"x-66N168E", "x-66N168W"}),
        ((83, 0, 84, 60), {"x-78N000E", "x-78N040E"}),
    ],
)
def test_blocks_of_equal_area_share_no_ground_and_lose_little(box, blocks):
    sheets = over(*box, way="equal-area")
    assert {sheet.name for sheet in sheets} == blocks
    squares = np.concatenate([sheet.rings_in_degrees() for sheet in sheets])
    middle = (box[1] + box[3] + 360 * (box[3] < box[1])) / 2
    squares[..., 0] = (squares[..., 0] - middle + 180) % 360 - 180 + middle
    tiles = shapely.polygons(squares)
    assert shapely.union_all(tiles).area == pytest.approx(sum(tile.area for tile in tiles), rel=1e-4)
    parts = [Part("x", box_area(*box))]
    lost = uncovered(parts, sheets)
    assert lost < (0.001 if len(blocks) == 1 else 0.12)
    ground = 256 * 256 * 100 * 100
    for sheet in sheets:
        found = distortion(sheet)
        assert np.abs(found.area - 1).max() < 1e-6
        assert found.worst.max() < 3e-3
        assert (found.stretch < 1.006).all()
        longitudes, latitudes = sheet.rings_in_degrees()[0].T
        area, _ = Geod(ellps="WGS84").polygon_area_perimeter(longitudes, latitudes)
        assert abs(area) == pytest.approx(ground, rel=2e-4)  # eight points: its edges bend between them


def test_every_block_is_about_as_wide_as_high_and_together_they_are_the_earth_to_84_degrees():
    blocks = {block for block, _ in squares_centred_in(-180, -90, 180, 90, 200_000.0)}
    boxes = [shapely.box(west, south, east, north) for west, south, east, north in (block.box for block in blocks)]
    assert shapely.union_all(boxes).equals(shapely.box(-180, -84, 180, 84))
    assert sum(box.area for box in boxes) == 360 * 168
    for block in blocks:
        west, south, _, north = block.box
        corners = [(west, south), (west, north), (west, block.latitude)]
        far = max(Geod(ellps="WGS84").inv(block.longitude, block.latitude, *corner)[2] for corner in corners)
        assert far < 9 * 111_700


def test_degrees_are_counted_as_earth_engine_counts_them_and_never_beyond_180():
    sheets = over(65, 178, 67, -178, way="degrees")
    assert {sheet.name for sheet in sheets} == {"x-E", "x-W"}
    pixel = 100 / 111_319.49079327358
    for sheet in sheets:
        assert sheet.pixel == pytest.approx(pixel, rel=1e-12)
        assert sheet.left / pixel == pytest.approx(round(sheet.left / pixel), abs=1e-6)
        assert sheet.top / pixel == pytest.approx(round(sheet.top / pixel), abs=1e-6)
    boxes = np.concatenate([shapely.polygons(sheet.rings()) for sheet in sheets])
    covered = shapely.union_all(boxes)
    assert covered.area == pytest.approx(sum(box.area for box in boxes))
    west, _, east, _ = covered.bounds
    assert (-180 <= west < 256 * pixel - 180, 180 - 256 * pixel < east <= 180) == (True, True)
    for edges in ((178, 65, east, 67), (west, 65, -178, 67)):
        assert shapely.box(*edges).difference(covered).area < 1e-9
    lost = (180 - east) + (west + 180)
    parts = [Part("x", box_area(65, 178, 67, -178))]
    assert uncovered(parts, sheets) == pytest.approx(lost / 4, abs=0.002)
    _, south, _, north = shapely.union_all(
        [box for sheet in over(-90, 0, 90, 1, way="degrees") for box in shapely.polygons(sheet.rings())]
    ).bounds
    assert (-90 <= south < -89.7, 89.7 < north <= 90) == (True, True)
    with pytest.raises(UserError, match="the last whole tiles end before ±180° and ±90°"):
        over(60, 179.9, 61, 180, way="degrees")
    one = over(-1, -1, 1, 1, way="degrees")
    assert [sheet.name for sheet in one] == ["x"]  # Greenwich tears nothing


def test_a_sheet_of_too_many_pixels_becomes_strips(monkeypatch):
    (whole,) = over(60, 37, 63, 41, metres=50)
    monkeypatch.setattr(rules, "MOST_PIXELS", whole.pixels // 3)
    strips = over(60, 37, 63, 41, metres=50)
    assert [sheet.name for sheet in strips] == [f"x-37N-{number}" for number in range(1, len(strips) + 1)]
    assert len(strips) >= 3
    assert all(sheet.pixels <= whole.pixels // 3 for sheet in strips)
    before = sorted(whole.transform(tile) for tile in whole.tiles)
    assert sorted(sheet.transform(tile) for sheet in strips for tile in sheet.tiles) == before


def test_a_tile_is_in_the_part_that_its_centre_is_in():
    parts = [Part("a", box_area(60, 38, 61, 39.1)), Part("b", box_area(60, 39.1, 61, 40))]
    sheets = sheets_over(parts, "utm", 100.0, 256)
    assert [sheet.part for sheet in sheets] == ["a", "b"]
    places = [sheet.transform(tile) for sheet in sheets for tile in sheet.tiles]
    assert len(places) == len(set(places))
    for sheet in sheets:
        centre = sheet.rings_in_degrees().mean(1)
        inside = shapely.contains_xy(parts[sheet.part == "b"].area.shape, *centre.T)
        beyond = shapely.contains_xy(parts[sheet.part == "a"].area.shape, *centre.T)
        assert inside.any()
        assert not beyond.any()


@pytest.mark.parametrize(("latitude", "stretch"), [(0, 1.0), (60, 2.0), (70, 2.92)])
def test_degrees_stretch_by_one_over_the_cosine_as_the_reference_saw(latitude, stretch):
    (sheet,) = over(latitude - 0.01, 40, latitude + 0.01, 40.05, way="degrees", size=16)
    found = distortion(sheet)
    assert np.median(found.stretch) == pytest.approx(stretch, rel=0.01)
    from rasterio import Affine

    for tile, value in zip(sheet.tiles, found.stretch, strict=True):
        across, down = locate("EPSG:4326", Affine(*sheet.transform(tile)), 16, 16).metres_per_pixel
        assert value == pytest.approx(max(down / across, across / down), rel=2e-3)


@pytest.mark.parametrize("box", [(0, 39, 0.5, 42), (60, 36, 60.5, 42), (82, 36, 82.5, 42), (-75, 36, -74, 42)])
def test_utm_keeps_shapes_and_lengths_as_foretold(box):
    worst = []
    for sheet in over(*box):
        found = distortion(sheet)
        assert found.stretch.max() < 1 + 1e-6
        rings = sheet.rings_in_degrees()
        for first, second in ((0, 1), (2, 3), (4, 5), (6, 7)):
            ends = rings[:, first], rings[:, second]
            metres = Geod(ellps="WGS84").inv(*ends[0].T, *ends[1].T)[2]
            scale = 128 * 100 / metres
            assert (scale >= found.scale_least - 2e-6).all()
            assert (scale <= found.scale_most + 2e-6).all()
        worst.append(found.worst.max())
    assert max(worst) < 1.2e-3


def test_what_cannot_be_tiled_is_told():
    with pytest.raises(UserError, match="zones of UTM reach from -80"):
        over(84.9, 0, 89, 10)
    with pytest.raises(UserError, match="blocks reach to 84° north and south"):
        over(84.9, 0, 89, 10, way="equal-area")
    with pytest.raises(UserError, match="more than 500,000; take a smaller area"):
        over(-60, -179, 70, 179)
    west, east = Part("a", box_area(60, 40, 61, 41)), Part("A", box_area(60, 41, 61, 42))
    with pytest.raises(UserError, match="2 parts would be called a"):
        sheets_over([west, east], "utm", 100.0, 256)


def test_of_equal_area_shapes_are_stretched_by_twice_what_lengths_are_off(capsys):
    """The one direction is drawn longer, the other as much shorter: both figures are told."""
    sheets = over(0, 0, 12, 12, way="equal-area", metres=400.0, size=250)
    tell_distortion([distortion(sheet) for sheet in sheets], "equal-area")
    assert "0.31 % at most, shapes stretched by 0.61 % at most" in capsys.readouterr().out
