"""The servers' bands equal `band_stack`, and their composite equals the median in numpy: through the real client."""

from __future__ import annotations

import io

import ee
import numpy as np
import pytest
import rasterio
from loopback_earthengine import Assumptions, Raster, serve
from rasterio.io import MemoryFile
from summers import BANDS as MEASURED
from summers import COLLECTION, expected, heights, scene, served

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS, MARGIN, SCALE, band_stack
from waterscape.sources.landsat.composite import band_image, composite, summer

CRS, NORTH = "EPSG:32637", (30.0, 0.0, 400_000.0, 0.0, -30.0, 6_200_000.0)
SOUTH_CRS, SOUTH = "EPSG:32718", (30.0, 0.0, 540_000.0, 0.0, -30.0, 9_070_000.0)
OUTSIDE = -9999.0
WORLDS = [
    Assumptions(),
    Assumptions(convolve_kernel="flipped", masked_neighbours="skipped"),
    Assumptions(division_by_zero="masked", masked_pixels="nan"),
]


def pixels(image, names, crs, transform, side):
    """The pixels of an image (H W C), NaN where masked: as an export asks for them."""
    a, b, c, d, e, f = transform
    affine = {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f}
    request = {
        "expression": image.select(list(names)).unmask(OUTSIDE, False).toFloat(),
        "fileFormat": "GEO_TIFF",
        "grid": {"dimensions": {"width": side, "height": side}, "affineTransform": affine, "crsCode": crs},
    }
    with MemoryFile(io.BytesIO(ee.data.computePixels(request))) as memory, memory.open() as dataset:
        found = dataset.read().astype(np.float64).transpose(1, 2, 0)
    found[found == OUTSIDE] = np.nan
    return found


def assert_bands_equal(reflectances, metres, assumptions=None):
    bands = {band: reflectances[..., at] for at, band in enumerate(MEASURED)} | {"elevation": metres}
    side = len(metres)
    with serve({"demo/tile": Raster(bands, CRS, NORTH)}, assumptions=assumptions) as server:
        server.connect()
        found = pixels(band_image(ee.Image("demo/tile")), BANDS, CRS, NORTH, side)
    wanted = band_stack(reflectances, metres)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) <= 1e-6
    return wanted


@pytest.mark.parametrize("world", WORLDS)
def test_servers_bands_equal_ours_whatever_the_service_makes_of_masks_and_kernels(world):
    random = np.random.default_rng(3)
    reflectances = random.uniform(-0.1, 1, (40, 40, 5))
    metres = random.uniform(-20, 3000, (40, 40))
    reflectances[5:9, 7] = np.nan  # all bands of some pixels, then one band of a few
    reflectances[random.random((40, 40)) < 0.02, 1] = np.nan
    reflectances[20:24, 20:24] = [0.1, -0.1, 0.1, 0.1, -0.05]  # no water index there but by our own word: 0
    metres[30, 3] = np.nan
    wanted = assert_bands_equal(reflectances, metres, world)
    line = BANDS.index("line")
    assert np.isnan(wanted[:MARGIN, :, line]).all()
    assert np.isfinite(wanted[21, 21, :line]).all()


def test_servers_bands_equal_ours_on_a_real_tile(real_data):
    files = sorted((real_data / "hls_water" / "images").glob("*.tif"))
    with rasterio.open(files[3]) as dataset:
        stack = dataset.read().astype(np.float64)
    assert_bands_equal(stack[1:6].transpose(1, 2, 0) / 10_000, stack[9])


def test_composite_is_the_median_of_clear_scenes_of_the_summer():
    side = 40
    inside = [scene(CRS, NORTH, f"2020-{day}", seed, side) for seed, day in enumerate(["06-01", "07-11", "08-31"])]
    covered = scene(CRS, NORTH, "2020-07-20", 7, side, clouds=1)
    covered.bands["QA_PIXEL"][:] = 1 << 4
    for each in inside:
        each.bands["QA_PIXEL"][10:12, 10:14] = 1 << 3  # never clear
    others = [scene(CRS, NORTH, day, 8, side) for day in ("2020-05-31", "2020-09-01", "2019-07-01")]
    srtm = heights(CRS, NORTH, side, 4, "elevation", void=np.s_[:20])
    glo30 = heights(CRS, NORTH, side, 5, "DEM", void=np.s_[:, :5])
    with serve(**served([*inside, covered, *others], srtm, [glo30])) as server:
        server.connect()
        region = ee.Geometry.Rectangle([30, 50, 45, 60], "EPSG:4326", False)
        found = pixels(composite(region, 2020), [*BANDS, "water"], CRS, NORTH, side)
    metres = np.where(np.isnan(srtm.bands["elevation"]), glo30.bands["DEM"], srtm.bands["elevation"])
    reflectances, metres, water = expected(inside, np.nan_to_num(metres))
    wanted = np.dstack([band_stack(reflectances, metres), water])
    assert np.isnan(wanted[10, 10, 0])
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) <= 1e-6


