"""Earth Engine behind the explore page: a click in a real browser, the real client, a service on the loopback."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from browser import launched, shot, until, watch
from loopback_earthengine import Fault, Raster
from loopback_earthengine import serve as serve_earth_engine
from page_server import started
from placed_pairs import LATITUDE, LONGITUDE, METRES, write_placed_pairs
from pyproj import Transformer
from small_pairs import train_encoder, train_landscapes, write_pairs

from waterscape.sources.satellite.chip import IMAGERY

PLACE = f"{LATITUDE}, {LONGITUDE}"
CLEAR, CLOUD = 4, 9  # of Sentinel-2's scene classification
SIDE = 200  # pixels of a scene, of 10 m
DARK, BRIGHT, CLOUDED = 500, 2500, 9000
COLOURS = """() => { const tile = document.querySelector('#tile'), canvas = document.createElement('canvas');
    const [width, height] = [canvas.width, canvas.height] = [tile.naturalWidth, tile.naturalHeight];
    const brush = canvas.getContext('2d');
    brush.drawImage(tile, 0, 0);
    const at = (x, y) => [...brush.getImageData(x * width, y * height, 1, 1).data].slice(0, 3);
    return [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)]; }"""

pytestmark = pytest.mark.long


def scenes():
    """Three summers of synthetic ground whose quarters, which meet in the place, are red, green, blue and grey. One has
    clouds all over, which are brighter."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32637", always_xy=True).transform(LONGITUDE, LATITUDE)
    half = SIDE // 2
    planes = {band: np.full((SIDE, SIDE), DARK, np.uint16) for band in IMAGERY["sentinel-2"].bands}
    red, green, blue = planes.values()
    red[:half, :half] = green[:half, half:] = blue[half:, :half] = BRIGHT
    made = []
    for day, quality in (("2021-06-20", CLEAR), ("2022-07-04", CLOUD), ("2023-08-01", CLEAR)):
        bands = {band: np.full_like(plane, CLOUDED) if quality == CLOUD else plane for band, plane in planes.items()}
        bands["SCL"] = np.full((SIDE, SIDE), quality, np.uint8)
        when = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000
        transform = (10.0, 0.0, x - half * 10, 0.0, -10.0, y + half * 10)
        made.append(Raster(bands, "EPSG:32637", transform, properties={"system:time_start": when}))
    return made


@pytest.fixture(scope="module")
def service():
    with serve_earth_engine(collections={IMAGERY["sentinel-2"].collection: scenes()}) as service:
        yield service


@pytest.fixture(scope="module")
def server(service, tmp_path_factory):
    """`waterscape explore` as a person starts it, with trained runs, in a process of its own."""
    root = tmp_path_factory.mktemp("explored")
    pairs = write_pairs(root / "pairs")
    gan = train_landscapes(pairs, root / "gan")
    encoder = train_encoder(pairs, gan, root / "encoder", images=8)
    placed = write_placed_pairs(root / "placed")
    words = [encoder, "--source", "earthengine", "--data", placed, "--port", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARTHENGINE_URL", service.url)
        patch.setenv("GOOGLE_CLOUD_PROJECT", "demo-water")
        with started([sys.executable, "-m", "waterscape", "explore", *words], root / "told.txt") as server:
            yield server
    assert "Traceback" not in server.told()


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser, server, service):
    service.faults.clear()
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.complaints = watch(page)
    page.goto(server.newest() + "#map")
    page.wait_for_selector("#rooms [aria-pressed=true]")
    page.click("#rooms [data-room=map]")
    until(page, "document.querySelector('#map').dataset.places === '9'")
    yield page
    shot(page)
    context.close()


def go(page, place):
    page.fill("#map .place", place)
    page.click("#map form button")


