"""What the explore page is told: sliders against `waterscape sample`, tiles against `predict`, photos by hand."""

from __future__ import annotations

import base64
import io
import json
import math
import sys

import numpy as np
import pytest
import rasterio
import torch
from across_the_line import FORMS, expected, ground, write_across
from across_the_line import LATITUDE as OF_THE_LINE
from across_the_line import METRES as ACROSS
from loopback_yandex import serve as serve_yandex
from PIL import Image
from placed_pairs import LATITUDE, LONGITUDE, METRES, OWNER, SIDE, places, write_mosaic, write_placed_pairs
from rasterio.transform import from_origin
from small_pairs import jpeg
from untrained_runs import encoder, enlarger, landscapes, scenes, shapes, tiles_of_water, untrained

from waterscape.errors import UserError
from waterscape.pages.classify import judged
from waterscape.pages.explore import ground as ground_room
from waterscape.pages.explore import uploads
from waterscape.pages.explore.command import Explore, explore
from waterscape.pages.explore.ground import Ground
from waterscape.pages.explore.places import Places
from waterscape.pages.explore.sliders import Sliders
from waterscape.pages.explore.studio import Studio
from waterscape.pages.tile_landscape import Tile, predicted, tile_from
from waterscape.sources.occurrence_sample import reduce
from waterscape.sources.photo_file import as_jpeg
from waterscape.sources.tile_at import tile_at
from waterscape.training.exhibit import as_array


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("explore")
    write_placed_pairs(root / "pairs")
    write_mosaic(root / "mosaic.tif")
    return root


@pytest.fixture(scope="module")
def many():
    """Sliders along directions of more numbers."""
    return Sliders(tiles_of_water())


@pytest.fixture(scope="module")
def found(root):
    """The places of the set, all looked up."""
    found = Places(str(root / "pairs"))
    assert found.wait(60)
    return found


@pytest.fixture(scope="module")
def placed(root, found):
    with Ground(str(root / "mosaic.tif")) as ground:
        yield Studio([encoder(), landscapes()], found, ground)


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def seen(studio, latitude, longitude):
    """What the first run's encoder makes of a place."""
    return studio.landscape_at(0, studio.tile_at(0, latitude, longitude))


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def test_each_number_of_a_small_generator_is_a_slider():
    run, sliders = landscapes(), Sliders(landscapes())
    numbers = [0.5, -1.25, 2.0, 0.0]
    made = as_array(run.recipe.generate(run.networks, torch.tensor([numbers]), torch.zeros(1, dtype=torch.int64)))
    assert sliders.pictures(7, [numbers], 0) == pytest.approx(made, abs=1e-6)
    assert sliders.places(None) == [0, 0, 0, 0]


def test_a_sample_on_the_sliders_is_the_one_that_the_verb_sample_makes(many):
    for sliders in (many, Sliders(landscapes())):
        kind = len(sliders.classes) - 1
        made = as_array(sliders.trained.sample(4, sliders.classes[kind:] if sliders.classes else (), seed=0))
        assert sliders.pictures(3, [sliders.places(3)], max(kind, 0)) == pytest.approx(made[3:], abs=2e-4)


def test_sliders_of_many_numbers_go_where_pictures_differ_most_and_nowhere_else(many):
    axes = many.axes()
    assert axes.shape == (8, many.numbers)
    assert torch.allclose(axes @ axes.T, torch.eye(8), atol=1e-5)
    along = many.along(None, [0.0] * 8, 0, 0)
    random = torch.nn.functional.normalize(torch.randn(7, many.numbers, generator=torch.Generator().manual_seed(0)))
    steps = torch.linspace(-3, 3, len(along))
    at_random = [as_array(many._made(steps[:, None] * one, 0)).var(0).mean() for one in random]
    assert along.var(0).mean() > np.median(at_random)
    assert many.along(5, many.places(5), 2, 0).shape == along.shape
    rest = [many._drawn(5) - (axes @ many._drawn(5)) @ axes, many._drawn(None)]
    assert (axes @ rest[0]).abs().max() < 1e-5  # what is not on the sliders stays the sample's


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"run": 9, "sample": 0, "kind": 0},
        {"run": 1, "sample": -1, "kind": 0},
        {"run": 1, "sample": 1 << 40, "kind": 0},
        {"run": 1, "sample": 0, "kind": 3},
        {"run": 1, "sample": 0, "kind": 0, "places": [1, 2]},
        {"run": 1, "sample": 0, "kind": 0, "places": [1, 2, 3, math.inf]},
        {"run": 1, "sample": 0, "kind": 0, "places": [1, 2, 3, 1e9]},
        {"run": 1, "sample": 0, "kind": 0, "places": [1, 2, 3, 10**400]},
        {"run": 1, "sample": 0, "kind": 0, "places": "1234"},
        {"run": 1, "sample": 0, "kind": 0, "places": [[1], 2, 3, 4]},
    ],
    ids=range(11),
)
def test_sliders_that_there_are_not_are_told(placed, asked):
    with pytest.raises(UserError, match=r"wanted|no class"):
        placed.slide(asked)