def test_a_southern_summer_is_that_of_december_before():
    side = 12
    inside = [scene(SOUTH_CRS, SOUTH, day, 1, side) for day in ("2019-12-01", "2020-02-29")]
    others = [scene(SOUTH_CRS, SOUTH, day, 5, side) for day in ("2019-11-30", "2020-03-01", "2020-07-01", "2020-12-10")]
    srtm = heights(SOUTH_CRS, SOUTH, side, 4, "elevation")
    with serve(**served([*inside, *others], srtm, [heights(SOUTH_CRS, SOUTH, side, 4, "DEM")])) as server:
        server.connect()
        region = ee.Geometry.Rectangle([-80, -12, -70, -5], "EPSG:4326", False)
        found = pixels(composite(region, 2020, southern=True), [*BANDS, "water"], SOUTH_CRS, SOUTH, side)
    reflectances, metres, water = expected(inside, srtm.bands["elevation"])
    wanted = np.dstack([band_stack(reflectances, metres), water])
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) <= 1e-6


def test_without_a_scene_all_but_the_elevation_is_masked():
    side = 12
    srtm = heights(CRS, NORTH, side, 4, "elevation")
    with serve(
        **served([scene(CRS, NORTH, "2020-05-31", 1, side)], srtm, [heights(CRS, NORTH, side, 4, "DEM")])
    ) as server:
        server.connect()
        region = ee.Geometry.Rectangle([30, 50, 45, 60], "EPSG:4326", False)
        found = pixels(composite(region, 2020), [*BANDS, "water"], CRS, NORTH, side)
    assert np.array_equal(np.isfinite(found).all((0, 1)), [band == "elevation" for band in [*BANDS, "water"]])
    assert np.isnan(found[..., [0, 5, 6, 8]]).all()


def test_the_loopback_reduces_only_what_is_of_one_type():
    """As the service does: a masked number among scenes is refused, and so are other bands."""
    side = 12
    first = scene(CRS, NORTH, "2020-06-01", 1, side)
    with serve(collections={COLLECTION: [first]}) as server:
        server.connect()
        scenes = ee.ImageCollection(COLLECTION).select(["SR_B2"]).map(lambda image: image.multiply(SCALE))
        number = ee.Image.constant(0.5).rename("SR_B2").updateMask(0)

        def reduced(others, more):
            return others.merge(ee.ImageCollection([more])).median().bandNames().getInfo()

        with pytest.raises(
            ee.EEException, match=r"type for band 'SR_B2': .* float64\. Actual type: float64<0\.5, 0\.5>"
        ):
            reduced(scenes, number)
        with pytest.raises(ee.EEException, match="Expected a homogeneous image collection"):
            reduced(scenes, ee.Image(scenes.first()).rename("other"))
        assert reduced(scenes.map(lambda image: image.toFloat()), number.toFloat()) == ["SR_B2"]
        assert reduced(scenes, ee.Image(scenes.first()).updateMask(0)) == ["SR_B2"]


def test_summers_that_landsat_8_did_not_see_are_refused():
    assert [day.isoformat() for day in summer(2020)] == ["2020-06-01", "2020-09-01"]
    assert [day.isoformat() for day in summer(2020, southern=True)] == ["2019-12-01", "2020-03-01"]
    with pytest.raises(UserError, match="the first summer that Landsat 8 saw is that of 2013, not 2012"):
        summer(2012)
    with pytest.raises(UserError, match="the first southern summer that Landsat 8 saw is that of 2014, not 2013"):
        summer(2013, southern=True)
    with pytest.raises(UserError, match="the summer of 2999 is not over"):
        summer(2999)