def test_a_click_fetches_the_ground_there_and_shows_its_landscape(page, service):
    before = service.count("computePixels")
    box = page.locator("#atlas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # the middle of the set's nine places
    until(page, "document.querySelector('#landscape').naturalWidth > 0 && document.querySelector('#tile').naturalWidth")
    assert service.count("computePixels") == before + 1
    latitude, longitude = (float(part) for part in page.input_value("#map .place").split(","))
    assert (latitude, longitude) == pytest.approx((LATITUDE, LONGITUDE), abs=0.0008)  # a pixel of the map
    clicked = page.get_attribute("#tile", "src")
    go(page, PLACE)
    until(page, "clicked => document.querySelector('#tile').src !== clicked", clicked)
    until(page, "document.querySelector('#tile').complete")
    high, low = (round(255 * number * 1e-4 / 0.3) for number in (BRIGHT, DARK))
    wanted = [[high, low, low], [low, high, low], [low, low, high], [low, low, low]]
    assert np.abs(np.subtract(page.evaluate(COLOURS), wanted)).max() < 12  # JPEG
    assert page.evaluate("document.querySelector('#tile').naturalWidth") == 160
    caption = page.inner_text("#map .tile figcaption")
    assert "earthengine:sentinel-2" in caption
    assert "contains modified Copernicus Sentinel data 2020-2024" in caption
    assert "synthetic, by" in page.inner_text("#map .landscape figcaption")
    assert "synthetic photo of the set, 0 m from there" in page.inner_text("#map .photo figcaption")
    assert page.complaints == []


@pytest.mark.parametrize(
    ("fault", "attempts", "words"),
    [
        (Fault("computePixels", "error", 429, "Too many concurrent aggregations."), 3, "Too many concurrent"),
        (Fault("computePixels", "error", 500, "An internal error has occurred"), 3, "3 attempts, the last: the server"),
        (Fault("computePixels", "error", 401, "Expired."), 1, "earthengine authenticate"),
        (
            Fault("computePixels", "error", 403, "Caller does not have permission."),
            1,
            "see that --project is registered",
        ),
        (Fault("computePixels", "error", 400, "User memory limit exceeded."), 1, "User memory limit exceeded."),
        (Fault("computePixels", "nonsense"), 3, "no GeoTIFF that can be read"),
    ],
    ids=["429", "500", "expired", "forbidden", "refused", "nonsense"],
)
def test_what_the_service_says_is_told_in_plain_words_and_the_next_click_is_served(
    page, service, fault, attempts, words
):
    fault.times = 99
    service.faults.append(fault)
    before = service.count("computePixels")
    go(page, PLACE)
    until(page, "!document.querySelector('#trouble').hidden")
    told = page.inner_text("#trouble")
    assert words in told
    assert told == " ".join(told.split())
    assert not any(word in told for word in ("Traceback", "Error(", "Exception", 'File "', "None"))
    assert service.count("computePixels") - before == attempts
    assert page.locator("#map.waits").count() == 0
    service.faults.clear()
    go(page, PLACE)
    until(page, "document.querySelector('#landscape').naturalWidth > 0 && document.querySelector('#trouble').hidden")


def test_a_place_without_a_picture_is_told(page):
    go(page, "10, 10")
    until(page, "document.querySelector('#trouble').textContent.includes('not seen without clouds: 0 %')")
    go(page, "88, 10")
    until(page, "document.querySelector('#trouble').textContent.includes('outside of UTM')")


def test_a_service_that_is_not_there_or_not_set_up_ends_the_verb_with_a_line(server, tmp_path, monkeypatch):
    """Before any page is opened."""
    run = next(part for part in server.process.args if part.endswith("encoder"))
    words = [sys.executable, "-m", "waterscape", "explore", run, "--source", "earthengine", "--port", "0"]
    words += ["--metres-per-pixel", str(METRES)]
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    assert "set GOOGLE_CLOUD_PROJECT" in ended(words)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-water")
    monkeypatch.setenv("EARTHENGINE_URL", "http://127.0.0.1:1")
    assert "3 attempts, the last: ConnectError" in ended(words)
    monkeypatch.delenv("EARTHENGINE_URL")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert "which is no key file of Google's" in ended(words)


def ended(words):
    """What a command that fails says, which is no traceback."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr
