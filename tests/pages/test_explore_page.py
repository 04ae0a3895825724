"""The explore page in a real browser: every promise of it, a person's mistakes, a server that is gone."""

from __future__ import annotations

import io
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from across_the_line import METRES as ACROSS
from across_the_line import write_across
from browser import launched, shot, until, watch
from loopback_yandex import serve as serve_yandex
from page_server import in_thread, started
from PIL import Image
from placed_pairs import write_mosaic, write_placed_pairs
from programs import ROOT
from small_pairs import train_encoder, train_landscapes, write_pairs
from untrained_runs import encoder, enlarger, landscapes, scenes, shapes, tiles_of_water

from waterscape.pages.explore.ground import Ground
from waterscape.pages.explore.places import Places
from waterscape.pages.explore.routes import routes
from waterscape.pages.explore.studio import Studio
from waterscape.pages.explore.uploads import MOST_BYTES

OCTETS = {"Content-Type": "application/octet-stream"}
READ = "[...document.querySelectorAll('.axes li')].every(row => row.dataset.round)"


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("explored")
    write_mosaic(root / "mosaic.tif")
    runs = [landscapes(), tiles_of_water(), encoder(), enlarger(), scenes(), shapes()]
    with Ground(str(root / "mosaic.tif")) as ground:
        places = Places(str(write_placed_pairs(root / "pairs")))
        yield in_thread(routes(Studio(runs, places, ground)), MOST_BYTES)


@pytest.fixture(scope="module")
def client(server):
    client = httpx.Client(base_url=server.place, headers={"Origin": server.place}, timeout=30)
    client.get(server.newest()).raise_for_status()
    return client


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.complaints = watch(page)
    page.goto(server.newest())
    page.wait_for_selector("#rooms [aria-pressed=true]")
    yield page
    shot(page)
    context.close()


def enter(page, room):
    page.click(f"#rooms [data-room={room}]")
    page.wait_for_selector(f"#{room}:not([hidden])")


def photo(**made):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)).save(stream, "PNG")
    return {"name": "a <b>photo</b>.png", "mimeType": "image/png", "buffer": stream.getvalue()} | made


def saved(page, link):
    """The picture that a person saves by this link."""
    with page.expect_download() as download:
        page.click(link)
    return Image.open(download.value.path())


def test_sliders_change_the_picture_and_show_what_lies_along_them(page):
    until(page, READ)
    before = page.get_attribute("#slid", "data-places")
    assert page.locator(".axes li").count() == 4
    slider = page.locator(".axes input").first
    slider.focus()
    page.keyboard.press("Home")
    until(page, "JSON.parse(document.querySelector('#slid').dataset.places)[0] === -3")
    assert page.get_attribute("#slid", "data-places") != before
    assert saved(page, "#sliders .save").text["synthetic"] == "true"
    until(page, READ)
    box = page.locator(".along").nth(1).bounding_box()
    page.mouse.click(box["x"] + box["width"] * 8.5 / 9, box["y"] + 5)  # the last of the pictures along the second
    until(page, "JSON.parse(document.querySelector('#slid').dataset.places)[1] === 3")
    page.click("#sliders .middle")
    until(page, "document.querySelector('#slid').dataset.places === '[0,0,0,0]'")
    page.click("#sliders .play")
    until(page, "document.querySelector('#slid').dataset.places !== '[0,0,0,0]'")
    page.click("#sliders .play")
    page.fill("#sliders .number input", "0")
    page.keyboard.press("Enter")
    until(page, "before => document.querySelector('#slid').dataset.places === before", before)
    assert page.get_attribute("#sliders .save", "download") == "synthetic-landscapes-0.png"
    assert page.complaints == []


@pytest.mark.long
def test_classes_are_chosen_and_made_water_goes_to_be_enlarged(page):
    page.select_option("#sliders .runs select", index=1)
    until(page, "document.querySelectorAll('.axes li').length === 8")
    kinds = page.locator("#sliders .classes [role=radio]")
    assert kinds.count() > 1
    until(page, "document.querySelector('#slid').dataset.places")
    first = page.get_attribute("#slid", "src")
    kinds.nth(1).click()
    until(page, "first => document.querySelector('#slid').src !== first", first)
    page.click("#sliders .draw")
    page.wait_for_selector("#water:not([hidden])")
    until(page, "Number(document.querySelector('#enlarged').dataset.mean) > 0")
    assert page.complaints == []


