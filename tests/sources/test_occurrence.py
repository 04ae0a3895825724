"""Occurrence tiles: what is read from each kind of file, what is refused, and which tiles the rules drop."""

from __future__ import annotations

import math
import struct
import warnings
import zlib

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from waterscape.errors import UserError
from waterscape.sources.occurrence import find, is_synthetic, read, region_and_offsets
from waterscape.sources.occurrence_rules import ALL_WATER, EMPTY, SEAM, STRIPE, USUAL_RULES, Rules, reason_to_drop

ROWS, COLUMNS = np.mgrid[:64, :64]
LAKE = np.clip(200 - 8 * np.hypot(ROWS - 32 + 3 * np.sin(COLUMNS / 4), COLUMNS - 30), 0, 100).astype(np.uint8)


def write_geotiff(path, bands, **options):
    bands = bands if bands.ndim == 3 else bands[None]
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    profile |= {"crs": "EPSG:32637", "transform": Affine(100, 0, 5e5, 0, -100, 6e6), **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
            dataset.write(bands)
    return path


def write_png(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def test_one_band_of_percent(tmp_path):
    tile = read(write_geotiff(tmp_path / "a.tif", LAKE))
    assert np.array_equal(tile.occurrence, LAKE)
    assert tile.occurrence.dtype == np.uint8
    assert tile.observed is None
    assert tile.bands == 1


def test_masked_pixels_are_zero_whatever_lies_beneath(tmp_path):
    values = np.where(LAKE > 0, LAKE, 255).astype(np.uint8)
    tile = read(write_geotiff(tmp_path / "nodata.tif", values, nodata=255))
    assert np.array_equal(tile.occurrence, LAKE)
    assert np.array_equal(tile.observed, LAKE > 0)

    path = write_geotiff(tmp_path / "mask.tif", LAKE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(COLUMNS < 40)
    tile = read(path)
    assert np.array_equal(tile.occurrence, np.where(COLUMNS < 40, LAKE, 0))
    assert np.array_equal(tile.observed, COLUMNS < 40)


def test_visualised_form_gives_the_percent_back(tmp_path):
    percent = np.arange(101, dtype=np.uint8)
    shown = np.floor(percent / 100 * 255 + 0.5).astype(np.uint8)  # as Earth Engine's visualize(min 0, max 100)
    bands = np.broadcast_to(shown, (3, 1, 101))
    tile = read(write_geotiff(tmp_path / "a.tif", np.ascontiguousarray(bands)))
    assert np.array_equal(tile.occurrence[0], percent)
    every = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    tile = read(write_geotiff(tmp_path / "b.tif", np.ascontiguousarray(every)))
    assert np.array_equal(tile.occurrence[0], np.floor(np.arange(256) * 100 / 255 + 0.5))


def test_png_in_percent(tmp_path):
    tile = read(write_png(tmp_path / "a.png", LAKE))
    assert np.array_equal(tile.occurrence, LAKE)
    assert tile.place is None


def test_a_tile_of_another_size_is_not_decoded(tmp_path):
    for path in (write_geotiff(tmp_path / "a.tif", LAKE[:40]), write_png(tmp_path / "a.png", LAKE[:40])):
        tile = read(path, 64)
        assert tile.occurrence is None
        assert (tile.width, tile.height) == (64, 40)


def test_place_of_a_projected_tile(tmp_path):
    place = read(
        write_geotiff(tmp_path / "a.tif", LAKE, transform=Affine(100, 0, 5e5 - 3200, 0, -100, 6e6 + 3200))
    ).place
    assert place.crs == "EPSG:32637"
    assert place.transform == (100, 0, 5e5 - 3200, 0, -100, 6e6 + 3200)
    assert place.longitude == pytest.approx(39, abs=1e-9)  # the zone's central meridian
    assert place.metres_per_pixel == pytest.approx((100 / 0.9996, 100 / 0.9996), rel=1e-6)


def test_degrees_are_stretched_in_the_north_by_the_cosine_and_longitudes_wrap(tmp_path):
    transform = Affine(0.001, 0, 190 - 0.032, 0, -0.001, 60 + 0.032)
    place = read(write_geotiff(tmp_path / "a.tif", LAKE, crs="EPSG:4326", transform=transform)).place
    assert place.longitude == pytest.approx(-170)
    assert place.latitude == pytest.approx(60)
    # radii of the WGS 84 ellipsoid at 60°: of the parallel, and of the meridian's curvature
    a, e2, sine = 6378137.0, 0.00669437999014, math.sin(math.radians(60))
    parallel = a * 0.5 / math.sqrt(1 - e2 * sine**2)
    meridian = a * (1 - e2) / (1 - e2 * sine**2) ** 1.5
    wanted = (math.radians(0.001) * parallel, math.radians(0.001) * meridian)
    assert place.metres_per_pixel == pytest.approx(wanted, rel=1e-6)


def test_rotated_tiles_keep_centre_and_scale(tmp_path):
    places = []
    for degrees in (0, 30):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        a, b, d, e = 100 * c, 80 * s, 100 * s, -80 * c
        transform = Affine(a, b, 5e5 - 32 * (a + b), d, e, 6e6 - 32 * (d + e))
        places.append(read(write_geotiff(tmp_path / f"{degrees}.tif", LAKE, transform=transform)).place)
    one, other = places
    assert (other.longitude, other.latitude) == pytest.approx((one.longitude, one.latitude), abs=1e-9)
    assert other.metres_per_pixel == pytest.approx(one.metres_per_pixel, rel=1e-4)


def test_without_crs_or_transform_there_is_no_place(tmp_path):
    assert read(write_geotiff(tmp_path / "a.tif", LAKE, crs=None)).place is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # reading says nothing of it
        assert read(write_geotiff(tmp_path / "b.tif", LAKE, crs=None, transform=Affine.identity())).place is None


def with_value(value, dtype=np.uint8):
    changed = LAKE.astype(dtype)
    changed[5, 5] = value
    return changed


@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        (with_value(101), {}, "101, outside"),
        (with_value(-3, np.int16), {}, "-3, outside"),
        (with_value(np.nan, np.float32), {}, "float32 values, NaN among them"),
        (LAKE.astype(np.float32), {}, "float32 values: export whole percent"),
        (np.stack([LAKE] * 4), {}, "4 bands"),
        (np.stack([LAKE] * 2), {}, "2 bands"),
        (np.stack([LAKE, LAKE, LAKE // 2]), {}, "unequal"),
        (np.stack([LAKE] * 3).astype(np.uint16), {}, "8 bits"),
        (LAKE, {"crs": "EPSG:4326"}, "cannot be placed"),
        (LAKE, {"crs": 'LOCAL_CS["here",UNIT["metre",1]]'}, "cannot be placed"),
    ],
)
def test_geotiffs_that_are_refused(tmp_path, bands, options, message):
    path = write_geotiff(tmp_path / "bad.tif", bands, **options)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_virtual_raster_in_disguise_is_not_followed(tmp_path):
    target = write_geotiff(tmp_path / "target.tif", LAKE)
    disguised = tmp_path / "a.tif"
    disguised.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{target}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UserError, match="not a GeoTIFF"):
        read(disguised)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_files_cut_anywhere_are_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 100, (64, 64)).astype(np.uint8)
    whole = tmp_path / name
    write_png(whole, noise) if name.endswith("png") else write_geotiff(whole, noise, compress="deflate")
    content = whole.read_bytes()
    for length in [*range(0, 400, 23), *range(400, len(content) - 20, 331)]:
        whole.write_bytes(content[:length])
        with pytest.raises(UserError, match=name):
            read(whole)


def test_pixel_bombs_are_refused_before_they_are_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (10_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))
        with pytest.raises(UserError, match="gigantic"):
            read(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_png_of_other_modes_are_refused(tmp_path, mode):
    Image.new(mode, (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="8-bit grey"):
        read(tmp_path / "a.png")


def test_pngs_above_a_hundred_percent_are_refused(tmp_path):
    with pytest.raises(UserError, match="101, above 100"):
        read(write_png(tmp_path / "a.png", with_value(101)))


def test_odd_geotiffs(real_data):
    for name, message in (
        ("rasterio_RGBA.byte.tif", "4 bands"),
        ("stars_L7_ETMs.tif", "6 bands"),
        ("rasterio_RGB.byte.tif", "unequal"),
        ("rasterio_rgb_lzw.tif", "unequal"),
        ("rasterio_rgb1.tif", "unequal"),
    ):
        with pytest.raises(UserError, match=message):
            read(real_data / "odd_geotiffs" / name)


def test_tiles_are_found_in_order_with_names_below_the_common_folder(tmp_path):
    for name in ("b/tiles/2.tif", "a/tiles/1.png", "a/tiles/deep/0.TIFF", "a/tiles/notes.txt", "a/tiles/._1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    a, b = tmp_path / "a" / "tiles", tmp_path / "b" / "tiles"
    assert list(find([b, a])) == ["a/tiles/1.png", "a/tiles/deep/0.TIFF", "b/tiles/2.tif"]
    assert list(find([a])) == ["1.png", "deep/0.TIFF"]
    assert list(find([a, a / "deep", a / "1.png"])) == ["1.png", "deep/0.TIFF"]


def test_sources_without_tiles_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for sources, message in (
        ([tmp_path], "holds no tile"),
        ([tmp_path / "none"], "does not exist"),
        ([tmp_path / "notes.txt"], "no tile by its ending"),
        ([], "no tiles were named"),
    ):
        with pytest.raises(UserError, match=message):
            find(sources)


def test_region_and_offsets_come_from_the_name_or_the_folder(tmp_path):
    export = tmp_path / "moscow" / "dezhnev-north-0000000256-0000007680.tif"
    assert region_and_offsets(export) == ("dezhnev-north", (256, 7680))
    assert region_and_offsets(tmp_path / "moscow" / "occ_10.png") == ("moscow", None)


def test_a_synthetic_world_is_known_by_its_mark(tmp_path):
    marked, plain = tmp_path / "world" / "region", tmp_path / "real"
    marked.mkdir(parents=True)
    plain.mkdir()
    (tmp_path / "world" / "world.json").write_text('{"synthetic": true, "seed": 7}')
    assert is_synthetic(marked)
    assert not is_synthetic(plain)


def river(side=128):
    rows, columns = np.mgrid[:side, :side]
    distance = np.abs(columns - side / 2 - 12 * np.sin(rows / 17))
    return np.clip(140 - 14 * distance, 0, 100).astype(np.uint8)


def test_fit_tiles_are_kept():
    assert reason_to_drop(river(), USUAL_RULES) is None
    assert reason_to_drop(LAKE, USUAL_RULES) is None


def test_empty_and_all_water():
    dots = np.zeros((128, 128), np.uint8)
    dots[::16, ::16] = 30
    assert reason_to_drop(dots, USUAL_RULES) == EMPTY
    assert reason_to_drop(dots, Rules(min_cover=0.1)) is None
    sea = np.full((128, 128), 98, np.uint8)
    sea[:8, :8] = 0
    assert reason_to_drop(sea, USUAL_RULES) == ALL_WATER
    assert reason_to_drop(sea, Rules(max_water=99.7)) is None


@pytest.mark.parametrize("turn", range(4))
def test_seams_are_found_wherever_they_run(turn):
    rows, columns = np.mgrid[:128, :128]
    water = np.clip(60 + 30 * np.sin(rows / 19) * np.cos(columns / 23), 0, 100).astype(np.uint8)
    assert reason_to_drop(water, USUAL_RULES) is None
    for at in (1, 50, 127):
        cut = water.copy()
        cut[:, at:] = cut[:, at:] // 2
        assert reason_to_drop(np.rot90(cut, turn), USUAL_RULES) == SEAM
    short = water.copy()
    short[:40, 50:] //= 2  # also makes a horizontal seam of 78 pixels
    assert reason_to_drop(np.rot90(short, turn), USUAL_RULES) == SEAM
    assert reason_to_drop(np.rot90(short, turn), Rules(seam_length=70)) is None


def test_a_straight_shore_that_is_blurred_is_no_seam():
    _, columns = np.mgrid[:128, :128]
    shore = np.clip(50 + 25 * (columns - 64), 0, 100).astype(np.uint8)
    assert reason_to_drop(shore, USUAL_RULES) is None
    assert reason_to_drop(np.where(columns < 64, 0, 100).astype(np.uint8), USUAL_RULES) == SEAM


@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize(("value", "width"), [(0, 1), (0, 8), (100, 3)])
def test_stripes_are_found(turn, value, width):
    water = river() // 2 + river().T // 2
    assert reason_to_drop(water, USUAL_RULES) is None
    striped = water.copy()
    striped[61 : 61 + width] = value
    wide = Rules(seam_length=1000)  # whole-tile jumps only: the stripe is what is left to find
    found = reason_to_drop(np.rot90(striped, turn), Rules(stripe_share=8, seam_length=1000))
    assert found == STRIPE
    assert reason_to_drop(np.rot90(striped, turn), Rules(stripe_lines=0, seam_length=1000)) is None
    assert reason_to_drop(np.rot90(water, turn), wide) is None


def test_land_between_two_lakes_is_no_stripe():
    tile = np.zeros((128, 128), np.uint8)
    tile[:60, 10:60] = river()[:60, 39:89]
    tile[62:, 70:120] = river()[62:, 39:89]
    assert reason_to_drop(tile, Rules(seam_length=1000)) is None


def test_of_the_real_tiles_only_empty_and_drowned_ones_are_dropped(real_data):
    reasons = {}
    for path in sorted((real_data / "water_occurrence").glob("*.png")):
        reason = reason_to_drop(read(path, 128).occurrence, USUAL_RULES)
        if reason:
            reasons.setdefault(reason, []).append(path.stem)
    assert reasons == {EMPTY: ["occ_177", "occ_23"], ALL_WATER: ["occ_215", "occ_226", "occ_300", "occ_74"]}


def test_a_seam_cut_into_any_real_river_tile_is_found(real_data):
    """Half of each wet tile put out of step by a third of its occurrence, along a line through much water."""
    found = tried = 0
    for path in sorted((real_data / "water_occurrence").glob("*.png")):
        occurrence = read(path, 128).occurrence
        lines = (occurrence >= 60).sum(axis=0)
        if reason_to_drop(occurrence, USUAL_RULES) is None and lines.max() >= 70:
            tried += 1
            cut = occurrence.copy()
            cut[:, int(lines.argmax()) :] //= 3
            found += reason_to_drop(cut, USUAL_RULES) == SEAM
    assert tried >= 8
    assert found >= 0.8 * tried, f"{found} of {tried}"
