"""Large exports cut into tiles: every tile is the window it came from, in pixels, mask and place."""

import itertools

import numpy as np
import pytest
import rasterio
from programs import ROOT, run_program
from rasterio.env import get_gdal_config
from rasterio.transform import Affine
from rasterio.windows import Window

from waterscape.errors import UserError
from waterscape.sources import cutting
from waterscape.sources.cutting import cut_up, pieces
from waterscape.sources.occurrence import open_geotiff, read

PLACE = Affine(30, 0, 3e5, 0, -30, 7e6)


def write_export(path, bands=1, height=300, width=210, nodata=None, mask=False, **options):
    """Synthetic occurrence of a size that 64 does not divide."""
    pixels = np.random.default_rng(bands).integers(0, 101, (1, height, width), dtype=np.uint8)
    pixels = np.repeat(pixels * 255 // 100 if bands == 3 else pixels, bands, axis=0)
    profile = {"count": bands, "height": height, "width": width, "dtype": "uint8", "crs": "EPSG:32645"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", transform=PLACE, nodata=nodata, **profile, **options) as dataset,
    ):
        dataset.write(pixels)
        if mask:
            dataset.write_mask(np.where(pixels[0] % 3, 255, 0).astype(np.uint8))
    return path


KINDS = {
    "tiled": {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "lzw"},
    "strips": {"tiled": False, "blockysize": 7, "compress": "deflate"},
    "masked": {"mask": True},
    "nodata": {"nodata": 0},
    "visualised": {"bands": 3},
}


@pytest.mark.parametrize("at_once", [1, 64 * 210 * 2, cutting.AT_ONCE])
@pytest.mark.parametrize("kind", KINDS)
def test_every_tile_is_the_window_it_came_from(tmp_path, monkeypatch, kind, at_once):
    monkeypatch.setattr(cutting, "AT_ONCE", at_once)
    path = write_export(tmp_path / "lena.tif", **KINDS[kind])
    done = cut_up([path], tmp_path / "out", 64)
    corners = [(row, column) for row in range(0, 256, 64) for column in range(0, 192, 64)]
    names = [f"lena-{row:010d}-{column:010d}.tif" for row, column in corners]
    assert sorted(tile.name for tile in (tmp_path / "out" / "lena").iterdir()) == names
    assert (done.tiles, done.pixels_left) == (12, 300 * 210 - 12 * 64 * 64)
    with rasterio.open(path) as whole:
        for (row, column), name in zip(corners, names, strict=True):
            window = Window(column, row, 64, 64)
            with rasterio.open(tmp_path / "out" / "lena" / name) as tile:
                np.testing.assert_array_equal(tile.read(), whole.read(window=window))
                np.testing.assert_array_equal(tile.dataset_mask(), whole.dataset_mask(window=window))
                assert tile.transform == PLACE @ Affine.translation(column, row)
                assert tile.crs == whole.crs
            assert read(tmp_path / "out" / "lena" / name, 64).occurrence.shape == (64, 64)


def test_offsets_go_on_from_those_in_the_name(tmp_path):
    path = write_export(tmp_path / "lena-0000000512-0000001024.tif", height=64, width=128)
    cut_up([path], tmp_path / "out", 64)
    assert sorted(tile.name for tile in (tmp_path / "out" / "lena").iterdir()) == [
        "lena-0000000512-0000001024.tif",
        "lena-0000000512-0000001088.tif",
    ]


def test_tiles_are_arrays_of_their_own(tmp_path):
    with open_geotiff(write_export(tmp_path / "lena.tif")) as dataset:
        one, other = list(pieces(dataset, 64))[:2]
    assert one.pixels.flags.owndata
    assert one.pixels.flags.c_contiguous
    assert not np.shares_memory(one.pixels, other.pixels)


@pytest.mark.parametrize("taken", [1, 12])
def test_the_cache_of_others_is_as_large_as_before(tmp_path, taken):
    before = get_gdal_config("GDAL_CACHEMAX")
    with open_geotiff(write_export(tmp_path / "lena.tif")) as dataset:
        found = pieces(dataset, 64)
        assert len(list(itertools.islice(found, taken))) == taken
        assert get_gdal_config("GDAL_CACHEMAX") == cutting.KEPT
        found.close()
        assert get_gdal_config("GDAL_CACHEMAX") == before > cutting.KEPT


def test_a_file_that_is_one_strip_is_decoded_by_few_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "THREADS", 8)
    monkeypatch.setattr(cutting, "KEPT", 1)
    monkeypatch.setattr(cutting, "AT_ONCE", 1)
    with open_geotiff(write_export(tmp_path / "lena.tif", tiled=False, blockysize=300, compress="lzw")) as dataset:
        (tall, wide), *_ = dataset.block_shapes
        assert (tall, wide) == (300, 210)
        monkeypatch.setattr(cutting, "IN_MEMORY", 2 * tall * wide)
        found = pieces(dataset, 64)
        next(found)
        assert get_gdal_config("GDAL_CACHEMAX") == 2 * 2 * tall * wide  # of two threads
        assert len(list(found)) == 11


def test_two_files_of_one_name_are_a_users_mistake(tmp_path):
    paths = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        paths.append(write_export(tmp_path / folder / "lena.tif"))
    before = get_gdal_config("GDAL_CACHEMAX")
    with pytest.raises(UserError, match=r"both make lena-0000000000-0000000000\.tif"):
        cut_up(paths, tmp_path / "out", 64)
    assert get_gdal_config("GDAL_CACHEMAX") == before


@pytest.mark.timeout(30)
@pytest.mark.parametrize("at_once", [1, cutting.AT_ONCE])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_cut_off_is_a_users_mistake(tmp_path, monkeypatch, at_once, threads):
    monkeypatch.setattr(cutting, "AT_ONCE", at_once)
    monkeypatch.setattr(cutting, "THREADS", threads)
    path = write_export(tmp_path / "lena.tif", height=2048, width=64)
    path.write_bytes(path.read_bytes()[:4000])  # every read fails, and there are more of them than threads
    with pytest.raises(UserError, match=r"lena\.tif is damaged"):
        cut_up([path], tmp_path / "out", 64)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".partial")]


def test_the_command_cuts_what_the_packer_takes(tmp_path):
    write_export(tmp_path / "lena.tif")
    words = (tmp_path / "lena.tif", "--out", tmp_path / "out", "--tile-size", 64)
    done = run_program(ROOT / "tools" / "cut_exports.py", *words)
    assert "12 tiles of 1 files" in done.stdout
    assert "13848 pixels at the edges" in done.stdout
