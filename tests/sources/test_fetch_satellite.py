"""The tool as a user runs it, against a loopback Yandex: a tile for each photo, once, and no key anywhere."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from loopback_yandex import KEY, ground, serve
from PIL import Image
from programs import ROOT, run_tool
from waiting import until

from waterscape.errors import UserError
from waterscape.sources.claiming import claimed
from waterscape.sources.ledger import Decision, Ledger, Photo, Tile
from waterscape.sources.satellite import NoTileError, UnansweredError, yandex
from waterscape.sources.satellite.choosing import Choices, source_of
from waterscape.sources.satellite.fetching import fetch
from waterscape.sources.satellite.repeated import refuse_repeated
from waterscape.sources.satellite.work import work_of

SIZE = (96, 64)


def place(number):
    return round(55 + number * 0.01, 6), round(37 + number * 0.01, 6)


def collect(folder, places, owner="123456789"):
    """A ledger of photos (synthetic), fetched, at places (None: no coordinates); returns its path and their keys."""
    (folder / "photos").mkdir(parents=True)
    keys = []
    with Ledger(folder / "photos.db", create=True) as ledger:
        for number, where in enumerate(places):
            key = ledger.key_of("vk", owner, str(number))
            latitude, longitude = where or (None, None)
            shade = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
            Image.fromarray(shade).save(folder / "photos" / f"{key}.jpg")
            photo = Photo(key, "vk", owner, str(number), latitude, longitude, licence="© its author")
            ledger.add([replace(photo, state="fetched", file=f"photos/{key}.jpg")])
            keys.append(key)
    return folder / "photos.db", keys


@pytest.fixture
def collected(tmp_path):
    """Eight photos at seven places."""
    return collect(tmp_path / "set", [place(number) for number in range(7)] + [place(2)])


def words(ledger, *more, source="yandex", size=SIZE):
    of_size = ["--size", ",".join(map(str, size))] if size else []
    return [ledger, "--source", source, "--out", ledger.parent / "satellite", *of_size, *more]


def run(ledger, server, *more, key=KEY, **options):
    """The tool within this process, with short pauses: exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YANDEX_STATIC_URL", server.url if server else "http://127.0.0.1:1/v1")
        patch.setenv("YANDEX_APIKEY", key)
        short = dataclasses.replace(yandex.LIMITS, per_second=100, first_pause=0.01, longest_pause=0.05, attempts=3)
        patch.setattr(yandex, "LIMITS", short)
        return run_tool("fetch_satellite", *words(ledger, *more, **options))


def start(ledger, server, *more):
    """The tool as a process of its own."""
    program = [sys.executable, "tools/fetch_satellite.py", *map(str, words(ledger, *more))]
    named = {"YANDEX_STATIC_URL": server.url, "YANDEX_APIKEY": server.key}
    environment = {**os.environ, **named, "PATH": "/nowhere"}  # without SLURM, where there is some
    return subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def tiles(path):
    with Ledger(path) as ledger:
        return {tile.photo: tile for tile in ledger.tiles()}


def states(path):
    return [tile.state for tile in tiles(path).values()]


def files(path):
    return {file.name: file.read_bytes() for file in (path.parent / "satellite").iterdir() if file.name[0] != "."}


def nowhere(secret, folder, *texts):
    """No file of a run, nor what it told, has a secret."""
    everything = [*texts, *(file.read_bytes() for file in folder.rglob("*") if file.is_file())]
    assert everything
    assert not any((secret.encode() if isinstance(text, bytes) else secret) in text for text in everything)


