"""The loopback Earth Engine, judged by scipy, rasterio, numpy and the documentation of the operations."""

from __future__ import annotations

import dataclasses
import io
import json
import typing
import urllib.request
import warnings

import ee
import numpy as np
import pytest
import rasterio
import shapely
from loopback_earthengine import Assumptions, Fault, Raster, serve
from loopback_earthengine.asking import pixels, stack
from loopback_earthengine.operations import OPERATIONS
from loopback_earthengine.signatures import algorithms
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy import ndimage

CRS, TRANSFORM = "EPSG:32618", (30.0, 0.0, 500000.0, 0.0, -30.0, 4000020.0)
SHAPE = (18, 25)
RANDOM = np.random.default_rng(3)
ONE, TWO = RANDOM.normal(size=SHAPE), RANDOM.normal(size=SHAPE)
HOLED = np.where(RANDOM.random(SHAPE) < 0.1, np.nan, ONE)
ASSET = "projects/demo-water/assets/scene"
KERNEL = RANDOM.normal(size=(3, 5))
TIMES = (1_590_969_600_000, 1_593_561_600_000, 1_609_459_200_000)  # 2020-06-01, 2020-07-01, 2021-01-01


def world():
    """One scene with holes, and a collection of three dates, one of which lies elsewhere."""
    scene = Raster({"one": ONE, "two": TWO, "holed": HOLED, "bits": np.arange(450).reshape(SHAPE)}, CRS, TRANSFORM)
    dated = [
        Raster(
            {"value": np.full(SHAPE, 10.0 * number), "quality": np.full(SHAPE, -float(number))},
            CRS,
            TRANSFORM,
            mask=RANDOM.random(SHAPE) > 0.2,
            properties={"system:time_start": time, "CLOUD_COVER": 30 - 10 * number},
        )
        for number, time in enumerate(TIMES)
    ]
    return {"assets": {ASSET: scene}, "collections": {"DATED": dated}}


@pytest.fixture(scope="module")
def server():
    """A loopback in the assumed world, with the real client connected."""
    with serve(**world()) as running:
        running.connect()
        yield running


@pytest.fixture
def scene(server):
    """The scene as the client sees it."""
    server.connect()
    return ee.Image(ASSET)


def ask(image, transform=TRANSFORM, shape=SHAPE, crs=CRS):
    return stack(pixels(image, crs, transform, shape))[..., 0]


def known(image):
    return ask(image.mask()) > 0


def inner(array):
    return array[2:-2, 2:-2]


def test_every_operation_is_one_of_the_wheel():
    assert len(OPERATIONS) > 200
    assert set(OPERATIONS) <= set(algorithms())


def test_convolve_is_scipy_correlate(scene):
    kernel = ee.Kernel.fixed(5, 3, KERNEL.tolist())
    theirs = ndimage.correlate(ONE, KERNEL, mode="constant")
    found = scene.select("one").convolve(kernel)
    np.testing.assert_allclose(inner(ask(found)), inner(theirs), rtol=0, atol=1e-12)
    expected = ndimage.binary_erosion(np.ones(SHAPE, bool), np.ones((3, 5)))
    np.testing.assert_array_equal(known(found), expected)  # outside of the asset is masked, and masks its neighbours


def test_neighbourhoods_and_matrices_are_convolutions(scene):
    weights = RANDOM.normal(size=(4, 2, 3, 3))
    around = scene.select(["one", "two"]).neighborhoodToBands(ee.Kernel.square(1))
    product = ee.Image(ee.Array(weights.reshape(4, 18).tolist())).matrixMultiply(around.toArray().toArray(1))
    flat = product.arrayProject([0]).arrayFlatten([["a", "b", "c", "d"]])
    found = stack(pixels(flat, CRS, TRANSFORM, SHAPE))
    for number, kernels in enumerate(weights):
        theirs = sum(ndimage.correlate(band, kernel) for band, kernel in zip((ONE, TWO), kernels, strict=True))
        np.testing.assert_allclose(inner(found[..., number]), inner(theirs), rtol=0, atol=1e-12)


