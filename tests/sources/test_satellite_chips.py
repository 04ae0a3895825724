"""Tiles from Earth Engine, by the real client and a loopback service, and from a mosaic: the right ground."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import warnings
from datetime import UTC, datetime

import ee
import numpy as np
import pytest
import rasterio
from loopback_earthengine import Fault, Raster
from loopback_earthengine import serve as serve_earth_engine
from PIL import Image
from programs import run_tool
from pyproj import Transformer
from rasterio.transform import from_origin

import waterscape
from waterscape.errors import UserError
from waterscape.sources import earthengine
from waterscape.sources.ledger import Ledger, Photo
from waterscape.sources.satellite import NoTileError, TileSource
from waterscape.sources.satellite.chip import IMAGERY, ChipGrid, Seasons
from waterscape.sources.satellite.choosing import Choices, source_of

LATITUDE, LONGITUDE = 60.2, 30.4  # zone 36
SIZE = (40, 30)
CLOUD, SHADOW, CLEAR = 9, 3, 4  # of Sentinel-2's scene classification


def corner(metres, shift):
    """The upper left of a scene of 100 × 100 pixels around the place."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32636", always_xy=True).transform(LONGITUDE, LATITUDE)
    return (
        round((x - shift) / metres) * metres + shift - 50 * metres,
        round((y - shift) / metres) * metres + shift + 50 * metres,
    )


def scenes(satellite, cloudy=False, days=("2021-06-03", "2022-07-04", "2023-08-05", "2022-01-10", "2018-07-01")):
    """Scenes of numbers on the satellite's own grid; those out of season or years are brighter than all others."""
    imagery = IMAGERY[satellite]
    left, top = corner(imagery.metres, imagery.corner)
    transform = (imagery.metres, 0.0, left, 0.0, -imagery.metres, top)
    made = []
    for number, day in enumerate(days):
        random = np.random.default_rng(number)
        high = 65000 if day[:4] == "2018" or day[5:7] == "01" else 10_000 if satellite == "landsat-8" else 2800
        low = 60000 if high == 65000 else 7300 if satellite == "landsat-8" else 100
        bands = {band: random.integers(low, high, (100, 100)).astype(np.uint16) for band in imagery.bands}
        unclear = random.random((100, 100)) < (1 if cloudy else 0.2)
        odd = np.where(random.random((100, 100)) < 0.5, CLOUD, SHADOW)
        if satellite == "landsat-8":
            bands["QA_PIXEL"] = np.where(unclear, 1 << random.integers(0, 5, (100, 100)), 1 << 6).astype(np.uint16)
        else:
            bands["SCL"] = np.where(unclear, odd, CLEAR).astype(np.uint8)
        when = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000
        made.append(Raster(bands, "EPSG:32636", transform, properties={"system:time_start": when}))
    return made