def test_each_photo_has_the_tile_of_its_place(collected):
    path, keys = collected
    with serve() as server:
        code, told, error = run(path, server)
        assert code == 0, error
    assert "8 photos to go: 7 tiles, 1 photos share one of the same place, to 5 decimals" in told
    assert "8 photos got their tile by 7 requests" in told
    assert len(server.asked) == 7
    asked = server.asked[0].query
    assert {name: asked[name] for name in ("z", "size", "l", "apikey")} == {
        "z": "15",
        "size": "96,64",
        "l": "sat",
        "apikey": KEY,
    }
    for key, (latitude, longitude) in zip(keys, [*map(place, range(7)), place(2)], strict=True):
        tile = tiles(path)[key]
        content = (path.parent / tile.file).read_bytes()
        wanted = np.asarray(ground(longitude, latitude, SIZE)).astype(int)
        found = np.asarray(Image.open(io.BytesIO(content))).astype(int)
        assert np.abs(found - wanted).mean() < 6  # a JPEG of it, byte for byte as it came
        assert tile.file == f"satellite/{key}.jpg"
        assert (tile.width, tile.height) == SIZE
        assert tile.metres_per_pixel == pytest.approx(156543.03392 * np.cos(np.radians(latitude)) / 2**15)
        assert "extended licence" in tile.licence
        assert tile.facts["address"] == server.url
        assert tile.facts["plan"]["zoom"] == 15
    assert (path.parent / "satellite.sheet.png").stat().st_size > 1000
    nowhere(KEY, path.parent, told, error)
    nowhere("123456789", path.parent / "satellite", told, error)


def test_the_same_words_again_ask_for_nothing_and_a_lost_file_is_fetched(collected):
    path, keys = collected
    with serve() as server:
        run(path, server)
        before = files(path)
        assert run(path, server)[0] == 0
        assert len(server.asked) == 7
        (path.parent / "satellite" / f"{keys[3]}.jpg").unlink()
        told = run(path, server)[1]
        assert "1 had one whose file is gone" in told
        assert len(server.asked) == 8
    assert files(path) == before


def test_only_photos_that_are_kept_and_have_a_place(tmp_path):
    path, keys = collect(tmp_path / "set", [place(0), None, place(1), place(2)])
    with Ledger(path) as ledger:
        ledger.decide([Decision(keys[0], "blur", "reject"), Decision(keys[2], "blur", "reject")])
        ledger.decide([Decision(keys[2], "hand", "keep")])
        ledger.add([Photo("vk-found", "vk", "5", "5", 55.0, 37.0)])
        kept = [(one.key, one.latitude, one.longitude) for one in ledger.photos(state="fetched", verdict="keep")]
        assert ledger.kept_places() == kept
    with serve() as server:
        code, told, _ = run(path, server)
    assert (code, sorted(tiles(path))) == (0, sorted([keys[2], keys[3]]))
    assert "3 photos are fetched and kept; 1 of them have no coordinates" in told


def test_faults_on_the_way_change_nothing(collected, tmp_path):
    path, _ = collected
    other, _ = collect(tmp_path / "other", [place(number) for number in range(7)] + [place(2)])
    with serve() as server:
        run(path, server)
    with serve(faults=[429, "html", 500, "cut", 503]) as server:
        code, told, error = run(other, server, "--at-once", 1)
        assert code == 0, error
        assert len(server.asked) == 7 + 5
    assert sorted(files(other).values()) == sorted(files(path).values())
    assert "8 photos got their tile" in told


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("small", "a picture of another size"),
        ("bomb", "a picture of another size"),
        ("blank", "no imagery there"),
        ("map", "no imagery there"),
        ("html", "the answer is no picture"),
        (404, "refused by the source"),
        (400, "refused by the source"),
    ],
)
def test_what_is_no_tile_is_refused_counted_and_left_alone_until_asked(collected, fault, reason):
    path, keys = collected
    latitude, longitude = place(2)
    with serve(always={f"{longitude:.6f},{latitude:.6f}": fault}) as server:
        code, told, error = run(path, server)
        assert code == 0
        assert "6 photos got their tile by 7 requests" in told
        assert f"2 photos have none: {reason}" in error
        rows = tiles(path)
        assert [rows[keys[number]].state for number in (2, 7)] == ["failed", "failed"]
        assert rows[keys[2]].reason.startswith(reason)
        assert len(files(path)) == 6
        nowhere(KEY, path.parent, told, error)
        count = len(server.asked)
        assert f"2 had none before ({reason}): left alone" in run(path, server)[1]
        assert len(server.asked) == count
        server.always.clear()
        assert run(path, server, "--retry")[0] == 0
        assert len(server.asked) == count + 1
    assert states(path) == ["fetched"] * 8
    assert len(files(path)) == 8