def test_drawn_water_is_enlarged_called_undone_and_uploaded(page):
    enter(page, "water")
    until(page, "document.querySelector('#enlarged').dataset.mean === '0'")
    box = page.locator("#drawn").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    until(page, "Number(document.querySelector('#enlarged').dataset.mean) > 0.5")
    until(page, "document.querySelector('#enlarged').naturalWidth === 256")
    assert page.locator(".shapes dt").count() > 1
    page.keyboard.press("Control+z")
    until(page, "document.querySelector('#enlarged').dataset.mean === '0'")
    half = np.zeros((128, 128), np.uint8)
    half[64:] = 100
    stream = io.BytesIO()
    Image.fromarray(half).save(stream, "PNG")
    upload = "#water input[type=file]"
    page.set_input_files(upload, {"name": "tile.png", "mimeType": "image/png", "buffer": stream.getvalue()})
    until(page, "document.querySelector('#enlarged').dataset.mean === '50'")
    assert "128 pixels made 64" in page.inner_text("#water .hint")
    assert page.complaints == []
    page.set_input_files(upload, photo())
    until(page, "document.querySelector('#trouble').textContent.includes('8-bit grey')")
    assert page.get_attribute("#enlarged", "data-mean") == "50"


def test_any_click_on_the_map_is_a_landscape_and_a_photo_where_there_is_one(page):
    enter(page, "map")
    until(
        page, "document.querySelector('#map').dataset.places === '9' && document.querySelector('#atlas').dataset.looked"
    )
    box = page.locator("#atlas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(*middle)
    until(
        page, "document.querySelector('#landscape').naturalWidth > 0 && document.querySelector('#photo').naturalWidth"
    )
    assert saved(page, "#map .save").text["synthetic"] == "true"
    assert "synthetic photo of the set" in page.inner_text("#map .photo figcaption")
    numbers = page.get_attribute("#landscape", "data-numbers")
    place = page.input_value("#map .place")
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)  # dragged: no click
    page.mouse.up()
    assert page.input_value("#map .place") == place
    page.focus("#atlas")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    until(page, "before => document.querySelector('#landscape').dataset.numbers !== before", numbers)
    assert page.complaints == []
    page.fill("#map .place", "10, 10")
    page.click("#map form button")
    until(page, "document.querySelector('#trouble').textContent.includes('outside of the mosaic')")
    page.fill("#map .place", "here")
    page.click("#map form button")
    until(page, "document.querySelector('#trouble').textContent.includes('Latitude and longitude')")
    page.set_input_files("#map input[type=file]", photo())
    until(page, "document.querySelector('#trouble').hidden && document.querySelector('#map .photo').hidden")
    page.click("#map .slide")
    numbers = [float(one) for one in page.get_attribute("#landscape", "data-numbers").split()]
    until(page, "numbers => document.querySelector('#slid').dataset.places === JSON.stringify(numbers)", numbers)


@pytest.mark.long
def test_a_map_across_the_antimeridian_is_drawn_whole_and_clicked_on_both_sides(browser, tmp_path):
    mosaic = write_across(tmp_path / "mosaic.tif", "degrees beyond 180")
    with Ground(str(mosaic)) as ground:
        run = encoder(tiles={"pixels": [160, 160], "metres_per_pixel": ACROSS})
        served = in_thread(routes(Studio([run], None, ground)), MOST_BYTES)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        complaints = watch(page)
        page.goto(served.newest())
        page.wait_for_selector("#rooms [aria-pressed=true]")
        enter(page, "map")
        until(page, "document.querySelector('#atlas').dataset.looked")
        shown = "[...document.querySelector('#atlas').getContext('2d').getImageData({}, {}, 1, 1).data]".format
        box, sides = page.locator("#atlas").bounding_box(), []
        for share in (0.35, 0.65):
            x, y = box["width"] * share, box["height"] / 2
            before = page.get_attribute("#landscape", "data-numbers")
            page.mouse.click(box["x"] + x, box["y"] + y)
            until(page, "before => document.querySelector('#landscape').dataset.numbers !== before", before)
            sides.append(float(page.input_value("#map .place").split(",")[1]))
            assert page.evaluate(shown(x, box["height"] / 5)) != page.evaluate(shown(5, 5)), "ground, not the bare map"
        assert sides[0] == pytest.approx(179.9, abs=0.05)
        assert sides[1] == pytest.approx(-179.9, abs=0.05)
        assert complaints == []
        shot(page)
        page.close()