def test_made_pictures_say_what_they_are(placed):
    told = placed.slide({"run": 1, "sample": 2, "kind": 0, "places": None})
    picture = opened(told["picture"])
    assert picture.text["synthetic"] == "true"
    assert picture.text["checkpoint_sha256"] == "ab" * 32
    assert len(told["places"]) == 4
    strip = placed.along({"run": 1, "sample": 2, "kind": 0, "places": told["places"], "axis": 3})["strip"]
    assert opened(strip).size == (9 * told["side"], told["side"])


@pytest.mark.parametrize("metres_east", [-110.0, 30.0, 290.0])
def test_a_click_has_the_tile_of_that_place_its_landscape_and_the_nearest_photo(root, placed, metres_east):
    longitude = LONGITUDE + metres_east / (111_320 * math.cos(math.radians(LATITUDE)))
    told = seen(placed, LATITUDE, longitude)
    pixels = tile_at(root / "mosaic.tif", LATITUDE, longitude, (160, 160), METRES)
    shown = np.asarray(opened(told["tile"])).astype(int)
    assert np.abs(shown - pixels).mean() < 12  # JPEG twice
    expected = predicted(placed.runs[0], Tile("", jpeg(pixels)))
    assert told["numbers"] == pytest.approx(expected.numbers.tolist(), abs=0.02)
    landscape = opened(told["landscape"])
    assert np.abs(np.asarray(landscape) / 255 - expected.landscape).mean() < 0.02
    assert landscape.text["synthetic"] == "true"
    away = [abs(longitude - east) for _, east in places()]
    number = int(np.argmin(away))
    assert np.asarray(opened(told["photo"]["picture"]))[..., 0].mean() == pytest.approx(20 * number, abs=4)
    assert told["photo"]["split"] == ("test" if number % 3 == 2 else "train")
    assert told["photo"]["metres"] == pytest.approx(min(away) * 111_320 * math.cos(math.radians(LATITUDE)), rel=0.01)
    assert str(OWNER) not in json.dumps(told)


def test_a_place_far_from_all_photos_has_none(placed):
    north = LATITUDE + 250 / 111_320
    assert seen(placed, north, LONGITUDE)["photo"] is None


@pytest.mark.parametrize(
    ("place", "words"),
    [((10.0, 10.0), "outside of the mosaic"), ((LATITUDE + 0.0055, LONGITUDE), "no data in the mosaic")],
    ids=["elsewhere", "edge"],
)
def test_a_place_without_a_tile_is_told(placed, place, words):
    with pytest.raises(UserError, match=words):
        seen(placed, *place)


@pytest.mark.parametrize("place", [(91.0, 0.0), (0.0, 181.0), (math.nan, 0.0)], ids=["north", "east", "nowhere"])
def test_what_is_no_place_is_told(placed, place):
    with pytest.raises(UserError, match="degrees are wanted"):
        seen(placed, *place)


def test_a_service_is_asked_for_the_place_and_its_no_is_told(monkeypatch):
    """A web map's zoom 15 has 2.5 m per pixel at 58.45° north, and 3.1 at 49.5°, between two zooms."""
    with serve_yandex() as server, Ground("yandex") as ground:
        monkeypatch.setenv("YANDEX_STATIC_URL", server.url)
        monkeypatch.delenv("YANDEX_APIKEY", raising=False)
        studio = Studio([encoder()], None, ground)
        with pytest.raises(UserError, match="wants a key"):
            studio.connect()
        monkeypatch.setenv("YANDEX_APIKEY", server.key)
        studio.connect()
        told = [seen(studio, 58.45, longitude) for longitude in (30.5, 30.6)]
        assert [one.ll for one in server.asked] == ["30.500000,58.450000", "30.600000,58.450000"]
        assert {one.query["z"] for one in server.asked} == {"15"}
        assert "© Yandex" in told[0]["whose"]
        server.faults.append(403)
        for latitude, words in ((58.46, "Yandex answers 403"), (49.5, "3.1 m per pixel")):
            with pytest.raises(UserError, match=words) as refused:
                seen(studio, latitude, 30.5)
            assert server.key not in str(refused.value)