def test_one_picture_for_several_places_is_none_of_any(collected):
    """As a server sends where it has none: `elsewhere` is a good picture, but always the same one."""
    path, keys = collected
    lls = ["{1:.6f},{0:.6f}".format(*place(number)) for number in (0, 2)]
    with serve(always=dict.fromkeys(lls, "elsewhere")) as server:
        code, _, error = run(path, server)
    assert code == 0
    assert "3 photos have none: the same picture came for several places" in error
    assert {key for key, tile in tiles(path).items() if tile.state == "failed"} == {keys[0], keys[2], keys[7]}
    assert len(files(path)) == 5


@pytest.mark.parametrize(
    ("key", "words_"), [("another-key", "Yandex answers 403: Invalid api key:…"), ("", "set YANDEX")]
)
def test_a_key_that_is_refused_ends_it_at_once_and_is_not_told(collected, key, words_):
    path, _ = collected
    with serve() as server:
        code, told, error = run(path, server, "--at-once", 1, key=key)
        assert code == 1
        assert len(server.asked) in ((1, 2) if key else (0,))  # the next one may be under way
    assert words_ in error
    assert len(error.splitlines()) == 1
    nowhere("another-key", path.parent, told, error)
    assert states(path) == []


def test_a_day_that_is_used_up_ends_it_and_the_next_goes_on(collected):
    path, _ = collected
    with serve(daily=2) as server:
        code, _, error = run(path, server, "--at-once", 1)
        assert code == 1
        assert "Limit is exceeded" in error
        assert "5 requests in a row came to nothing" in error
        server.daily = 1000
        assert run(path, server)[0] == 0
        assert len(server.good()) == 7
    assert states(path) == ["fetched"] * 8


def test_an_answer_that_is_too_long_is_not_read(collected):
    path, _ = collected
    with serve(always={"{1:.6f},{0:.6f}".format(*place(0)): "long"}) as server:
        code, _, error = run(path, server)
    assert code == 1
    assert "longer than 8388608 bytes, which is not read" in error
    assert len(files(path)) == 7


def test_a_redirect_to_another_host_is_not_followed(collected):
    from hostile_server import HostileServer, redirect

    path, _ = collected
    with HostileServer(path.parent) as evil, HostileServer(path.parent) as server:
        server.faults["/v1"] = [redirect(f"{evil.url}/v1?apikey=x")] * 50

        class Named:
            url = f"{server.url}/v1"

        code, told, error = run(path, Named)
        assert code == 1
        assert "redirects to http://127.0.0.1, which is not followed" in error
        assert not evil.asked
    nowhere(KEY, path.parent, told, error)


def test_no_more_in_a_second_than_is_allowed_says_the_servers_log(collected):
    path, _ = collected
    with serve() as server:
        began = time.monotonic()
        assert run(path, server, "--per-second", 20, "--at-once", 8)[0] == 0
        assert len(server.asked) == 7
    assert time.monotonic() - began >= 6 / 20


@pytest.mark.long
def test_most_takes_a_part_and_a_dry_run_asks_for_nothing(collected):
    path, _ = collected
    with serve() as server:
        told = run(path, server, "--most", 3)[1]
        assert "4 places are left for another time" in told
        assert len(server.asked) == 3
        code, told, error = run(path, None, "--dry-run", key="")
        assert code == 0, error
    assert "4 requests now, 2 at a time, 100 a second at most" in told
    assert "extended licence" in told
    assert Image.open(path.parent / "satellite.map.png").size[0] > 300


@pytest.mark.long
def test_other_options_are_told_and_replace_what_was(collected):
    path, _ = collected
    with serve() as server:
        run(path, server, "--most", 2)
        code, _, error = run(path, server, "--zoom", 14)
        assert (code, "with other options (zoom): give the same, or --replace" in error) == (1, True)
        assert run(path, server, "--zoom", 14, "--replace")[0] == 0
        assert {tile.facts["plan"]["zoom"] for tile in tiles(path).values()} == {14}
        assert len(files(path)) == 8
        server.always["{1:.6f},{0:.6f}".format(*place(0))] = "map"
        assert run(path, server, "--replace")[0] == 0
        assert (states(path).count("failed"), len(files(path))) == (1, 7)  # the old tile is gone too