def test_array_images_are_numpy(scene):
    row = scene.select(["one", "two"]).toArray()
    column = row.toArray(1)
    np.testing.assert_allclose(ask(row.arrayGet([1])), TWO)
    np.testing.assert_allclose(ask(column.arrayGet([0, 0])), ONE)
    np.testing.assert_allclose(ask(row.arrayCat(row.multiply(2), 0).arrayGet([3])), 2 * TWO)
    np.testing.assert_allclose(ask(row.arraySlice(0, 1, 2).arrayGet([0])), TWO)
    np.testing.assert_allclose(ask(row.arrayReduce(ee.Reducer.sum(), [0]).arrayGet([0])), ONE + TWO)
    np.testing.assert_allclose(ask(row.max(0).arrayGet([0])), np.maximum(ONE, 0))
    outer = column.matrixMultiply(column.arrayTranspose())
    np.testing.assert_allclose(ask(outer.arrayGet([0, 1])), ONE * TWO)


@pytest.mark.parametrize(
    ("word", "theirs"),
    [
        ("add", np.add),
        ("subtract", np.subtract),
        ("multiply", np.multiply),
        ("divide", np.divide),
        ("max", np.maximum),
        ("min", np.minimum),
        ("gt", np.greater),
        ("lte", np.less_equal),
        ("atan2", np.arctan2),
    ],
)
def test_operators_are_numpy(scene, word, theirs):
    np.testing.assert_array_equal(ask(getattr(scene.select("one"), word)(scene.select("two"))), theirs(ONE, TWO))


def test_functions_are_numpy(scene):
    one = scene.select("one")
    for found, theirs in ((one.exp(), np.exp(ONE)), (one.abs(), np.abs(ONE)), (one.tanh(), np.tanh(ONE))):
        np.testing.assert_array_equal(ask(found), theirs)
    np.testing.assert_array_equal(
        ask(scene.select("bits").rightShift(1).bitwiseAnd(3)), (np.arange(450) >> 1 & 3).reshape(SHAPE)
    )
    np.testing.assert_array_equal(ask(one.toFloat()), ONE.astype(np.float32))
    np.testing.assert_array_equal(ask(one.divide(0)), np.zeros(SHAPE))  # documented


def test_operators_match_bands_as_documented(scene):
    pair = scene.select(["one", "two"])
    assert pair.add(scene.select("two")).bandNames().getInfo() == ["one", "two"]
    assert scene.select("two").add(pair).bandNames().getInfo() == ["one", "two"]
    assert ee.Image.cat([pair, scene.select("one")]).bandNames().getInfo() == ["one", "two", "one_1"]
    assert pair.addBands(scene.select(["holed"], ["two"]), None, True).bandNames().getInfo() == ["one", "two"]
    with pytest.raises(ee.EEException, match="cannot be matched"):
        pair.add(scene.select(["one", "two", "holed"])).getInfo()


def test_masks_follow_the_documentation(scene):
    holed, two, there = scene.select("holed"), scene.select("two"), ~np.isnan(HOLED)
    np.testing.assert_array_equal(known(holed.add(two)), there)
    np.testing.assert_array_equal(ask(holed.unmask(7)), np.where(there, ONE, 7))
    np.testing.assert_array_equal(known(two.updateMask(two.gt(0)).selfMask()), TWO > 0)
    np.testing.assert_array_equal(ask(holed.mask()), there)
    # where: a masked test or value leaves the input, a masked input stays masked
    np.testing.assert_array_equal(ask(two.where(holed.gt(0), 5)), np.where(there & (ONE > 0), 5, TWO))
    np.testing.assert_array_equal(known(holed.where(two.gt(0), 5)), there)
    np.testing.assert_array_equal(known(scene.select(["two", "holed"]).toArray()), there)
    filled = scene.select("one").unmask(7, False)  # beyond the footprint too
    moved = (30.0, 0.0, 500000.0 - 30, 0.0, -30.0, 4000020.0)
    assert (ask(filled, moved, (2, 2))[:, 0] == 7).all()
    assert (ask(scene.select("one").unmask(7).mask(), moved, (2, 2))[:, 0] == 0).all()


