"""What the page is told and what it may do: nothing of an owner, nothing outside, and no decision lost or twice."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest
from many_photos import EXIF_WORDS, OWNER, write_ledger
from PIL import Image
from review_server import reviewing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from waterscape.errors import UserError
from waterscape.pages import serving
from waterscape.pages.review.desk import Action, Choice, Desk
from waterscape.pages.review.overview_map import map_of
from waterscape.pages.review.pictures import Pictures
from waterscape.pages.review.routes import routes
from waterscape.sources.ledger import Decision, Ledger, Tile, schema
from waterscape.sources.photo_file import PhotoError


@pytest.fixture
def path(tmp_path):
    return write_ledger(tmp_path / "set", photos=24, pictures=6)


@pytest.fixture
def ledger(path):
    with Ledger(path) as ledger:
        yield ledger


@pytest.fixture
def desk(ledger):
    with Ledger(ledger.path) as writer:
        yield Desk(ledger, writer)


def keep(photo):
    return Action(photo, "keep")


def test_an_owner_an_exact_place_and_exif_are_in_no_answer(path, ledger):
    photos = list(ledger.photos())[:6]
    with reviewing(path) as server:
        client = server.opened()
        answers = [client.get(f"/api/photos?state={state}") for state in ("open", "all")] + [client.get("/api/map")]
        for photo in photos:
            tile = f"/tiles/{photo.key}/320?source=yandex"
            answers += [
                client.get(f"/api/photos/{photo.key}"),
                client.get(f"/pictures/{photo.key}/1280"),
                client.get(tile),
            ]
        assert {answer.status_code for answer in answers} == {200, 404}  # every other photo has a tile
        pictures = [one for one in answers if one.headers["content-type"] == "image/jpeg"]
        tiled = {tile.photo for tile in ledger.tiles()} & {photo.key for photo in photos}
        assert 0 < len(tiled) < 6
        assert len(pictures) == 6 + len(tiled)
        for answer in answers:
            for word in (str(OWNER), EXIF_WORDS, "Exif", "example.org", str(path.parent), ".jpg"):
                assert word.encode() not in answer.content
            for photo in photos:
                assert f"{photo.latitude:.4f}".encode() not in answer.content
        one = client.get(f"/api/photos/{photos[0].key}").json()
        assert one["taken"] == photos[0].taken // 60 * 60
        assert [said["score"] for said in one["decisions"] if said["by"] == "daytime"] == [None]
        assert (one["latitude"], one["longitude"]) == (round(photos[0].latitude, 1), round(photos[0].longitude, 1))
    with reviewing(path, "--port", 0, "--exact-coordinates") as server:
        one = server.opened().get(f"/api/photos/{photos[0].key}").json()
        assert (one["latitude"], one["taken"]) == (photos[0].latitude, photos[0].taken)
        assert all(said["score"] is not None for said in one["decisions"])


def test_an_action_that_is_sent_again_is_done_once(ledger, desk):
    key = next(ledger.photos()).key
    desk.act([keep(key)])
    desk.act([Action(key, "reject", "people")])
    told = [desk.act([Action(key, "reject", "people")]) for _ in range(3)][-1]["standing"][0]
    assert [desk.act([Action(key, None, at=told["at"])])["standing"][0]["verdict"] for _ in range(3)] == ["keep"] * 3
    at = desk.act([keep(key)])["standing"][0]["at"]
    assert [desk.act([Action(key, None, at=at)])["standing"][0]["verdict"] for _ in range(2)] == [None, None]
    assert list(ledger.decisions(by="hand")) == []


def test_photos_are_chosen_by_decision_and_by_what_filters_said(ledger, desk):
    keys = [photo.key for photo in ledger.photos()]
    desk.act([keep(keys[0]), Action(keys[1], "reject", "people")])
    chosen = lambda **choice: desk.listing(Choice(**choice))["keys"]  # noqa: E731
    assert chosen(state="kept") == keys[:1]
    assert chosen(state="rejected") == keys[1:2]
    assert chosen(state="open") == keys[2:]
    blurred = sorted(one.photo for one in ledger.decisions(by="blur") if one.verdict == "reject")
    assert blurred
    assert chosen(state="all", filters="one", by="blur", reason="blurred") == blurred
    assert chosen(state="all", filters="one", by="blur", reason="other") == []
    assert chosen(state="all", filters="rejected") + chosen(state="all", filters="passed") != keys
    assert sorted(chosen(state="all", filters="rejected") + chosen(state="all", filters="passed")) == keys
    assert desk.progress() == {"all": 24, "kept": 1, "rejected": 1}
    with pytest.raises(UserError):
        Choice.of({"state": "anything"})


def test_a_photo_that_was_forgotten_meanwhile_is_told_as_gone(ledger, desk):
    key = next(ledger.photos()).key
    desk.listing(Choice())
    ledger.remove_photos_of("vk", str(OWNER))
    assert desk.act([keep(key)])["standing"] == [{"photo": key, "verdict": None, "gone": True}]
    assert desk.photo(key) is None
    with pytest.raises(LookupError):
        Pictures(ledger).photo(key, 320)


def test_files_outside_the_ledgers_folder_are_not_read(ledger, tmp_path):
    photo = next(ledger.photos())
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "real.jpg").write_bytes(ledger.path_of(photo.file).read_bytes())
    (ledger.path.parent / "link.jpg").symlink_to(outside / "real.jpg")
    (ledger.path.parent / "pipe.jpg").symlink_to("/dev/zero")
    pictures = Pictures(ledger)
    for file in ("../elsewhere/real.jpg", str(outside / "real.jpg"), "link.jpg", "pipe.jpg", "/etc/passwd", "../../.."):
        ledger.update(replace(photo, file=file))
        ledger.put_tile(Tile(photo.key, "yandex", file=file))
        with pytest.raises(PhotoError, match="outside"):
            pictures.photo(photo.key, 320)
        with pytest.raises(PhotoError, match="outside"):
            pictures.tile(photo.key, "yandex", 320)
    ledger.update(replace(photo, file="../elsewhere/real.jpg"))
    assert Pictures(ledger, [outside]).photo(photo.key, 320)[:2] == b"\xff\xd8"
    for file in ("photos.db", "photos"):  # inside, but no picture
        ledger.update(replace(photo, file=file))
        with pytest.raises(PhotoError):
            pictures.photo(photo.key, 320)


def test_a_picture_of_too_many_pixels_is_refused_and_memory_is_bounded(ledger):
    photo = next(ledger.photos())
    Image.new("1", (12_000, 12_000)).save(ledger.path.parent / "bomb.png")
    ledger.update(replace(photo, file="bomb.png"))
    with pytest.raises(PhotoError, match="too large"):
        Pictures(ledger).photo(photo.key, 320)
    pictures = Pictures(ledger, cache_bytes=100_000)
    for one in list(ledger.photos())[1:]:
        for side in (320, 640):
            shown = Image.open(io.BytesIO(pictures.photo(one.key, side)))
            assert max(shown.size) <= side
            assert sum(map(len, pictures._cache.values())) <= 100_000


def test_a_tile_of_many_bands_and_any_numbers_is_shown(ledger):
    import rasterio

    photo = next(ledger.photos())
    values = np.random.default_rng(0).integers(200, 4000, (5, 64, 80)).astype(np.uint16)
    profile = {"driver": "GTiff", "width": 80, "height": 64, "count": 5, "dtype": "uint16"}
    with rasterio.open(ledger.path.parent / "satellite/chip.tif", "w", **profile) as raster:
        raster.write(values)
    ledger.put_tile(Tile(photo.key, "earthengine:sentinel-2", file="satellite/chip.tif"))
    shown = Image.open(io.BytesIO(Pictures(ledger).tile(photo.key, "earthengine:sentinel-2", 640)))
    assert shown.size == (80, 64)
    assert np.asarray(shown).std() > 20


def test_the_map_cuts_no_group_over_the_antimeridian_and_shows_no_finer_place_than_asked():
    made = map_of([(-16.123, 179.912), (-16.234, -179.933), (-17.5, 178.2)])
    longitudes = [cell[1] for cell in made["cells"]]
    assert max(longitudes) - min(longitudes) == pytest.approx(1.9)
    assert all(round(value, 1) == value for cell in made["cells"] for value in cell[:2])
    many = np.random.default_rng(0).uniform((-90, -180), (90, 180), (20_000, 2))
    assert 500 < len(map_of([tuple(one) for one in many])["cells"]) <= 4000
    assert map_of([])["cells"] == []


@pytest.mark.long
def test_killed_while_deciding_the_ledger_holds_what_the_page_was_told(path, ledger):
    """Three times: decide as fast as the server answers, and kill -9 it in the middle."""
    keys = [photo.key for photo in ledger.photos()]
    told = {}
    for sitting in range(3):
        with reviewing(path) as server:
            client = server.opened()
            step = 0
            with contextlib.suppress(httpx.TransportError):
                while True:
                    tried = {"photo": keys[step % 24], "verdict": "reject", "reason": f"{sitting} {step}"}
                    answer = client.post("/api/decisions", json=[tried]).raise_for_status().json()
                    told[tried["photo"]] = answer["standing"][0]["reason"]
                    step += 1
                    if step == 6 + 3 * sitting:
                        threading.Timer(0.01 * sitting, server.kill).start()
        with Ledger(path) as again:
            held = {one.photo: one.reason for one in again.decisions(by="hand")}
        last = {tried["photo"]: tried["reason"]}  # whose answer was lost: it may be there
        assert held in (told, told | last)
        told = held
    assert len(told) >= 6


def test_while_another_tool_writes_reading_goes_on(path, ledger):
    key = next(ledger.photos()).key
    with reviewing(path) as server, Ledger(path) as other:
        client = server.opened()
        answer = []
        action = [{"photo": key, "verdict": "keep", "reason": ""}]
        sender = threading.Thread(target=lambda: answer.append(client.post("/api/decisions", json=action)))
        with other.transaction():
            other.decide([Decision(key, "blur", "keep", 0.5)])
            sender.start()
            sender.join(0.5)
            assert not answer
            assert server_answers(server, client, key)
        sender.join(60)
        assert answer[0].json()["standing"][0]["verdict"] == "keep"


def server_answers(server, client, key):
    reader = httpx.Client(base_url=server.place, cookies=client.cookies, timeout=60)
    return reader.get(f"/api/photos/{key}").status_code == reader.get(f"/pictures/{key}/320").status_code == 200


def asked(app, *requests):
    """The answers of an application in this process, to (method, path, JSON) each, from the page itself."""

    async def answers():
        place = "http://127.0.0.1:1"
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=place, headers={"Origin": place}) as client:
            return [await client.request(method, path, json=body) for method, path, body in requests]

    return asyncio.run(answers())


def application(desk, ledger):
    return Starlette(routes=routes(desk, Pictures(ledger)), exception_handlers={HTTPException: serving._refused})


def test_a_ledger_that_is_busy_for_longer_than_patience_is_to_be_asked_again(path, monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE_SECONDS", 0.05)
    with Ledger(path) as ledger, Ledger(path) as writer, Ledger(path) as other:
        key = next(ledger.photos()).key
        app = application(Desk(ledger, writer), ledger)
        decide = ("POST", "/api/decisions", [{"photo": key, "verdict": "keep", "reason": ""}])
        reading = [f"/api/{name}" for name in ("photos", "progress", "map", f"photos/{key}")] + [f"/pictures/{key}/320"]
        other._do("BEGIN EXCLUSIVE")
        answers = asked(app, decide, *(("GET", name, None) for name in reading))
        assert [answer.status_code for answer in answers] == [503] * 6
        assert all("database is locked" in answer.text and str(path.parent) not in answer.text for answer in answers)
        other._do("ROLLBACK")
        assert asked(app, decide)[0].json()["progress"]["kept"] == 1


def test_a_picture_that_nobody_waits_for_any_more_is_not_decoded(ledger, desk):
    pictures = Pictures(ledger)
    app = Starlette(routes=routes(desk, pictures))
    key = next(ledger.photos()).key
    scope = {
        **{"type": "http", "method": "GET", "path": f"/pictures/{key}/320", "headers": [], "query_string": b""},
        **{"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 1)},
    }
    sent = []

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, gone, send))
    assert not pictures._cache
    assert sent[0]["status"] == 499
    assert asked(app, ("GET", f"/pictures/{key}/320", None))[0].status_code == 200
    assert len(pictures._cache) == 1


def test_half_a_letter_is_no_hindrance(ledger, desk):
    key = next(ledger.photos()).key
    action = Action.of({"photo": key, "verdict": "reject", "reason": "half \ud800"})
    assert desk.act([action])["standing"][0]["reason"] == "half ?"
    assert desk.act([Action.of({"photo": "\udfff", "verdict": "keep", "reason": ""})])["standing"][0]["gone"]


def test_where_the_ledger_cannot_be_written_it_is_said(path, ledger):
    key = next(ledger.photos()).key
    with reviewing(path) as server, Ledger(path) as other:
        client = server.opened()
        other._do("CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        answer = client.post("/api/decisions", json=[{"photo": key, "verdict": "keep", "reason": ""}])
        assert (answer.status_code, "disk is full" in answer.json()["error"]) == (503, True)
        assert client.get("/api/progress").json() == {"all": 24, "kept": 0, "rejected": 0}