def test_parts_make_what_one_makes(collected, tmp_path):
    path, _ = collected
    other, _ = collect(tmp_path / "other", [place(number) for number in range(7)] + [place(2)])
    with serve() as server:
        run(path, server)
        assert run(other, server, "--part", "1/2")[0] == 0
        assert states(other) == []
        code, _, error = run(other, server, "--join")
        assert (code, "part 2/2 is not there yet" in error) == (1, True)
        assert run(other, server, "--part", "2/2", "--most", 1)[0] == 0
        code, _, error = run(other, server, "--join")
        assert (code, "not all parts are complete with these options: run --part 2/2" in error) == (1, True)
        assert run(other, server, "--part", "2/2")[0] == 0
        assert run(other, server, "--part", "2/2")[0] == 0
        with claimed(other, "satellite", (1, 2)):  # one is at work
            for more in ["--join"], [], ["--part", "1/2"]:
                code, _, error = run(other, server, *more)
                assert (code, "another program is fetching satellite" in error) == (1, True), more
        assert len(server.asked) == 7 + 7
        code, told, error = run(other, server, "--join")
        assert (code, "8 tiles of 2 parts" in told) == (0, True), error
    assert sorted(files(other).values()) == sorted(files(path).values())
    assert states(other) == ["fetched"] * 8
    assert not list(other.parent.glob("*part*"))


def test_a_join_leaves_no_tile_of_who_was_forgotten_meanwhile(collected):
    path, _ = collected
    with serve() as server:
        run(path, server, "--part", "1/1")
        assert len(files(path)) == 8
        with Ledger(path) as ledger:
            ledger.bury("vk", "123456789")
            ledger.remove_photos_of("vk", "123456789")
            gone = [Tile("vk-gone", "yandex", file="satellite/vk-gone.jpg", facts={"asked": [at, 0]}) for at in (1, 2)]
            assert refuse_repeated(ledger, gone) == []
        assert run(path, server, "--join")[0] == 0
    assert files(path) == {}


def test_a_source_that_refuses_all_is_left_alone_and_no_place_blamed(collected):
    path, _ = collected
    with serve(faults=[402] * 7) as server:
        code, _, error = run(path, server, "--at-once", 1)
        assert (code, len(server.asked) <= 6) == (1, True)
        assert "5 requests in a row came to nothing, the last: refused by the source: Yandex answers 402" in error
        assert states(path) == []
        server.faults.clear()
        assert run(path, server)[0] == 0
    assert states(path) == ["fetched"] * 8


@pytest.fixture
def keyed(monkeypatch):
    """A loopback Yandex, and a source of its tiles that asks once."""
    monkeypatch.setattr(yandex, "LIMITS", dataclasses.replace(yandex.LIMITS, attempts=1))
    with serve() as server:
        monkeypatch.setenv("YANDEX_STATIC_URL", server.url)
        monkeypatch.setenv("YANDEX_APIKEY", KEY)
        with source_of("yandex", Choices(size=SIZE, per_second=100.0)) as source:
            yield server, source


@pytest.mark.parametrize("fault", [400, 429, "key"])
def test_no_part_of_the_key_is_told_wherever_words_are_cut(keyed, fault):
    server, source = keyed
    for filler in range(190, 301, 8):
        server.faults, server.filler = [fault] * 3, filler
        with pytest.raises((NoTileError, UnansweredError)) as told:
            source.tile_at(*place(0))
        assert KEY[:8] not in str(told.value)


@pytest.mark.parametrize("out", ["photos", "link", "."])
def test_the_photos_own_folder_is_refused(collected, out):
    path, keys = collected
    (path.parent / "link").symlink_to("photos")
    with Ledger(path) as ledger:
        if out == ".":
            ledger.update(replace(ledger.photo(keys[0]), file=f"{keys[0]}.jpg"))
        with pytest.raises(UserError, match="holds the photos of"):
            work_of(ledger, source_of("yandex"), path.parent / out)


