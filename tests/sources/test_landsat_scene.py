"""Reading scenes: the same reflectances from every kind of file, NaN for nodata, clear words for what will not do."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from landsat_files import MEASURED, NORTH_UP, UTM, layers_of, numbers, scene, write_tif
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS, ELEVATION_METRES, OFFSET, SCALE, band_stack
from waterscape.sources.landsat.layers import SceneError
from waterscape.sources.landsat.scaling import Scaling
from waterscape.sources.landsat.scene import open_scene

HARMONIZED = {"scale": 1e-4, "offset": 0.0}
STATED = dict(zip(MEASURED, (2, 3, 4, 5, 6, 10), strict=True))


@pytest.fixture(scope="module")
def drawn():
    return scene()


@pytest.fixture(scope="module")
def tif(drawn, tmp_path_factory):
    """Whole numbers of Landsat Collection 2, the bands described, in another order than ours."""
    layers = dict(reversed(numbers(drawn).items()))
    return write_tif(tmp_path_factory.mktemp("scene") / "scene.tif", layers, nodata=0)


def check_same(opened, drawn, step):
    reflectances, elevation = opened.read(opened.whole)
    assert np.abs(reflectances - drawn.reflectances).max() <= step
    assert np.abs(elevation - drawn.elevation).max() <= 0.5


def test_the_same_from_every_kind_of_file(drawn, tif, tmp_path):
    check_same(open_scene(tif), drawn, SCALE)
    for name, values in numbers(drawn).items():
        named = {"elevation": "elevation", "cover": "WorldCover"}.get(name, f"SR_{name}")
        write_tif(tmp_path / f"LC08_L2SP_1_02_T1_{named}.TIF", {"": values}, dtype="uint16", described=False)
    product = open_scene(tmp_path / "LC08_L2SP_1_02_T1_SR_B4.TIF")
    check_same(product, drawn, SCALE)
    assert "cover" in product.layers
    check_same(open_scene(write_tif(tmp_path / "f.tif", layers_of(drawn), dtype="float32")), drawn, 1e-6)
    stack = {f"{at}": np.zeros((96, 96)) for at in range(12)}
    for name, values in numbers(drawn, **HARMONIZED).items():
        if name in STATED:
            stack[f"{STATED[name] - 1}"] = values
    hls = write_tif(tmp_path / "hls.tif", stack, dtype="int16", crs=None, described=False)
    check_same(open_scene(hls, STATED, **HARMONIZED), drawn, 1e-4)
    told = write_tif(tmp_path / "told.tif", numbers(drawn, **HARMONIZED), dtype="int16")
    with rasterio.open(told, "r+") as dataset:
        dataset.scales, dataset.offsets = [1e-4] * 5 + [1] * 2, [0] * 7
    check_same(open_scene(told), drawn, 1e-4)


def test_a_stack_of_all_bands_has_its_elevation_in_metres_again(drawn, tmp_path):
    bands = band_stack(drawn.reflectances, drawn.elevation).transpose(2, 0, 1)
    exported = write_tif(tmp_path / "e.tif", dict(zip(BANDS, bands, strict=True)), dtype="float32", nodata=np.nan)
    opened = open_scene(exported)
    assert np.abs(opened.read(opened.whole)[1] - drawn.elevation).max() < 1e-3 * ELEVATION_METRES
    assert np.allclose(opened.bands(opened.whole), bands.transpose(1, 2, 0), atol=1e-6, equal_nan=True)


def test_stated_bands_of_a_stack_are_what_their_descriptions_say(drawn, tmp_path):
    bands = dict(zip(BANDS, band_stack(drawn.reflectances, drawn.elevation).transpose(2, 0, 1), strict=True))
    stated = dict(zip(MEASURED, (1, 2, 3, 4, 5, 8), strict=True))
    both = write_tif(tmp_path / "e.tif", bands | {"metres": drawn.elevation}, dtype="float32", nodata=np.nan)
    for elevation in (8, 9):  # as a network sees it, and in metres
        opened = open_scene(both, stated | {"elevation": elevation})
        assert np.abs(opened.read(opened.whole)[1] - drawn.elevation).max() < 1e-3 * ELEVATION_METRES
        assert np.allclose(opened.bands(opened.whole)[..., -1], bands["elevation"], atol=1e-6)


def test_a_window_has_the_bands_of_the_whole(tif):
    opened = open_scene(tif)
    whole = np.pad(band_stack(*opened.read(opened.whole)), ((20, 20), (20, 20), (0, 0)), constant_values=np.nan)
    random = np.random.default_rng(0)
    for row, column in random.integers(-20, 90, (20, 2)).tolist():
        height, width = (int(side) for side in random.integers(1, 26, 2))
        part = opened.bands((row, column, height, width))
        expected = whole[row + 20 : row + 20 + height, column + 20 : column + 20 + width]
        assert np.array_equal(part[: len(expected), : expected.shape[1]], expected, equal_nan=True)


def test_threads_and_processes_may_share_it(tif):
    opened = pickle.loads(pickle.dumps(open_scene(tif)))
    windows = [(row, column, 32, 32) for row in range(0, 96, 32) for column in range(0, 96, 32)] * 4
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda window: opened.read(window)[0], windows))
    whole = opened.read(opened.whole)[0]
    for (row, column, height, width), part in zip(windows, parts, strict=True):
        assert np.array_equal(part, whole[row : row + height, column : column + width])


def test_nodata_stays_nodata(drawn, tmp_path):
    layers = numbers(drawn)
    layers["B3"][0, 0] = -32768  # as declared
    layers["B4"][1, 1] = 0  # the fill value of the product, not declared
    layers["elevation"][2, 2] = -9999
    quality = np.zeros((96, 96))
    quality[3, 3], quality[4, 4] = 1 << 3, 1 << 7
    layers["QA_PIXEL"] = quality
    path = write_tif(tmp_path / "holes.tif", layers, nodata=-32768)
    reflectances, elevation = open_scene(path).read((0, 0, 8, 8))
    assert np.argwhere(np.isnan(reflectances)).tolist() == [[0, 0, 1], [1, 1, 2]]
    assert np.argwhere(np.isnan(elevation)).tolist() == [[2, 2]]
    clear, _ = open_scene(path, hidden=(3, 4)).read((0, 0, 8, 8))
    assert np.isnan(clear[3, 3]).all()
    assert np.isfinite(clear[4, 4]).all()


@pytest.mark.parametrize("how", ["stated", "as the file says"])
def test_the_fill_value_is_nodata_however_the_scale_is_known(how, drawn, tmp_path):
    layers = numbers(drawn)
    layers["B4"][1, 1] = 0
    path = write_tif(tmp_path / "fill.tif", layers, dtype="uint16")
    if how == "stated":
        opened = open_scene(path, scale=SCALE, offset=OFFSET)
    else:
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = [SCALE] * 5 + [1] * 2, [OFFSET] * 5 + [0] * 2
        opened = open_scene(path)
    assert opened.scaling.how.endswith(how)
    reflectances, _ = opened.read(opened.whole)
    assert np.argwhere(np.isnan(reflectances)).tolist() == [[1, 1, 2]]
    harmonized = write_tif(tmp_path / "zero.tif", {**numbers(drawn, **HARMONIZED), "B4": layers["B4"] * 0})
    assert (open_scene(harmonized, **HARMONIZED).read((0, 0, 8, 8))[0][..., 2] == 0).all()  # dark, not missing


def test_what_lies_beside_a_file_counts(drawn, tmp_path):
    """An external mask, a nodata value and a place that only a file beside the GeoTIFF tells."""
    masked = write_tif(tmp_path / "masked.tif", numbers(drawn))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(masked, "r+") as dataset:
        valid = np.ones(dataset.shape, bool)
        valid[3, 4] = False
        dataset.write_mask(valid)
    assert (tmp_path / "masked.tif.msk").exists()
    reflectances, elevation = open_scene(masked).read((0, 0, 8, 8))
    assert np.argwhere(np.isnan(elevation)).tolist() == [[3, 4]]
    assert np.isnan(reflectances[3, 4]).all()
    layers = numbers(drawn)
    layers["B2"][5, 6] = -7
    told = write_tif(tmp_path / "told.tif", layers)
    band = '<PAMRasterBand band="1"><NoDataValue>-7</NoDataValue></PAMRasterBand>'
    (tmp_path / "told.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    assert np.argwhere(np.isnan(open_scene(told).read((0, 0, 8, 8))[0])).tolist() == [[5, 6, 0]]
    placed = write_tif(tmp_path / "placed.tif", numbers(drawn), crs=None)
    (tmp_path / "placed.tfw").write_text("30\n0\n0\n-30\n300015\n6799985\n")
    (tmp_path / "placed.tif.aux.xml").write_text(f"<PAMDataset><SRS>{UTM}</SRS></PAMDataset>")
    assert (open_scene(placed).crs, open_scene(placed).transform) == (UTM, NORTH_UP)


@pytest.mark.parametrize("name", ["LE07_L2SP_1", "LT05_L2SP_1"])
def test_a_stack_of_an_older_landsat_is_not_misread(name, drawn, tmp_path):
    """There B5 is short-wave infrared; names of colours, and what is stated, are meant as they are."""
    layers = {f"SR_{band}" if band in MEASURED[:5] else band: values for band, values in numbers(drawn).items()}
    path = write_tif(tmp_path / f"{name}.tif", layers)
    with pytest.raises(SceneError, match=r"bands of another Landsat: .* say which is which, as in --bands B2=1,B3=2"):
        open_scene(path)
    check_same(open_scene(path, dict(zip(MEASURED, range(1, 7), strict=True))), drawn, SCALE)
    colours = dict(zip(MEASURED, ("blue", "green", "red", "nir08", "swir16", "elevation"), strict=True))
    check_same(open_scene(write_tif(tmp_path / f"{name}c.tif", swapped(drawn, **colours))), drawn, SCALE)


def test_scales(drawn):
    landsat, harmonized = Scaling(SCALE, -0.2, ""), Scaling(1e-4, 0, "")
    for seed in range(6):
        seen = scene(seed).reflectances.astype(np.float64)
        assert landsat.plausible((seen + 0.2) / SCALE)
        assert harmonized.plausible(seen * 1e4)
        assert not landsat.plausible(seen * 1e4)
        assert not harmonized.plausible((seen + 0.2) / SCALE)
        assert not landsat.plausible(seen)
    assert not harmonized.plausible(drawn.reflectances.astype(np.float64))


def write(tmp_path, drawn, *, layers=None, **options):
    return write_tif(tmp_path / "bad.tif", layers or numbers(drawn), **options)


def swapped(drawn, **names):
    return {names.get(name, name): values for name, values in numbers(drawn).items()}


BAD = {
    "missing": (lambda d: {"layers": swapped(d, B6="B7")}, {}, "bands missing: B6; bands are not described"),
    "twice": (lambda d: {"layers": swapped(d, cover="green")}, {}, "a band twice: bands 2 and 7 are both .* B3"),
    "undescribed": (lambda _: {"described": False}, {}, "bands missing: B2, B3, .* as in --bands B2=2,B3=3"),
    "beyond": (lambda _: {}, {"band_map": STATED}, "elevation is stated as band 10, it has 7"),
    "rotated": (lambda _: {"transform": NORTH_UP @ Affine.rotation(10)}, {}, "rotated or skewed: gdalwarp"),
    "south up": (lambda _: {"transform": Affine(30, 0, 3e5, 0, 30, 6e6)}, {}, "stored south up: gdalwarp"),
    "oblong": (lambda _: {"transform": Affine(30, 0, 3e5, 0, -20, 6e6)}, {}, "pixels that are no squares: 30 × 20"),
    "Web Mercator": (
        lambda _: {"crs": "EPSG:3857"},
        {},
        "in Web Mercator: its metres are none on the ground: gdalwarp -t",
    ),
    "of Esri": (lambda _: {"crs": "ESRI:102100"}, {}, "in Web Mercator: its metres are none"),
    "HLS": (lambda d: {"layers": numbers(d, **HARMONIZED)}, {}, "no reflectances: .* say --scale 0.0001 --offset 0"),
    "scaled": (lambda d: {"layers": layers_of(d), "dtype": "float32"}, HARMONIZED, "already reflectance: leave --sc"),
    "bytes": (lambda d: {"layers": numbers(d, 1 / 255, 0), "dtype": "uint8"}, {}, "a picture of bytes: 8-bit"),
    "nodata": (lambda d: {"layers": {n: v * 0 - 9 for n, v in numbers(d).items()}, "nodata": -9}, {}, "all nodata"),
    "no qa": (lambda _: {}, {"hidden": (3,)}, "it has no qa, whose bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_will_not_do(name, drawn, tmp_path):
    written, options, words = BAD[name]
    path = write(tmp_path, drawn, **written(drawn))
    with pytest.raises(SceneError, match=words) as told:
        open_scene(path, **options)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    again = pickle.loads(pickle.dumps(told.value))
    assert (again.reason, again.detail, str(again)) == (told.value.reason, told.value.detail, str(told.value))


@pytest.mark.parametrize(
    ("transform", "crs", "words"),
    [
        (None, None, None),
        (NORTH_UP, None, None),
        (NORTH_UP @ Affine.rotation(90), None, "rotated or skewed: gdalwarp"),
        (NORTH_UP @ Affine.shear(0, 5), None, "rotated or skewed: gdalwarp"),
        (Affine(30, 0, 3e5, 0, 30, 6e6), None, "stored south up: gdalwarp"),
        (Affine(1, 0, 0, 0, 1, 5), None, "stored south up: gdalwarp"),
        (Affine(-30, 0, 3e5, 0, -30, 6e6), None, "rotated or skewed: gdalwarp"),
        (Affine.identity(), UTM, "stored south up: gdalwarp"),
    ],
)
def test_north_is_up_with_a_crs_and_without_one(drawn, tmp_path, transform, crs, words):
    """A file that tells no place at all has the identity, and is believed; one that tells another place is not."""
    path = write_tif(tmp_path / "stack.tif", numbers(drawn), crs=crs, transform=transform)
    if crs is None and transform is not None:
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = transform
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(path) as dataset:
        assert (dataset.crs, dataset.transform) == (crs, transform or Affine.identity())
    if words is None:
        assert open_scene(path).bands((0, 0, 96, 96)).shape == (96, 96, 8)
    else:
        with pytest.raises(SceneError, match=words):
            open_scene(path)


def test_files_that_cannot_be_read(drawn, tif, tmp_path):
    with pytest.raises(UserError, match="no GeoTIFF that can be read: it does not exist"):
        open_scene(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(UserError, match="no GeoTIFF that can be read"):
        open_scene(tmp_path / "text.tif")
    cut = tmp_path / "cut.tif"
    cut.write_bytes(tif.read_bytes()[: tif.stat().st_size // 2])
    with pytest.raises(UserError, match=r"damaged or cut off|no GeoTIFF"):
        open_scene(cut)
    layers = numbers(drawn)
    for name in MEASURED:
        write_tif(tmp_path / f"lake_{name}.tif", {"": layers[name]}, described=False)
    write_tif(tmp_path / "lake_elevation.tif", {"": layers["elevation"][:90]}, described=False)
    with pytest.raises(SceneError, match=r"bands on different grids: lake_elevation\.tif"):
        open_scene(tmp_path / "lake_B2.tif")
    (tmp_path / "lake_elevation.tif").unlink()
    with pytest.raises(SceneError, match=r"bands missing: elevation; put a file .* lake_elevation\.tif"):
        open_scene(tmp_path / "lake_B2.tif")
    write_tif(tmp_path / "LE07_1_SR_B2.TIF", {"": layers["B2"]}, described=False)
    with pytest.raises(SceneError, match="bands of another Landsat: Landsat 4 to 7"):
        open_scene(tmp_path / "LE07_1_SR_B2.TIF")


def test_pictures_that_are_no_scenes(real_data):
    """Real GeoTIFFs of other kinds: 8-bit pictures of four bands, of three, and of a Landsat 7 scene."""
    stated = dict(zip(MEASURED, (1, 2, 3, 3, 2, 1), strict=True))
    paths = [*(real_data / "landsat_pucallpa").glob("*.tif"), *(real_data / "odd_geotiffs").glob("*.tif")]
    assert len(paths) == 13
    for path in paths:
        with pytest.raises(SceneError, match="bands missing"):
            open_scene(path)
        with pytest.raises(SceneError, match="a picture of bytes"):
            open_scene(path, stated)