def test_without_a_source_the_nearest_tile_of_the_set_serves(found):
    studio = Studio([encoder()], found)
    told = seen(studio, LATITUDE, places()[6][1] + 1e-5)
    assert (told["latitude"], told["longitude"]) == pytest.approx(places()[6])
    assert np.asarray(opened(told["tile"]))[..., 0].mean() == pytest.approx(120, abs=4)
    with pytest.raises(UserError, match="start with --source"):
        seen(Studio([encoder()]), LATITUDE, LONGITUDE)


@pytest.mark.parametrize(
    ("tiles", "words"),
    [
        ({"pixels": [320, 320], "metres_per_pixel": METRES}, r"160 × 160 pixels of 2\.5 m, and .* 320 × 320"),
        ({"pixels": [160, 160], "metres_per_pixel": 20.0}, r"of 2\.5 m, and .* of 20 m: give --source"),
    ],
    ids=["size", "scale"],
)
def test_a_set_of_other_tiles_than_the_encoder_s_is_told(root, found, tiles, words):
    with pytest.raises(UserError, match=words):
        Studio([encoder(), encoder(tiles=tiles)], found).connect()
    Studio([encoder(tiles=tiles | {"pixels": [160, 160]})], found, None, 1.01 * METRES).connect()
    with Ground(str(root / "mosaic.tif")) as ground:
        Studio([encoder(tiles=tiles)], found, ground).connect()  # its tiles are the mosaic's


def test_a_tile_of_the_set_is_judged_as_an_uploaded_one(found):
    with pytest.raises(UserError, match="160 × 160 pixels, and the run was trained on 128 × 128"):
        seen(Studio([encoder(tiles={"pixels": [128, 128]})], found), *places()[0])


@pytest.mark.parametrize(
    ("crs", "corner"),
    [('LOCAL_CS["site grid"]', (0, 0)), ("EPSG:4326", (500_000, 6_000_000)), ("EPSG:32637", (1e12, 1e12))],
    ids=["local", "metres as degrees", "far out"],
)
def test_a_geotiff_whose_place_leads_nowhere_is_told(placed, tmp_path, crs, corner):
    shape = {"count": 3, "height": 160, "width": 160, "dtype": "uint8"}
    place = {"crs": crs, "transform": from_origin(*corner, METRES, METRES)}
    with rasterio.open(tmp_path / "tile.tif", "w", driver="GTiff", **shape, **place) as dataset:
        dataset.write(np.zeros((3, 160, 160), np.uint8))
    with pytest.raises(UserError, match="its place cannot be read"):
        placed.landscape_of(0, (tmp_path / "tile.tif").read_bytes())


def test_an_uploaded_tile_is_judged_as_predict_judges_it(placed):
    pixels = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
    told = placed.landscape_of(0, png(pixels))
    expected = predicted(placed.runs[0], Tile("", as_jpeg(Image.fromarray(pixels)))).numbers
    assert told["numbers"] == pytest.approx(expected.tolist(), abs=1e-4)
    with pytest.raises(UserError, match="the run was trained on 160 × 160"):
        placed.landscape_of(0, png(pixels[:100]))
    with pytest.raises(UserError, match="a single channel"):
        placed.landscape_of(0, png(pixels[..., 0]))


def test_an_encoder_whose_data_told_no_scale_wants_it(root, found):
    with Ground(str(root / "mosaic.tif")) as ground:
        bare = encoder(tiles=None)
        with pytest.raises(UserError, match="say --metres-per-pixel"):
            Studio([bare], None, ground).connect()
        with pytest.raises(UserError, match="tiles' size"):
            Studio([bare], None, ground, 2.5).connect()
        Studio([bare], found, ground).connect()  # the set tells both


def test_drawn_water_is_enlarged_and_keeps_its_means():
    studio = Studio([enlarger(), shapes()])
    percent = np.random.default_rng(0).integers(0, 101, (64, 64)).astype(np.uint8)
    told = studio.enlarge(0, percent.tobytes())
    assert opened(told["enlarged"]).size == opened(told["bicubic"]).size == (256, 256)
    assert opened(told["enlarged"]).text["synthetic"] == "true"
    assert told["mean"] == pytest.approx(percent.mean(), abs=0.01)
    called = studio.classify(1, percent.tobytes(), is_drawn=True)
    _, probabilities, _ = judged(studio.runs[1], percent)
    assert dict(called["classes"])[called["classes"][0][0]] == pytest.approx(probabilities.max(), abs=1e-4)
    for content in (b"", percent.tobytes()[1:], bytes([101]) * 64 * 64):
        with pytest.raises(UserError):
            studio.enlarge(0, content)