def test_tiles_that_stand_elsewhere_are_told_and_not_bought_again(collected):
    path, keys = collected
    source, folder = source_of("yandex"), path.parent
    for name in ("old", "new"):
        (folder / name).mkdir()
        (folder / name / f"{keys[0]}.jpg").touch()
    with Ledger(path) as ledger:
        row = Tile(keys[0], "yandex", file=f"old/{keys[0]}.jpg", facts={"plan": source.plan})
        ledger.put_tile(row)
        with pytest.raises(UserError, match=r"has tiles of yandex in .*/old: give that as --out, or --replace"):
            work_of(ledger, source, folder / "new")
        assert work_of(ledger, source, folder / "old").done == 1
        anew = work_of(ledger, source, folder / "new", replace=True)
        assert anew.photos == 8
        assert [file for spot in anew.spots for file in spot.before] == [row.file]
        (folder / row.file).unlink()
        gone = work_of(ledger, source, folder / "new")
        assert (gone.done, gone.lost, gone.photos) == (0, 1, 8)  # what has the same name there is another's


@pytest.mark.parametrize(
    ("more", "words_"),
    [
        (("--zoom", 22), "--zoom 22: Yandex has 0 to 21"),
        (("--size", "700,400"), "at most 650,450"),
        (("--collection", "landsat-8"), "--collection is for --source earthengine"),
        (("--part", "3/2"), "--part 3/2"),
        (("--at-once", 0), "--at-once 0"),
        (("--most", 0), "--most 0"),
    ],
)
def test_options_that_cannot_be(collected, more, words_):
    path, _ = collected
    code, _, error = run(path, None, *more, size=None)
    assert (code, words_ in error, len(error.splitlines())) == (1, True, 1), error


def test_an_address_that_would_get_the_key_in_the_open_is_refused(collected):
    class Open:
        url = "http://example.org/v1"

    code, _, error = run(collected[0], Open)
    assert (code, "must be https" in error) == (1, True)


def test_who_is_forgotten_meanwhile_gets_no_tile(collected):
    path, keys = collected
    out = path.parent / "satellite"
    out.mkdir()
    with serve() as server, Ledger(path) as ledger, pytest.MonkeyPatch.context() as patch:
        patch.setenv("YANDEX_STATIC_URL", server.url)
        patch.setenv("YANDEX_APIKEY", KEY)
        source = source_of("yandex", Choices(size=SIZE, per_second=100.0))
        work = work_of(ledger, source, out)
        theirs = ledger.photo(keys[2])
        ledger.bury("vk", theirs.owner)
        ledger.remove_photos_of("vk", theirs.owner)
        with source:
            *_, outcome = fetch(work.spots, source, ledger, out)
    assert (outcome.requests, outcome.fetched) == (7, 0)
    assert list(out.iterdir()) == []


@pytest.mark.long
def test_parts_as_jobs_of_this_machine(collected):
    path, _ = collected
    with serve() as server:
        program = start(path, server, "--submit", 2, "--per-second", 50)
        output, _ = program.communicate(timeout=120)
        assert program.returncode == 0, output
        assert len(server.asked) == 7
    assert states(path) == ["fetched"] * 8
    nowhere(KEY, path.parent, output.decode())


@pytest.mark.long
def test_killed_in_the_middle_it_goes_on_and_asks_for_no_tile_twice(tmp_path):
    places = [place(number) for number in range(30)]
    one, _ = collect(tmp_path / "one", places)
    other, _ = collect(tmp_path / "other", places)
    with serve() as server:
        run(one, server)
    with serve(seconds=0.05) as server:
        for _ in range(3):
            program, count = start(other, server), len(server.asked)
            until(lambda: len(server.asked) >= count + 5, every=0.005)  # noqa: B023 at once
            program.send_signal(signal.SIGKILL)
            output, _ = program.communicate()
            assert KEY.encode() not in output
            noted = [tile for tile in tiles(other).values() if tile.state == "fetched"]
            assert all((other.parent / tile.file).is_file() for tile in noted)
        assert 3 <= len(noted) < 30
        asked = len(server.asked)
        assert run(other, server)[0] == 0
        assert len(server.asked) - asked == 30 - len(noted)
        assert len(server.asked) <= 30 + 3 * 2  # those under way when it was killed
    assert sorted(files(other).values()) == sorted(files(one).values())
    assert not list((other.parent / "satellite").glob(".partial-*"))
    nowhere(KEY, tmp_path)