def test_an_input_is_read_at_the_scale_asked_for(scene):
    wide = (60.0, 0.0, 500000.0, 0.0, -60.0, 4000020.0)
    shape = (9, 12)
    theirs = np.zeros(shape)
    reproject(ONE, theirs, src_transform=Affine(*TRANSFORM), src_crs=CRS, dst_transform=Affine(*wide), dst_crs=CRS,
              resampling=Resampling.nearest)  # fmt: skip
    np.testing.assert_array_equal(ask(scene.select("one"), wide, shape), theirs)
    # a kernel works on the pixels asked for: at another scale it is another operation, unless the input is pinned
    kernel = ee.Kernel.fixed(3, 1, [[1, 0, -1]])
    free = scene.select("one").convolve(kernel)
    pinned = free.reproject(CRS, list(TRANSFORM))
    full = ndimage.correlate(ONE, np.array([[1.0, 0, -1]]), mode="constant")
    np.testing.assert_allclose(ask(pinned, wide, shape)[:, :-1], full[1::2, 1::2][:9, :12][:, :-1])
    assert not np.allclose(ask(free, wide, shape)[:, 1:-1], full[1::2, 1::2][:9, :12][:, 1:-1])


def test_another_coordinate_system_is_rasterio_nearest(scene):
    degrees = (0.0003, 0.0, -75.0, 0.0, -0.0003, 36.1455)
    shape = (20, 20)
    theirs = np.full(shape, np.nan)
    reproject(ONE, theirs, src_transform=Affine(*TRANSFORM), src_crs=CRS, dst_transform=Affine(*degrees),
              dst_crs="EPSG:4326", resampling=Resampling.nearest, init_dest_nodata=True, dst_nodata=np.nan)  # fmt: skip
    found = ask(scene.select("one").unmask(-99), degrees, shape, "EPSG:4326")
    seen = ~np.isnan(theirs) & (ask(scene.select("one").mask(), degrees, shape, "EPSG:4326") > 0)
    assert seen.mean() > 0.3
    assert (found[seen] == theirs[seen]).mean() > 0.99  # GDAL's own transformer is approximate


def test_default_projections(scene):
    there = scene.select("one").add(1).projection().getInfo()
    assert (there["crs"], there["transform"]) == (CRS, list(TRANSFORM))
    composite = ee.ImageCollection("DATED").median().projection().getInfo()
    assert (composite["crs"], composite["transform"]) == ("EPSG:4326", [1, 0, 0, 0, 1, 0])
    assert scene.select("one").projection().nominalScale().getInfo() == 30


def test_collections_are_filtered_sorted_mapped_and_reduced(server):
    server.connect()
    dated = ee.ImageCollection("DATED")
    assert dated.filterDate("2020-06-01", "2020-09-01").size().getInfo() == 2
    assert dated.filter(ee.Filter.calendarRange(6, 8, "month")).size().getInfo() == 2
    assert dated.filter(ee.Filter.lt("CLOUD_COVER", 15)).size().getInfo() == 1
    assert dated.filterBounds(ee.Geometry.Point([0, 0])).size().getInfo() == 0
    assert dated.sort("CLOUD_COVER").first().get("CLOUD_COVER").getInfo() == 10
    rasters = server.world.collections["DATED"]
    values = np.stack([np.where(raster.mask, raster.bands["value"], np.nan) for raster in rasters])
    grown = dated.map(lambda image: image.select(["value"]).add(ee.Number(image.get("CLOUD_COVER"))))
    more = values + np.array([30, 20, 10])[:, None, None]
    seen = ~np.isnan(values).all(0)
    warnings.simplefilter("ignore")  # numpy's, where no image has a pixel
    for found, theirs in (
        (dated.select("value").median(), np.nanmedian(values, 0)),
        (dated.select("value").mean(), np.nanmean(values, 0)),
        (grown.max(), np.nanmax(more, 0)),
        (dated.select("value").reduce(ee.Reducer.min()), np.nanmin(values, 0)),
        (dated.select("value").mosaic(), np.nanmax(values, 0)),
        (dated.qualityMosaic("quality").select("value"), np.nanmin(values, 0)),
    ):
        np.testing.assert_allclose(ask(found)[seen], theirs[seen])
        np.testing.assert_array_equal(known(found), seen)
    assert dated.select("value").reduce(ee.Reducer.min()).bandNames().getInfo() == ["value_min"]


