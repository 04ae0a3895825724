"""What comes from the servers is believed only where it is the tile that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio import Affine
from rasterio.io import MemoryFile

from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.export_tile import NODATA, TileError, clear_share, is_whole, tile_bands, write_tile
from waterscape.sources.landsat.grid import GridTile

NAMES = (*BANDS, "water")
TRANSFORM = (30.0, 0.0, 400_000.0, 0.0, -30.0, 6_200_000.0)
TILE = GridTile("37N+00001-001", "EPSG:32637", TRANSFORM, 24, 16, (37.0, 55.0, 37.1, 55.1))


def content(bands=None, names=NAMES, crs="EPSG:32637", transform=TRANSFORM):
    bands = np.full((9, 16, 24), 0.25, np.float32) if bands is None else bands
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=crs, transform=Affine(*transform), **shape) as dataset:
            dataset.write(bands)
            dataset.descriptions = names[: len(bands)]
        return memory.read()


def changed(band, value):
    bands = np.full((9, 16, 24), 0.25, np.float32)
    bands[NAMES.index(band), 3, 4] = value
    return bands


@pytest.mark.parametrize("missing", [NODATA, np.nan])
def test_masked_pixels_become_nan_and_the_file_is_read_as_it_was_written(tmp_path, missing):
    bands = tile_bands(content(changed("B4", missing)), TILE)
    assert np.argwhere(np.isnan(bands)).tolist() == [[2, 3, 4]]
    assert clear_share(bands) == 1 - 1 / (16 * 24)
    write_tile(tmp_path / "tile.tif", TILE, bands, {"year": "2020"})
    assert is_whole(tmp_path / "tile.tif", TILE)
    assert np.array_equal(tile_bands((tmp_path / "tile.tif").read_bytes(), TILE), bands, equal_nan=True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the answer is empty"),
        (b"<html>Sorry</html>", "no GeoTIFF that can be read"),
        (content()[:-900], "no GeoTIFF that can be read"),
        (content(np.zeros((9, 16, 25), np.float32)), "is 25 × 16 pixels instead of 24 × 16"),
        (content(np.zeros((8, 16, 24), np.float32)), "has 8 bands instead of 9"),
        (content(names=NAMES[::-1]), "has the bands water, elevation, .* instead of B2, B3"),
        (content(crs="EPSG:32638"), "is in EPSG:32638 instead of EPSG:32637"),
        (content(crs=None), "is in no CRS instead of EPSG:32637"),
        (content(transform=(30.0, 0.0, 400_030.0, 0.0, -30.0, 6_200_000.0)), "lies elsewhere"),
        (content(transform=(30.1, 0.0, 400_000.0, 0.0, -30.0, 6_200_000.0)), "lies elsewhere"),
        (content(transform=(30.0, 0.0, 400_000.0, 0.0, 30.0, 6_200_000.0)), "lies elsewhere"),
        (content(changed("B3", 9000)), r"band B3 has values outside of -0.21 … 1.62"),
        (content(changed("water", np.inf)), "band water has values outside"),
        (content(changed("elevation", NODATA)), "pixels without an elevation"),
    ],
)
def test_another_answer_is_named(answer, words):
    with pytest.raises(TileError, match=words):
        tile_bands(answer, TILE)


def test_a_file_is_whole_to_its_last_byte_or_not_at_all(tmp_path):
    path = tmp_path / "tile.tif"
    assert not is_whole(path, TILE)
    random = np.random.default_rng(1)
    write_tile(path, TILE, random.random((9, 16, 24)).astype(np.float32), {})
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 400, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not is_whole(path, TILE), length
    path.write_bytes(whole)
    assert is_whole(path, TILE)
    assert not is_whole(path, GridTile(TILE.key, TILE.crs, TRANSFORM, 16, 24, TILE.bounds))
