"""Tiles cut from mosaics of any coordinate system: the same ground at true scale; what cannot be cut is told."""

import numpy as np
import pytest
import rasterio
from across_the_line import FORMS, expected, write_across
from across_the_line import LATITUDE as OF_THE_LINE
from across_the_line import METRES as ACROSS
from pyproj import CRS, Transformer
from rasterio.transform import from_origin

from waterscape.errors import UserError
from waterscape.sources.tile_at import HoleError, OutsideError, parse_place, tile_at

LATITUDE, LONGITUDE = 60.2, 30.4
LOCAL = CRS.from_proj4(f"+proj=aeqd +lat_0={LATITUDE} +lon_0={LONGITUDE} +datum=WGS84")
PIXELS, METRES = (90, 60), 10.0


def drawn(east, north):
    """A picture of the ground: waves of 400 m and 300 m, and one the other way, by metres from the point."""
    bands = [np.sin(2 * np.pi * east / 400), np.sin(2 * np.pi * north / 300), np.cos(2 * np.pi * (east + north) / 500)]
    return np.rint(127.5 + 120 * np.stack(bands)).astype(np.uint8)


def write_mosaic(path, crs, step, pixels=(700, 700), **options):
    """The picture in another coordinate system, around the point; `step` in units of that system."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(LONGITUDE, LATITUDE)
    height, width = pixels
    corner = (x - width / 2 * step, y + height / 2 * step)
    columns, rows = np.meshgrid(
        corner[0] + (np.arange(width) + 0.5) * step, corner[1] - (np.arange(height) + 0.5) * step
    )
    bands = drawn(*Transformer.from_crs(crs, LOCAL, always_xy=True).transform(columns, rows))
    place = {"crs": crs, "transform": from_origin(*corner, step, step)} if options.pop("placed", True) else {}
    kind = options.pop("dtype", "uint8")
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=height, width=width, dtype=kind, **place, **options
    ) as dataset:
        dataset.write(bands.astype(kind))
    return path


@pytest.mark.parametrize(("crs", "step"), [("EPSG:32636", 2.5), ("EPSG:4326", 5e-5), ("EPSG:3857", 6.0)])
def test_the_same_ground_at_true_scale(crs, step, tmp_path):
    """In EPSG:3857 a metre is two at 60° north, in EPSG:4326 pixels are twice as high as wide: neither may show."""
    size = (700, 1400) if crs == "EPSG:4326" else (700, 700)
    mosaic = write_mosaic(tmp_path / "mosaic.tif", crs, step, size)
    tile = tile_at(mosaic, LATITUDE, LONGITUDE, PIXELS, METRES)
    width, height = PIXELS
    assert tile.shape == (height, width, 3)
    east, north = np.meshgrid(
        (np.arange(width) + 0.5 - width / 2) * METRES, (height / 2 - np.arange(height) - 0.5) * METRES
    )
    wanted = drawn(east, north).transpose(1, 2, 0).astype(int)
    assert np.abs(tile.astype(int) - wanted).mean() < 2
    assert np.abs(tile.astype(int) - wanted).max() < 12


@pytest.mark.parametrize("form", FORMS)
def test_the_ground_on_both_sides_of_the_antimeridian(form, tmp_path):
    mosaic = write_across(tmp_path / "mosaic.tif", form)
    for longitude in (179.9, 179.999, 180.0, -180.0, -179.995, -179.9):
        tile = tile_at(mosaic, OF_THE_LINE, longitude, (60, 60), ACROSS)
        assert np.abs(tile - expected(longitude, 60)).mean() < 2, longitude
        assert np.abs(tile - expected(longitude, 60)).max() < 8, longitude
    for longitude in (179.6, -179.6, 0.0):
        with pytest.raises(OutsideError, match="lies outside of"):
            tile_at(mosaic, OF_THE_LINE, longitude, (60, 60), ACROSS)
    with pytest.raises(HoleError, match="holds only"):
        tile_at(mosaic, OF_THE_LINE, -179.75, (80, 80), ACROSS)


def test_a_mosaic_of_the_whole_earth_has_no_edge_at_the_antimeridian(tmp_path):
    """Its first column is the neighbour of its last one."""
    east = np.arange(3600)
    bands = np.stack(
        [np.broadcast_to(127 + 100 * np.cos(np.radians(east) * turns), (900, 3600)) for turns in (1, 3, 6)]
    )
    place = {"crs": "EPSG:4326", "transform": from_origin(-180, 45, 0.1, 0.1)}
    shape = {"count": 3, "height": 900, "width": 3600, "dtype": "uint8"}
    with rasterio.open(tmp_path / "earth.tif", "w", driver="GTiff", **shape, **place) as dataset:
        dataset.write(bands.astype(np.uint8))
    tiles = [tile_at(tmp_path / "earth.tif", 0.0, longitude, (20, 20), 11_132.0) for longitude in (180.0, -180.0)]
    wanted = bands[:, 0, np.arange(-10, 10) % 3600].T
    assert np.array_equal(*tiles)
    assert np.abs(tiles[0].astype(int) - wanted[None]).max() < 4


def refused(source, latitude=LATITUDE, longitude=LONGITUDE):
    with pytest.raises(UserError) as error:
        tile_at(source, latitude, longitude, PIXELS, METRES)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_point_outside_and_a_tile_over_the_edge(tmp_path):
    mosaic = write_mosaic(tmp_path / "mosaic.tif", "EPSG:32636", 2.5)
    assert "lies outside of" in refused(mosaic, 60.3)
    assert "which reaches from 60.19" in refused(mosaic, 60.2, 31.4)
    assert "holds only 5" in refused(mosaic, 60.2078)


@pytest.mark.long
def test_a_hole_in_the_mosaic_is_not_filled(tmp_path):
    mosaic = write_mosaic(tmp_path / "mosaic.tif", "EPSG:32636", 2.5, nodata=0)
    with rasterio.open(mosaic, "r+") as dataset:
        dataset.write(np.zeros((3, 40, 40), np.uint8), window=rasterio.windows.Window(340, 340, 40, 40))
    assert "holds only 98.2 %" in refused(mosaic)


def test_mosaics_that_cannot_be_used(tmp_path):
    nowhere = write_mosaic(tmp_path / "nowhere.tif", "EPSG:32636", 2.5, (40, 40), placed=False)
    assert "has no coordinate system" in refused(nowhere)
    deep = write_mosaic(tmp_path / "deep.tif", "EPSG:32636", 2.5, (40, 40), dtype="uint16")
    assert "has 3 bands of uint16: give red, green and blue of 8 bits" in refused(deep)
    assert "there is no such file" in refused(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no picture")
    assert "cannot be read" in refused(tmp_path / "text.tif")


def test_places_as_they_are_written():
    assert parse_place("55.12,37.45") == (55.12, 37.45)
    assert parse_place("-3.5, -12") == (-3.5, -12)
    for text in ("55.12", "91,0", "0,181", "a,b", "1,2,3", "nan,1", ""):
        with pytest.raises(UserError, match=r"give latitude and longitude in degrees"):
            parse_place(text)