def test_regions(scene):
    box = ee.Geometry.Rectangle([500060, 3999780, 500180, 3999900], proj=CRS, geodesic=False)
    inside = ONE[4:8, 2:6]
    found = scene.select("one").reduceRegion(ee.Reducer.mean(), box, 30, CRS, None).getInfo()
    origin = scene.select("one").reduceRegion(ee.Reducer.mean(), box, crs=CRS, crsTransform=list(TRANSFORM)).getInfo()
    assert origin["one"] == pytest.approx(inside.mean())
    assert found["one"] is not None
    rectangle = scene.select("one").sampleRectangle(box).get("one").getInfo()
    np.testing.assert_allclose(rectangle, inside)
    with pytest.raises(ee.EEException, match="masked"):
        scene.select("holed").sampleRectangle().get("holed").getInfo()
    point = ee.Geometry.Point([500060 + 15, 3999900 - 15], proj=CRS)
    at = scene.select("one").reduceRegion(ee.Reducer.first(), point, crs=CRS, crsTransform=list(TRANSFORM))
    assert at.getInfo()["one"] == ONE[4, 2]
    np.testing.assert_array_equal(known(scene.select("one").clip(box)).sum(), 16)
    with pytest.raises(ee.EEException, match="Too many pixels"):
        scene.reduceRegion(ee.Reducer.mean(), maxPixels=3).getInfo()


def test_a_geotiff_says_where_it_lies(scene):
    image = scene.select(["one", "two"]).toFloat()
    body = pixels(image, CRS, TRANSFORM, SHAPE, fileFormat="GEO_TIFF")
    with rasterio.open(io.BytesIO(body)) as file:
        assert (file.crs.to_string(), file.transform, file.descriptions) == (CRS, Affine(*TRANSFORM), ("one", "two"))
        np.testing.assert_array_equal(file.read(), np.stack([ONE, TWO]).astype(np.float32))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda _: call("Image.nothing", {}), "Unable to find function"),
        (lambda scene: call("Image.add", {"image1": scene}), "Parameter 'image2' is required"),
        (lambda scene: call("Image.abs", {"value": scene, "more": 1}), "Unrecognized argument 'more'"),
        (lambda scene: call("Image.add", {"image1": scene, "image2": "text"}), r"(?s)Invalid type.*Image.*String"),
        (lambda _: call("Kernel.fixed", {"weights": 3}), "Invalid type"),
        (lambda scene: scene.select("none"), "did not match any bands"),
        (lambda scene: scene.rename(["a"]), "number of names"),
        (lambda _: ee.Image("projects/demo-water/assets/none"), "not found"),
        (lambda scene: scene.toArray().matrixMultiply(scene.toArray()), "both must have 2"),
        (lambda scene: scene.reproject("EPSG:99999999", None, 30), "could not be parsed"),
        (lambda scene: scene.select(["one"]).connectedPixelCount(), "does not compute"),
    ],
)
def test_what_does_not_fit_the_algorithm_list_is_refused(scene, wrong, message):
    with pytest.raises(ee.EEException, match=message):
        ask(wrong(scene))


def call(name, arguments):
    """A call that the client itself would not let through."""
    made = ee.Image(0)
    made.func, made.args = name, arguments
    return made