def expected(satellite, made, low, high):
    """The chip, by numpy: three summers' median of what is clear, stretched."""
    imagery = IMAGERY[satellite]
    summers = made[:3]
    if satellite == "landsat-8":
        clear = np.stack([one.bands["QA_PIXEL"] == 1 << 6 for one in summers])
    else:
        clear = np.stack([one.bands["SCL"] == CLEAR for one in summers])
    planes = []
    for band in imagery.bands:
        numbers = np.stack([one.bands[band] for one in summers]) * imagery.scale + imagery.offset
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # where no scene is clear
            middle = np.nanmedian(np.where(clear, numbers, np.nan), axis=0)
        planes.append(np.clip(np.floor(255 * (middle - low) / (high - low) + 0.5), 0, 255))
    stack = np.nan_to_num(np.stack(planes, axis=2))
    width, height = SIZE
    return stack[50 - height // 2 : 50 + height // 2, 50 - width // 2 : 50 + width // 2]


def source(**choices):
    """Earth Engine, with short pauses."""
    found = source_of("earthengine", Choices(size=SIZE, project="demo-water", **choices))
    found.limits = dataclasses.replace(found.limits, first_pause=0.01, longest_pause=0.05)
    return found


def pixels(tile):
    return np.asarray(Image.open(io.BytesIO(tile.content))).astype(int)


@pytest.fixture
def address(monkeypatch):
    """Where the client is told to look."""
    ee.Reset()
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    yield lambda server: monkeypatch.setenv("EARTHENGINE_URL", server.url)
    earthengine.disconnect()


@pytest.mark.parametrize("satellite", ["sentinel-2", "landsat-8"])
def test_a_chip_is_the_median_of_what_was_clear_on_the_satellites_own_pixels(satellite, address):
    made = scenes(satellite)
    with serve_earth_engine(collections={IMAGERY[satellite].collection: made}) as server:
        address(server)
        with source(collection=satellite, years="2021-2023") as chips:
            tile = chips.tile_at(LATITUDE, LONGITUDE)
    wanted = expected(satellite, made, 0.0, 0.3)
    assert np.abs(pixels(tile) - wanted).max() <= 1
    assert (tile.suffix, tile.width, tile.height, tile.metres_per_pixel) == (".png", *SIZE, IMAGERY[satellite].metres)
    assert (tile.facts["crs"], tile.facts["months"]) == ("EPSG:32636", [6, 8])
    assert tile.facts["clear"] > 0.98
    assert "2021-2023" in chips.licence


def test_a_place_that_was_never_clear_and_one_beyond_utm_have_no_tile(address):
    name = IMAGERY["sentinel-2"].collection
    with serve_earth_engine(collections={name: scenes("sentinel-2", cloudy=True)}) as server:
        address(server)
        with source(years="2021-2023") as chips:
            with pytest.raises(NoTileError, match=r"not seen without clouds: 0 % of the tile"):
                chips.tile_at(LATITUDE, LONGITUDE)
            with pytest.raises(NoTileError, match=r"outside of UTM"):
                chips.tile_at(88, 0)


def test_the_middle_of_a_chip_is_its_place():
    for latitude, longitude in [(60.2, 30.4), (-33.9, 151.2), (0.0, 179.9999), (71.0, -180.0), (10.0, 180.0)]:
        grid = ChipGrid.around(latitude, longitude, SIZE, 10.0, 0.0)
        x, y = grid.left + SIZE[0] * 5, grid.top - SIZE[1] * 5
        east, north = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
        apart = (east - longitude + 180) % 360 - 180
        assert abs(apart) * 111_320 * np.cos(np.radians(latitude)) < 5.1
        assert abs(north - latitude) * 111_320 < 5.1
        assert (grid.left % 10, grid.top % 10) == (0, 0)


def test_seasons_as_they_are_written():
    imagery = IMAGERY["sentinel-2"]
    assert Seasons.of("2021", None, imagery).months_at(-10) == (12, 2)
    assert Seasons.of("2020-2021", "5-9", imagery) == Seasons(2020, 2021, (5, 9))
    for years, months, word in [("2016-2020", None, "begins with 2017"), ("2020-9999", None, "is not over")]:
        with pytest.raises(UserError, match=word):
            Seasons.of(years, months, imagery)
    for years, months in [("2020-2021", "0-5"), ("20x", None), ("2021-2020", None)]:
        with pytest.raises(UserError, match=r"give|begins"):
            Seasons.of(years, months, imagery)


def collect(folder, places):
    """A ledger of photos (synthetic) at places."""
    (folder / "photos").mkdir(parents=True)
    with Ledger(folder / "photos.db", create=True) as ledger:
        for number, (latitude, longitude) in enumerate(places):
            key = ledger.key_of("vk", "7", str(number))
            Image.effect_noise((40, 40), 60).convert("RGB").save(folder / "photos" / f"{key}.jpg")
            photo = Photo(key, "vk", "7", str(number), latitude, longitude, state="fetched", file=f"photos/{key}.jpg")
            ledger.add([photo])
    return folder / "photos.db"


def tiles(path):
    with Ledger(path) as ledger:
        return list(ledger.tiles())


def test_the_tool_brings_chips_and_survives_faults(tmp_path, address, monkeypatch):
    path = collect(tmp_path / "set", [(LATITUDE, LONGITUDE), (LATITUDE, LONGITUDE), (LATITUDE + 0.001, LONGITUDE)])
    short = dataclasses.replace(earthengine.LIMITS, first_pause=0.01, longest_pause=0.1)
    monkeypatch.setattr(earthengine, "LIMITS", short)
    faults = [
        Fault("computePixels", "error", 429, "Too many concurrent aggregations."),
        Fault("computePixels", "cut", after=1),
    ]
    held = {IMAGERY["sentinel-2"].collection: scenes("sentinel-2")}
    words = ["--source", "earthengine", "--years", "2021-2023", "--project", "demo-water", "--size", "40,30"]
    with serve_earth_engine(collections=held, faults=faults) as server:
        address(server)
        code, told, error = run_tool("fetch_satellite", path, *words, "--out", path.parent / "chips")
        assert code == 0, error
        assert "3 photos got their tile by 2 requests" in told
        assert "reflectances of 0 to 0.3 become 0 to 255" in told
        assert server.count("computePixels") == 2 + 2
    assert [tile.source for tile in tiles(path)] == ["earthengine:sentinel-2"] * 3
    assert {tile.metres_per_pixel for tile in tiles(path)} == {10.0}
    faults = [Fault("computePixels", "error", 403, "Permission denied", times=9)]
    ee.Reset()
    with serve_earth_engine(collections=held, faults=faults) as server:
        address(server)
        more = ["--replace", "--months", "7-7", "--at-once", 1, "--out", path.parent / "chips"]
        code, _, error = run_tool("fetch_satellite", path, *words, *more)
        assert code == 1
        assert server.count("computePixels") <= 2  # the next one may be under way when the first is refused
    assert "Permission denied" in error


def write_mosaic(path, hole=False, copyright_=""):
    """Ground of 10 m around the place, 4 km a side (synthetic)."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32636", always_xy=True).transform(LONGITUDE, LATITUDE)
    bands = np.random.default_rng(0).integers(1, 255, (3, 400, 400), np.uint8)
    if hole:
        bands[:, 180:220, 180:220] = 0
    place = {"crs": "EPSG:32636", "transform": from_origin(x - 2000, y + 2000, 10, 10), "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", count=3, height=400, width=400, dtype="uint8", **place) as dataset:
        dataset.write(bands)
        dataset.update_tags(TIFFTAG_COPYRIGHT=copyright_)
    return path


def test_a_mosaic_gives_tiles_and_tells_what_lies_outside(tmp_path):
    mosaic = write_mosaic(tmp_path / "mosaic.tif", hole=True, copyright_="public domain")
    north, outside = (LATITUDE + 0.01, LONGITUDE), (LATITUDE + 1, LONGITUDE)
    path = collect(tmp_path / "set", [north, north, (LATITUDE, LONGITUDE), outside, (-LATITUDE, 0.0)])
    words = ["--source", mosaic, "--out", path.parent / "satellite", "--size", "40,30"]
    code, told, error = run_tool("fetch_satellite", path, *words)
    assert code == 0, error
    assert "2 photos got their tile by 4 requests" in told
    assert "2 photos have none: outside of the mosaic" in error
    assert "1 photos have none: no data in the mosaic" in error
    done = [tile for tile in tiles(path) if tile.state == "fetched"]
    assert {(tile.source, tile.licence) for tile in done} == {("mosaic:mosaic.tif", "public domain")}
    assert done[0].metres_per_pixel == pytest.approx(10, rel=1e-3)
    assert Image.open(path.parent / done[0].file).size == (40, 30)
    assert str(tmp_path) not in "".join(tile.reason + str(tile.facts) for tile in tiles(path))
    code, _, error = run_tool("fetch_satellite", path, *words[:3], path.parent / "satellite", "--size", "41,30")
    assert (code, "with other options (size)" in error) == (1, True)
    other = write_mosaic(tmp_path / "other.tif")
    code, _, error = run_tool("fetch_satellite", path, "--source", other, *words[2:])
    assert (code, "holds tiles of mosaic:mosaic.tif: give --out another folder" in error) == (1, True)


def test_mosaics_that_cannot_be_used_and_words_that_name_none(tmp_path):
    path = collect(tmp_path / "set", [(LATITUDE, LONGITUDE)])
    (tmp_path / "text.tif").write_text("no picture")
    for word, told in [(tmp_path / "text.tif", "cannot be read"), ("bing", "give yandex, earthengine or a GeoTIFF")]:
        code, _, error = run_tool("fetch_satellite", path, "--source", word, "--out", path.parent / "satellite")
        assert (code, told in error, len(error.splitlines())) == (1, True, 1), error


def test_all_sources_answer_the_same_question(tmp_path):
    mosaic = write_mosaic(tmp_path / "mosaic.tif")
    words = ("yandex", "earthengine", str(mosaic))
    sources: list[TileSource] = [source_of(word) for word in words]
    assert [one.name for one in sources] == ["yandex", "earthengine:sentinel-2", "mosaic:mosaic.tif"]
    assert all(one.licence and one.plan and one.demand.notes and one.finest_metres for one in sources)
    with source_of(str(mosaic), Choices(size=SIZE)) as cutting:
        tile = cutting.tile_at(LATITUDE, LONGITUDE)
    assert pixels(tile).shape == (30, 40, 3)
    assert tile.facts["asked"] == [LATITUDE, LONGITUDE]


@pytest.mark.long
def test_real_photos_and_tiles_of_a_real_mosaic_become_pairs(real_data, tmp_path):
    """The photos' places are made up: nine within the mosaic (Bahamas), so that blocks of ground differ."""
    mosaic = real_data / "odd_geotiffs" / "rasterio_RGB.byte.tif"
    (tmp_path / "photos").mkdir()
    with Ledger(tmp_path / "photos.db", create=True) as ledger:
        for number, file in enumerate(sorted((real_data / "exif_gps").glob("*.jpg"))):
            key = ledger.key_of("vk", "7", str(number))
            content = file.read_bytes()
            (tmp_path / "photos" / f"{key}.jpg").write_bytes(content)
            place = (24.4 + number % 3 * 0.3, -78.1 + number // 3 * 0.4)
            row = Photo(key, "vk", "7", str(number), *place, state="fetched", licence="CC BY-SA 4.0")
            ledger.add([dataclasses.replace(row, file=f"photos/{key}.jpg", sha256=hashlib.sha256(content).hexdigest())])
    words = ["--source", mosaic, "--out", tmp_path / "satellite", "--size", "96,96"]
    code, told, error = run_tool("fetch_satellite", tmp_path / "photos.db", *words)
    assert code == 0, error
    assert len(tiles(tmp_path / "photos.db")) == 9, told
    code, _, error = run_tool("pack_pairs", "--ledger", tmp_path / "photos.db", "--out", tmp_path / "pairs")
    assert code == 0, error
    fetched = {tile.photo: tile for tile in tiles(tmp_path / "photos.db") if tile.state == "fetched"}
    assert len(fetched) >= 5
    names = {path.name.split("-")[1] for path in (tmp_path / "pairs").glob("*.tar")}
    sets = [waterscape.open_shards(tmp_path / "pairs", split=split) for split in sorted(names)]
    packed = [each[number] for each in sets for number in range(len(each))]
    assert {one["json"]["photo"] for one in packed} == set(fetched)
    for one in packed:
        tile = fetched[one["json"]["photo"]]
        assert one["json"]["metres_per_pixel"] == [tile.metres_per_pixel] * 2
        assert one["json"]["satellite"]["source"] == "mosaic:rasterio_RGB.byte.tif"
        assert Image.open(io.BytesIO(one["satellite.jpg"])).size == (96, 96)