def test_photos_are_classified_and_what_is_none_is_told_beside_it(page):
    enter(page, "classify")
    wrong = {"name": "words.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    page.set_input_files("#classify input[type=file]", [photo(), wrong])
    until(page, "document.querySelectorAll('.called li[data-called], .called li.refused').length === 2")
    assert "no picture by its content" in page.inner_text(".called li.refused")
    assert page.locator(".called li[data-called] dt").count() == 5
    assert "a <b>photo</b>.png" in page.inner_text(".called")  # as text
    huge = "Object.defineProperty(new File(['x'], 'huge.jpg'), 'size', {value: 1e9})"
    page.evaluate(
        f"""() => {{ const drop = new Event('drop', {{bubbles: true}}); drop.dataTransfer = {{files: [{huge}]}};
            document.querySelector('.zone').dispatchEvent(drop); }}"""
    )
    until(page, "document.querySelector('.called').textContent.includes('1000 MB')")


@pytest.mark.long
def test_every_room_fits_its_window(page):
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 860})
        for room in ("sliders", "water", "map", "classify"):
            enter(page, room)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, room


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/slide", b"{"),
        ("/api/slide", b"[" * 5000),
        ("/api/slide", b"[1]"),
        ("/api/slide", b'{"run": {}, "sample": [], "kind": "x"}'),
        ("/api/along", b'{"run": 0, "sample": 0, "kind": 0, "places": [0, 0, 0, 0], "axis": 99}'),
        (
            "/api/along",
            b'{"run": 0, "sample": 0, "kind": 0, "places": [0, 1e400, 0, 0], "axis": 0}',
        ),
        ("/api/landscape/2/place", b'{"latitude": "x", "longitude": 0}'),
        ("/api/landscape/2/place", b'{"latitude": NaN, "longitude": 0}'),
        ("/api/landscape/0/tile", b"x"),
        ("/api/landscape/2/tile", b"GIF89a"),
        ("/api/enlarge/99999999999999999999", b"x"),
        ("/api/enlarge/3", b""),
        ("/api/water", b"<?xml version='1.0'?><VRTDataset/>"),
        ("/api/classify/4", b"\xff\xd8\xff" + b"\0" * 999),
        ("/api/classify/5?drawn=1", b"x"),
    ],
    ids=range(15),
)
def test_garbage_is_refused_in_a_line_without_a_traceback(client, path, body):
    answer = client.post(path, content=body, headers=OCTETS)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error"}
    assert not any(word in answer.text for word in ("Traceback", 'File "', "\\n"))


class Held(list):
    """What a service was asked; whoever asks waits until it is let go."""

    def __init__(self):
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def append(self, one):
        super().append(one)
        self.asked.set()
        assert self.let_go.wait(60)


def test_a_slow_map_service_holds_up_nothing_else(monkeypatch):
    with serve_yandex() as service, Ground("yandex") as ground, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("YANDEX_STATIC_URL", service.url)
        monkeypatch.setenv("YANDEX_APIKEY", service.key)
        service.asked = Held()
        client = in_thread(routes(Studio([encoder(), landscapes()], None, ground)), MOST_BYTES).opened()
        there = {"latitude": 58.45, "longitude": 30.5}
        slow = pool.submit(client.post, "/api/landscape/0/place", json=there)
        try:
            assert service.asked.asked.wait(60)
            client.get("/api/about").raise_for_status()
            client.post("/api/slide", json={"run": 1, "sample": 0, "kind": 0}).raise_for_status()
            assert not slow.done()
        finally:
            service.asked.let_go.set()
        assert "© Yandex" in slow.result().raise_for_status().json()["whose"]