def test_deep_graphs_are_computed_and_deep_nesting_is_refused(server):
    server.connect()
    values = {"0": {"constantValue": 1}}
    for number in range(1, 2001):
        two = {"image1": {"valueReference": str(number - 1)}, "image2": {"constantValue": 1}}
        values[str(number)] = {"functionInvocationValue": {"functionName": "Image.add", "arguments": two}}
    grid = {"dimensions": {"width": 1, "height": 1}, "crsCode": CRS,
            "affineTransform": {"scaleX": 30, "scaleY": -30}}  # fmt: skip
    body = {"expression": {"result": "2000", "values": values}, "fileFormat": "NPY", "grid": grid}
    assert np.load(io.BytesIO(post(server, "image:computePixels", body)))["constant"][0, 0] == 2001
    node = {"constantValue": 1}
    for _ in range(200):
        node = {"functionInvocationValue": {"functionName": "Number.abs", "arguments": {"input": node}}}
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(server, "value:compute", {"expression": {"result": "0", "values": {"0": node}}})
    assert json.loads(refused.value.read())["error"]["message"] == "Expression is nested too deeply."


def post(server, word, body):
    address = f"{server.url}/v1/projects/demo-water/{word}"
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode())) as answer:
        return answer.read()


def effects(scene):
    """Figures in which each assumption shows, by its name."""
    one, two, holed = (scene.select(name) for name in ("one", "two", "holed"))
    around = scene.select(["one", "two"]).neighborhoodToBands(ee.Kernel.square(1))
    order = around.toArray().arrayGet([5])
    array = one.toArray().toArray(1).arrayCat(two.toArray().toArray(1), 0)
    row = array.arrayTranspose()
    half = (30.0, 0.0, 500015.0, 0.0, -30.0, 4000020.0)
    wide = (60.0, 0.0, 500000.0, 0.0, -60.0, 4000020.0)
    kernel = ee.Kernel.fixed(5, 3, KERNEL.tolist())
    pinned = one.convolve(ee.Kernel.fixed(3, 1, [[1, 0, -1]])).reproject(CRS, list(TRANSFORM))
    return {
        "convolve_kernel": lambda: ask(one.convolve(kernel)),
        "neighbour_order": lambda: ask(around.toArray().arrayGet([1])),
        "neighbour_bands": lambda: ask(order),
        "masked_neighbours": lambda: ask(holed.convolve(kernel)),
        "division_by_zero": lambda: ask(one.divide(0).mask()),
        "precision": lambda: ask(one.multiply(1e9).add(1e-3)),
        "array_with_number": lambda: ask(array.add(1).arrayGet([0, 0])),
        "matrix_rows": lambda: ask(array.matrixMultiply(row).arrayLength(0)),
        "median_of_even": lambda: ask(ee.ImageCollection([one, two.rename("one")]).median()),
        "masked_pixels": lambda: ask(holed),
        "shared_edge": lambda: ask(one, half),
        "reprojected_scale": lambda: ask(pinned, wide, (9, 12)),
        "repeated_request": lambda: [export(one, "again", key="k"), export(one, "again", key="k")],
    }


def other_worlds():
    hints = typing.get_type_hints(Assumptions)
    return [
        (field.name, other)
        for field in dataclasses.fields(Assumptions)
        for other in typing.get_args(hints[field.name])[1:]
    ]


@pytest.mark.long
@pytest.mark.parametrize(("name", "other"), other_worlds())
def test_every_other_world_can_be_told_from_the_assumed_one(name, other, scene):
    assumed = seen(name, scene)
    with serve(**world(), assumptions=Assumptions(**{name: other})) as running:
        running.connect()
        assert not np.array_equal(assumed, seen(name, ee.Image(ASSET)))


def seen(name, scene):
    try:
        found = effects(scene)[name]()
    except ee.EEException as error:
        return str(error)
    return np.nan_to_num(found, nan=-1e9) if isinstance(found, np.ndarray) else found


def export(image, name, *, overwrite=False, key=None, description=None, **facts):
    region = ee.Geometry.Rectangle([500061, 3999781, 500179, 3999899], proj=CRS, geodesic=False)
    facts = {"crs": CRS, "crsTransform": list(TRANSFORM), "region": region, "maxPixels": 1e10, **facts}
    target, described = f"projects/demo-water/assets/{name}", description or name.replace("/", "-")
    task = ee.batch.Export.image.toAsset(image, description=described, assetId=target, overwrite=overwrite, **facts)
    task.id = task._request_id = key
    task.id = None
    task.start()
    return task.name


