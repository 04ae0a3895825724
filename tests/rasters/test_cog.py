"""Cloud-optimised GeoTIFF: its layout as GDAL and as its bytes tell it, its place, its overviews, a full disk."""

import struct

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from waterscape.errors import UserError
from waterscape.rasters.cog import Layer, write_cog
from waterscape.sources.landsat.raster_file import Grid

HEIGHT, WIDTH = 1201, 1733
MASK = Layer("uint8", 255, "NEAREST", "water", {"model": "a & b"}, {1: (38, 104, 171)})
VALUES = Layer("float32", np.nan, "AVERAGE", "probability", {"threshold": "0.5"})


def grid(crs="EPSG:32637", height=HEIGHT, width=WIDTH):
    return Grid(crs, from_origin(400_000.1, 6_100_000, 30, 30), height, width, 30.0, degrees=False)


@pytest.fixture(scope="module")
def values():
    made = np.random.default_rng(0).random((HEIGHT, WIDTH), np.float32)
    made[300:700, 200:333] = np.nan
    return made


def written(tmp_path, array, layer, **place):
    raw = tmp_path / "some.raw"
    raw.write_bytes(array.tobytes())
    write_cog(raw, tmp_path / "made.tif", grid(**place), layer, threads=2)
    return tmp_path / "made.tif"


def directories(path):
    """Of a classic TIFF, in file order: (offset, width, first and last byte of its blocks, their number)."""
    content = path.read_bytes()
    assert content[:4] == b"II*\0"
    found, at = [], struct.unpack_from("<I", content, 4)[0]
    sizes = {3: 2, 4: 4, 16: 8}
    while at:
        tags = {}
        count = struct.unpack_from("<H", content, at)[0]
        for entry in range(count):
            tag, kind, length, value = struct.unpack_from("<HHII", content, at + 2 + 12 * entry)
            if kind not in sizes:
                continue
            inline = sizes[kind] * length <= 4
            place = at + 2 + 12 * entry + 8 if inline else value
            tags[tag] = struct.unpack_from(f"<{length}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", content, place)
        found.append((at, tags))
        at = struct.unpack_from("<I", content, at + 2 + 12 * count)[0]
    return found


def test_its_bytes_are_in_the_order_of_a_cog(values, tmp_path):
    """Directories first, from the full size to the smallest; then blocks, from the smallest to the full size."""
    path = written(tmp_path, values, VALUES)
    found = directories(path)
    widths = [tags[256][0] for _, tags in found]
    assert widths == [1733, 866, 433]
    assert all(tags[322] == tags[323] == (512,) for _, tags in found)
    at = [offset for offset, _ in found]
    assert at == sorted(at)
    firsts = [min(offset for offset in tags[324] if offset) for _, tags in found]
    assert firsts == sorted(firsts, reverse=True)
    assert max(at) < min(firsts)
    assert max(at) < 16_384  # one read of a few kilobytes tells where everything is


@pytest.mark.parametrize(("layer", "kind"), [(MASK, np.uint8), (VALUES, np.float32)])
def test_numbers_place_and_words_are_kept(values, tmp_path, layer, kind):
    array = values if kind == np.float32 else np.where(np.isnan(values), 255, values > 0.5).astype(np.uint8)
    with rasterio.open(written(tmp_path, array, layer)) as dataset:
        assert np.array_equal(dataset.read(1), array, equal_nan=kind == np.float32)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.crs.to_epsg() == 32637
        assert dataset.transform == grid().transform
        assert dataset.dtypes == (kind.__name__,)
        assert np.array_equal(dataset.nodata, layer.nodata, equal_nan=True)
        assert dataset.descriptions == (layer.description,)
        assert layer.tags.items() <= dataset.tags().items()
        assert dataset.overviews(1) == [2, 4]
        if layer.colours:
            assert dataset.colormap(1)[1][:3] == (38, 104, 171)


def test_overviews_average_probabilities_without_nodata(values, tmp_path):
    even = values[:1200, :1600]
    with rasterio.open(written(tmp_path, even, VALUES, height=1200, width=1600), overview_level=0) as dataset:
        half = dataset.read(1)
    blocks = even.reshape(600, 2, 800, 2)
    with np.errstate(invalid="ignore"):
        expected = np.nansum(blocks, (1, 3)) / (~np.isnan(blocks)).sum((1, 3))
    np.testing.assert_allclose(half, expected, atol=2e-6)


def test_overviews_of_a_mask_hold_its_values_alone(values, tmp_path):
    mask = np.where(np.isnan(values), 255, values > 0.5).astype(np.uint8)
    mask = mask[:1200, :1600]
    with rasterio.open(written(tmp_path, mask, MASK, height=1200, width=1600), overview_level=0) as dataset:
        half = dataset.read(1)
    assert set(np.unique(half)) == {0, 1, 255}
    blocks = mask.reshape(600, 2, 800, 2).transpose(0, 2, 1, 3).reshape(600, 800, 4)
    assert (half[..., None] == blocks).any(2).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 2000), (512, 512)])
def test_any_size(tmp_path, size):
    array = np.arange(np.prod(size), dtype=np.float32).reshape(size)
    with rasterio.open(written(tmp_path, array, VALUES, height=size[0], width=size[1])) as dataset:
        assert np.array_equal(dataset.read(1), array)


def test_without_a_crs(tmp_path):
    with rasterio.open(written(tmp_path, np.zeros((9, 9), np.uint8), MASK, crs=None, height=9, width=9)) as dataset:
        assert dataset.crs is None


def test_a_full_disk_is_told(values, small_disk):
    with pytest.raises(UserError, match=r"made\.tif could not be written in .*: is the disk full\?"):
        written(small_disk("12m"), values, VALUES)