def test_a_click_that_hangs_leaves_the_next_one_its_time(monkeypatch):
    monkeypatch.setattr("waterscape.sources.satellite.choosing.MOST_WAITED_SECONDS", 5.0)
    with serve_yandex() as service, Ground("yandex") as ground:
        monkeypatch.setenv("YANDEX_STATIC_URL", service.url)
        monkeypatch.setenv("YANDEX_APIKEY", service.key)
        asked, service.asked = service.asked, Held()
        client = in_thread(routes(Studio([encoder()], None, ground)), MOST_BYTES).opened()
        there = {"latitude": 58.45, "longitude": 30.5}
        began = time.monotonic()
        try:
            assert "no answer within" in client.post("/api/landscape/0/place", json=there).json()["error"]
            assert time.monotonic() - began < 20
        finally:
            service.asked.let_go.set()
        service.asked = asked
        client.post("/api/landscape/0/place", json=there).raise_for_status()


def test_views_are_drawn_one_by_one_and_none_that_nobody_waits_for(tmp_path, monkeypatch):
    write_mosaic(tmp_path / "mosaic.tif")
    drawn = Held()
    with Ground(str(tmp_path / "mosaic.tif")) as ground, ThreadPoolExecutor(1) as pool:
        view = ground.view
        monkeypatch.setattr(ground, "view", lambda box, *size: drawn.append(box[0]) or view(box, *size))
        client = in_thread(routes(Studio([landscapes()], None, ground)), MOST_BYTES).opened()
        ask = "/api/ground?west={}&south=54&east=39&north=55&width=8&height=8".format
        first = pool.submit(client.get, ask(36))
        try:
            assert drawn.asked.wait(60)
            with pytest.raises(httpx.ReadTimeout):
                client.get(ask(37), timeout=0.1)
            for _ in range(3):
                client.get("/api/places").raise_for_status()  # by now the server knows that it was given up
        finally:
            drawn.let_go.set()
        assert first.result().status_code == client.get(ask(38)).status_code == 200
    assert drawn == [36, 38]


def test_what_is_too_large_or_no_upload_is_not_taken(client):
    assert client.post("/api/classify/4", content=b" " * (MOST_BYTES + 1), headers=OCTETS).status_code == 413
    assert client.post("/api/classify/4", files={"file": b"x"}).status_code == 415
    assert client.get("/api/ground?west=x").status_code == 400
    for side in ("nan", "1e9", "-1", "99999", ""):
        assert client.get(f"/api/ground?west=0&south=0&east=1&north=1&width={side}&height=9").status_code == 400


@pytest.mark.long
def test_the_verb_serves_trained_runs_and_says_when_it_is_gone(browser, tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    gan = train_landscapes(pairs, tmp_path / "gan")
    train_encoder(pairs, gan, tmp_path / "encoder", images=8)
    write_mosaic(tmp_path / "mosaic.tif")
    words = [tmp_path / "gan", tmp_path / "encoder", "--data", pairs, "--source", tmp_path / "mosaic.tif", "--port", 0]
    with started([sys.executable, "-m", "waterscape", "explore", *words], tmp_path / "told.txt") as server:
        page = browser.new_page()
        complaints = watch(page)
        page.goto(server.link())
        page.wait_for_selector("#rooms [aria-pressed=true]")
        until(page, "document.querySelector('#slid').naturalWidth > 0")
        enter(page, "map")
        until(page, "document.querySelector('#map .note').textContent.includes('says where it lies')")
        box = page.locator("#atlas").bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        until(page, "document.querySelector('#landscape').naturalWidth > 0")
        assert complaints == []
        server.kill()
        enter(page, "sliders")
        page.click("#sliders .another")
        until(page, "document.querySelector('#trouble').textContent.includes('does not answer')")
        page.close()
    told = (tmp_path / "told.txt").read_text()
    assert "landscape_gan:small" in told
    assert "Traceback" not in told
    assert str(ROOT) not in told