def state(name):
    return ee.data.getOperation(name)["metadata"]["state"]


def test_an_export_goes_through_its_states_and_leaves_an_asset():
    with serve(**world(), polls=2) as running:
        running.connect()
        scene = ee.Image(ASSET)
        name = export(scene.select(["one", "holed"]).set("year", 2020), "made")
        assert [state(name) for _ in range(4)] == ["RUNNING", "RUNNING", "SUCCEEDED", "SUCCEEDED"]
        made = running.exports.assets["projects/demo-water/assets/made"]
        np.testing.assert_array_equal(made.bands["one"], ONE[4:8, 2:6])
        assert tuple(made.transform) == (30.0, 0.0, 500060.0, 0.0, -30.0, 3999900.0)
        assert ee.data.getAsset("projects/demo-water/assets/made")["properties"] == {
            "year": 2020,
            "system:index": "scene",
        }
        assert ee.Image("projects/demo-water/assets/made").select("one").reduceRegion("mean").getInfo()["one"]
        with pytest.raises(ee.EEException, match="Cannot overwrite"):
            export(scene, "made")
        assert state(export(scene.select("one"), "made", overwrite=True)) == "RUNNING"
        with pytest.raises(ee.EEException, match="does not exist"):
            export(scene, "no/such/folder")
        assert ee.data.getInfo("projects/demo-water/assets/none") is None
        ee.data.createAsset({"type": "IMAGE_COLLECTION"}, "projects/demo-water/assets/all")
        inside = export(scene.select("one"), "all/2020", maxPixels=3)
        assert [state(inside), state(inside), state(inside)][-1] == "FAILED"
        assert "too large" in ee.data.getOperation(inside)["error"]["message"]
        assert [asset["type"] for asset in ee.data.listAssets("projects/demo-water/assets")["assets"]] == [
            "IMAGE_COLLECTION",
            "IMAGE",
            "IMAGE",
        ]
        third = export(scene.select("one"), "cancelled")
        ee.data.cancelOperation(third)
        assert [state(third), state(third)][-1] == "CANCELLED"
        assert len(ee.data.listOperations()) == 4


@pytest.mark.parametrize("description", ["water of 2020", "a" * 101, "año"])
def test_descriptions_are_letters_numbers_and_lines(description):
    with serve(**world()) as running:
        running.connect()
        with pytest.raises(ee.EEException, match="Invalid description"):
            export(ee.Image(ASSET).select("one"), "made", description=description)
        export(ee.Image(ASSET).select("one"), "made", description="a" * 99 + "-")


def test_few_run_at_a_time_and_the_queue_has_an_end():
    with serve(**world(), running=1, most_queued=3) as running:
        running.connect()
        for number in range(3):
            export(ee.Image(ASSET).select("one"), f"number{number}")
        with pytest.raises(ee.EEException, match="Too many tasks"):
            export(ee.Image(ASSET).select("one"), "number3")
        states = [each["metadata"]["state"] for each in ee.data.listOperations()]
        assert sorted(states) == ["PENDING", "PENDING", "RUNNING"]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault("value:compute", status=429, message="Too many concurrent aggregations."), "Too many concurrent"),
        (Fault("value:compute", status=500), "internal error"),
        (Fault("value:compute", "nonsense"), None),
        (Fault("value:compute", "cut"), None),
        (Fault("value:compute", "lost"), None),
    ],
)
def test_faults_befall_as_many_requests_as_they_say(fault, raised):
    with serve(**world(), faults=[fault]) as running:
        running.connect()
        with pytest.raises(Exception, match=raised):
            ee.Number(1).getInfo()
        assert ee.Number(2).getInfo() == 2


def test_a_footprint_is_where_the_asset_lies(scene):
    footprint = scene.geometry().coordinates().getInfo()
    corner = shapely.Polygon(footprint[0]).bounds
    assert corner[0] == pytest.approx(-75, abs=1e-6)