def test_uploaded_water_is_read_as_the_packers_read_it(tmp_path):
    large = np.random.default_rng(0).integers(0, 101, (256, 256)).astype(np.uint8)
    percent, done = uploads.water(png(large), 64)
    assert np.array_equal(percent, reduce(large, 64))
    assert done == ("256 pixels made 64",)
    refused = {
        png(np.full((64, 64), 200, np.uint8)): "above 100",
        png(np.zeros((64, 64, 3), np.uint8)): "8-bit grey",
        png(np.zeros((32, 32), np.uint8)): "give a square tile of 64 or more",
        png(np.zeros((64, 64), np.uint8))[:60]: "cannot be read",
        b"<VRTDataset/>": "neither PNG nor GeoTIFF",
        b"II*\0" + b"\0" * 60: "not a GeoTIFF",
        b"": "neither PNG nor GeoTIFF",
    }
    for content, words in refused.items():
        with pytest.raises(UserError, match=words) as told:
            uploads.water(content, 64)
        assert "/" not in str(told.value)  # where it lay meanwhile is nobody's concern
    write_mosaic(tmp_path / "large.tif", 40)
    with pytest.raises(UserError, match="three unequal bands"):
        uploads.water((tmp_path / "large.tif").read_bytes(), 64)


def test_a_small_file_of_very_many_pixels_is_not_unpacked(tmp_path):
    import rasterio

    shape = {"count": 1, "height": 30_000, "width": 30_000, "dtype": "uint8", "SPARSE_OK": True, "tiled": True}
    with rasterio.open(tmp_path / "bomb.tif", "w", driver="GTiff", **shape):
        pass
    content = (tmp_path / "bomb.tif").read_bytes()
    assert len(content) < 1e6
    with pytest.raises(UserError, match="30000 × 30000 pixels"):
        uploads.water(content, 64)


def test_photos_are_classified_as_the_verb_classifies_them():
    studio = Studio([scenes()])
    photo = png(np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8))
    told = studio.classify(0, photo)
    assert sum(share for _, share in told["classes"]) == pytest.approx(1, abs=1e-3)
    assert [share for _, share in told["classes"]] == sorted((share for _, share in told["classes"]), reverse=True)
    assert told["done"] == ["PNG made JPEG"]
    for content in (b"", b"hello", photo[:100], b"\x89PNG\r\n\x1a\n" + b"\xff" * 50):
        with pytest.raises(UserError):
            studio.classify(0, content)


def test_the_mosaic_is_seen_where_it_lies(root, tmp_path, monkeypatch):
    pixels = write_mosaic(tmp_path / "same.tif")
    with Ground(str(root / "mosaic.tif")) as ground:
        west, south, east, north = ground.bounds
        assert west < LONGITUDE < east
        assert south < LATITUDE < north
        step = METRES / 111_320
        box = (LONGITUDE - 20 * step, LATITUDE - 20 * step, LONGITUDE + 20 * step, LATITUDE + 20 * step)
        seen = np.asarray(Image.open(io.BytesIO(ground.view(box, 40, 40))))
        middle = pixels[SIDE // 2 - 10 : SIDE // 2 + 10, SIDE // 2 - 10 : SIDE // 2 + 10].mean((0, 1))
        assert np.abs(seen[10:30, 10:30, :3].mean((0, 1)) - middle).max() < 20
        assert seen[..., 3].min() == 255
        away = np.asarray(Image.open(io.BytesIO(ground.view((10, 10, 11, 11), 8, 8))))
        assert away[..., 3].max() == 0
        for box, side in (((1, 0, 0, 1), 9), ((0, 0, math.nan, 1), 9), ((0, 0, 1, 1), 0), ((0, 0, 1, 1), 9999)):
            with pytest.raises(UserError, match=r"wanted|a side"):
                ground.view(box, side, 9)
        monkeypatch.setattr(ground_room, "MOST_READ", 1000)
        with pytest.raises(UserError, match="zoom in"):
            ground.view(ground.bounds, 50, 50)


@pytest.mark.parametrize("form", FORMS)
def test_a_mosaic_across_the_antimeridian_is_clicked_on_both_sides_and_seen_whole(form, tmp_path):
    mosaic = write_across(tmp_path / "mosaic.tif", form)
    run = encoder(tiles={"pixels": [160, 160], "metres_per_pixel": ACROSS})
    with Ground(str(mosaic)) as there:
        studio = Studio([run], None, there)
        studio.connect()
        for longitude in (179.9, 179.995, 180.0, -180.0, -179.9):
            told = seen(studio, OF_THE_LINE, longitude)
            shown = np.asarray(opened(told["tile"])).astype(int)
            assert np.abs(shown - expected(longitude, 160)).mean() < 6, longitude  # JPEG twice
            predicts = tile_from(str(mosaic), OF_THE_LINE, longitude, (160, 160), ACROSS)  # `predict --at --source`
            assert told["numbers"] == pytest.approx(predicted(run, Tile("", predicts)).numbers.tolist(), abs=0.02)
        west, south, east, north = there.bounds
        assert 0.5 < east - west < 0.6
        assert south < OF_THE_LINE < north
        for middle in (180.0, -180.0, -179.95):  # the page counts a view's box from its own middle
            box = (middle - 0.1, OF_THE_LINE - 0.02, middle + 0.1, OF_THE_LINE + 0.02)
            view = np.asarray(Image.open(io.BytesIO(there.view(box, 120, 60)))).astype(int)
            longitudes, latitudes = np.linspace(*box[::2], 241)[1::2], np.linspace(*box[3::-2], 121)[1::2]
            wanted = ground(*np.meshgrid(latitudes, longitudes, indexing="ij")).transpose(1, 2, 0)
            assert view[..., 3].min() == 255, middle
            assert np.abs(view[..., :3] - wanted).mean() < 6, middle


def test_samples_that_lie_nowhere_are_no_places(tmp_path):
    write_placed_pairs(tmp_path / "set", latitude=None)
    found = Places(str(tmp_path / "set"))
    assert found.wait(60)
    assert found.map()["count"] == 0
    assert found.nearest(LATITUDE, LONGITUDE, math.inf) is None


def test_places_that_cannot_be_looked_up_are_told_and_not_waited_for(tmp_path):
    nested = []
    for _ in range(2000):  # deeper than Python reads
        nested = [nested]
    usual = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(20_000)
        write_placed_pairs(tmp_path / "set", nested=nested)
    finally:
        sys.setrecursionlimit(usual)
    found = Places(str(tmp_path / "set"))
    assert found.wait(60)
    assert "could not be looked up" in found.map()["told"]


def test_networks_gone_astray_are_told():
    """JSON has no word for NaN, and what is no number has no principal components."""
    runs = [landscapes(), tiles_of_water(), encoder(), enlarger(), scenes(), shapes()]
    for run in runs:
        for network in run.networks.values():
            for numbers in network.parameters():
                numbers.fill_(math.nan)
    studio, asked = Studio(runs), {"sample": 0, "kind": 0}
    pixels, percent = np.zeros((160, 160, 3), np.uint8), bytes(64 * 64)
    for ask in (
        lambda: studio.slide(asked | {"run": 0}),
        lambda: studio.along(asked | {"run": 0, "axis": 0, "places": [0, 0, 0, 0]}),
        lambda: studio.slide(asked | {"run": 1}),
        lambda: studio.landscape_of(2, png(pixels)),
        lambda: studio.enlarge(3, percent),
        lambda: studio.classify(4, png(pixels)),
        lambda: studio.classify(5, percent, is_drawn=True),
    ):
        with pytest.raises(UserError, match="is not finite"):
            ask()


def test_what_cannot_be_explored_is_told(tmp_path):
    with pytest.raises(UserError, match="name the runs"):
        explore(Explore(()))
    with pytest.raises(UserError, match="nothing"):
        explore(Explore((tmp_path / "nothing",)))


def test_what_a_run_can_do_is_told_and_nothing_else():
    about = Studio([untrained("water_vae", name="vae"), tiles_of_water(), enlarger(), shapes(), scenes()]).about()
    assert [one["run"] for one in about["sliders"]] == [0, 1]
    assert len(about["sliders"][1]["classes"]) > 1
    assert about["enlargers"] == [2]
    assert [one["takes"] for one in about["classifiers"]] == ["water", "photo"]
    assert about["encoders"] == []
    assert (about["mosaic"], about["source"], about["set"]) == (None, None, None)
    json.dumps(about)
