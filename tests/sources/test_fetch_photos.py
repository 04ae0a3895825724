"""tools/fetch_photos.py against a stand-in for VK: complete, once each, three requests a second, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from loopback_vk import TOKEN, Vk, refuse, world
from PIL import Image
from programs import ROOT, run_tool

from waterscape.sources.area import box_area
from waterscape.sources.ledger import Ledger
from waterscape.sources.vk import searching, turns

BOX = (55.5, 37.5, 55.6, 37.7)
AROUND = (55.47, 37.45, 55.63, 37.75)
SINCE = (date(2021, 1, 19) - date(1970, 1, 1)).days
DAYS = (SINCE - 100, SINCE + 400)
BOX_MIDDLE = {"lat": "55.55", "long": "37.6", "radius": "6000", "start_time": f"{SINCE * 86400}", "count": "1000"}
AT_ONCE = 8  # downloads under way that a kill may lose


def words(folder, *more):
    place = ",".join(map(str, BOX))
    return [
        "--box",
        place,
        "--since",
        "2021-01-19",
        "--ledger",
        folder / "photos.db",
        "--out",
        folder / "photos",
        *more,
    ]


def wanted(posted):
    """Numbers of the photos in the box and in time."""
    south, west, north, east = BOX
    return {
        one.number
        for one in posted
        if one.lat is not None and south <= one.lat <= north and west <= one.long <= east and one.date >= SINCE * 86400
    }


def known(folder):
    """All that a ledger says of photos and must not depend on what happened on the way; keys differ by ledger."""
    with Ledger(folder / "photos.db") as ledger:
        return {
            int(photo.number): (photo.state, photo.sha256, photo.width, photo.height, photo.facts, photo.taken)
            for photo in ledger.photos()
        }


def files(folder):
    return {path.name for path in (folder / "photos").iterdir()}


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def vk(monkeypatch):
    with Vk(world(160, AROUND, DAYS)) as vk:
        monkeypatch.setenv("VK_URL", vk.url)
        monkeypatch.setenv("VK_TOKEN", TOKEN)
        yield vk


@pytest.fixture
def hurried(vk, monkeypatch):
    """A second is short: for whatever has nothing to do with it."""
    monkeypatch.setattr(turns, "SECOND", 0.01)
    vk.per_second = 10**6
    return vk


def test_photos_of_a_box_once_each_three_requests_a_second_and_no_secret_anywhere(vk, tmp_path):
    code, told, err = run_tool("fetch_photos", *words(tmp_path))
    assert code == 0, err
    found = known(tmp_path)
    assert set(found) == wanted(vk.posted)
    assert {state for state, *_ in found.values()} == {"fetched"}
    assert set(vk.downloads) == set(found)
    assert set(vk.downloads.values()) == {1}
    assert all(asked.path.endswith("/96.jpg") for asked in vk.asked if asked.path.startswith("/impg/")), "the largest"
    assert len({tuple(asked.parameters.items()) for asked in vk.searches}) == len(vk.searches)
    assert 3 < len(vk.searches) < 12
    assert vk.most_in_a_second() <= 3
    assert {asked.token_in for asked in vk.asked} == {("body",), ()}
    assert f"{len(found)} fetched" in told
    assert f"{len(vk.searches)} complete" in told
    for picture in ("map.png", "contact.png"):
        with Image.open(tmp_path / f"photos.{picture}") as image:
            assert min(image.size) > 100
    owners = {str(abs(one.owner)).encode() for one in vk.posted}
    for path, content in everything(tmp_path).items():
        assert TOKEN[:8].encode() not in content, path
        if path.name != "photos.db":
            assert not any(owner in content + path.name.encode() for owner in owners), path
    assert TOKEN[:8] not in told + err
    assert not any(owner.decode() in told + err for owner in owners)
    before = len(vk.asked)
    assert run_tool("fetch_photos", *words(tmp_path))[0] == 0
    assert len(vk.asked) == before, "nothing is fetched twice"


@pytest.mark.long
def test_killed_again_and_again_it_ends_with_the_same_photos(vk, tmp_path):
    vk.latency = 0.04
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "tools/fetch_photos.py", *map(str, words(tmp_path / "killed"))]
    kills, ended, patience_of = 0, None, [2, 12, 25]  # requests: while searching, while fetching
    while ended is None:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        asked, patience = len(vk.asked), patience_of[kills % 3]
        while kills < 3 and process.poll() is None and len(vk.asked) < asked + patience:
            time.sleep(0.002)
        if kills < 3 and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
            process.communicate()
            continue
        ended = process.communicate()[0]
        assert process.returncode == 0, ended
    assert kills == 3
    killed_downloads, searches = vk.downloads, len(vk.searches)
    vk.asked.clear()
    (tmp_path / "undisturbed").mkdir()
    assert run_tool("fetch_photos", *words(tmp_path / "undisturbed"))[0] == 0
    assert known(tmp_path / "killed") == known(tmp_path / "undisturbed")
    assert set(killed_downloads) == wanted(vk.posted)
    assert killed_downloads.total() <= len(killed_downloads) + kills * AT_ONCE, "but for those under way"
    assert searches <= len(vk.searches) + kills * 3
    assert len(files(tmp_path / "killed")) == len(killed_downloads)
    for path, content in everything(tmp_path / "killed").items():
        assert TOKEN[:8].encode() not in content, path


@pytest.mark.long
def test_where_the_disk_has_no_more_room_it_ends_in_a_line_and_goes_on_later(vk, tmp_path):
    program = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000)); "
    program += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, ROOT / "tools/fetch_photos.py", *words(tmp_path)]
    ended = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in ended.stderr
    assert run_tool("fetch_photos", *words(tmp_path))[0] == 0
    assert set(known(tmp_path)) == wanted(vk.posted)


@pytest.mark.long
def test_parts_at_once_and_their_join_fetch_what_one_would_and_nothing_twice(vk, tmp_path):
    command = [sys.executable, "tools/fetch_photos.py", *map(str, words(tmp_path, "--per-second", 3))]
    both = [subprocess.Popen([*command, "--part", part], cwd=ROOT, stdout=subprocess.PIPE) for part in ("2/2", "1/2")]
    for process in both:
        assert b" is complete" in process.communicate()[0]
    assert vk.most_in_a_second() <= 3
    before = len(vk.asked)
    code, _, err = run_tool("fetch_photos", *words(tmp_path, "--join"))
    assert code == 0, err
    assert len(vk.asked) == before
    assert set(known(tmp_path)) == wanted(vk.posted)
    assert {state for state, *_ in known(tmp_path).values()} == {"fetched"}
    assert set(vk.downloads.values()) == {1}
    assert len({tuple(asked.parameters.items()) for asked in vk.searches}) == len(vk.searches)
    assert not list(tmp_path.glob("photos.db.part-*"))


@pytest.mark.long
def test_parts_as_jobs_of_this_machine_share_the_rate_and_tell_no_token(vk, tmp_path):
    del vk.posted[24:]
    command = [sys.executable, "tools/fetch_photos.py", *map(str, words(tmp_path, "--submit", 2))]
    here = {**os.environ, "PATH": "/nowhere"}  # without SLURM, where there is some
    ended = subprocess.run(command, cwd=ROOT, env=here, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert vk.most_in_a_second() <= 3
    assert {state for state, *_ in known(tmp_path).values()} == {"fetched"}
    assert set(vk.downloads) == set(known(tmp_path)) == wanted(vk.posted)
    assert set(vk.downloads.values()) == {1}
    assert TOKEN[:8] not in ended.stdout + ended.stderr
    for path, content in everything(tmp_path).items():
        assert TOKEN[:8].encode() not in content, path


def test_a_join_names_the_parts_that_are_lacking(hurried, tmp_path):
    vk = hurried
    assert "run --part 1/N" in run_tool("fetch_photos", *words(tmp_path, "--join"))[2]
    vk.api_faults.append(refuse(5))
    assert run_tool("fetch_photos", *words(tmp_path, "--part", "1/2"))[0] == 1
    assert "not all parts have begun: run --part 2/2" in run_tool("fetch_photos", *words(tmp_path, "--join"))[2]
    vk.api_faults += [lambda handler: handler.json(vk.search(BOX_MIDDLE)), refuse(5)]
    assert run_tool("fetch_photos", *words(tmp_path, "--part", "2/2"))[0] == 1
    told = run_tool("fetch_photos", *words(tmp_path, "--part", "2/2", "--dry-run"))[1]
    assert re.search(", [12] of them asked for already", told), "in the part's own ledger"
    assert "at 1.5 a second" in told
    assert "not all parts are complete: run --part 1/2, 2/2" in run_tool("fetch_photos", *words(tmp_path, "--join"))[2]


@pytest.mark.long
def test_a_whole_fetch_and_a_part_exclude_each_other(hurried, tmp_path):
    held = []

    def meanwhile(handler):
        held.append(run_tool_beside(tmp_path))
        handler.json(hurried.search(BOX_MIDDLE))

    hurried.api_faults.append(meanwhile)
    assert run_tool("fetch_photos", *words(tmp_path, "--part", "1/2"))[0] == 0
    (ended,) = held
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "wait for it" in ended.stderr
    assert ended.stderr.count("\n") == 1


def run_tool_beside(folder):
    command = [sys.executable, "tools/fetch_photos.py", *map(str, words(folder))]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_same_words_mean_the_same_window_on_every_later_day(tmp_path, monkeypatch):
    area, now = box_area(*BOX), [datetime(2026, 5, 1, 12, tzinfo=UTC)]
    clock = type("Clock", (datetime,), {"now": classmethod(lambda *_: now[0])})
    monkeypatch.setattr(searching, "datetime", clock)
    end = int(datetime(2026, 5, 2, tzinfo=UTC).timestamp()) - 1
    noon = int(now[0].timestamp())
    with Ledger(tmp_path / "photos.db", create=True) as ledger:
        assert searching.begin(ledger, area, 6000, 0, end) == searching.Window(0, noon)
        now[0] += timedelta(days=3)
        assert searching.begin(ledger, area, 6000, 0, end) == searching.Window(0, noon)
        assert searching.begin(ledger, area, 6000, 0, None) == searching.Window(0, noon + 3 * 86400)
        assert searching.begin(ledger, area, 800, 0, end) == searching.Window(0, end), "begun when it was past"


@pytest.mark.long
def test_what_was_not_to_be_had_is_asked_for_again_and_the_rest_stays(hurried, tmp_path):
    vk = hurried
    never = min(wanted(vk.posted))
    vk.addresses[never] = "{url}/impg/c1/1/96.jpg?sign=old"
    vk.api_faults += [refuse(6), refuse(15)]
    code, told, err = run_tool("fetch_photos", *words(tmp_path))
    assert code == 1
    assert "1 circles were not answered" in err
    assert "run the same command again" in err
    before = len(vk.searches)
    code, told, err = run_tool("fetch_photos", *words(tmp_path))
    assert code == 0, err
    assert len(vk.searches) == before + 1, "the one circle"
    assert "1 cannot be had: the server answers 404" in told
    assert {number for number, (state, *_) in known(tmp_path).items() if state == "failed"} == {never}
    assert set(known(tmp_path)) == wanted(vk.posted)
    del vk.addresses[never]
    asked = len(vk.searches)
    before, lost = known(tmp_path), sorted((tmp_path / "photos").iterdir())[:2]
    for path in lost:
        path.unlink()
    code, told, err = run_tool("fetch_photos", *words(tmp_path, "--retry"))
    assert code == 0, err
    assert "the files of 2 photos have gone" in told
    assert 1 <= len(vk.searches) - asked < asked, "circles that hold it, for its address as it is now"
    assert all(path.is_file() for path in lost)
    assert {number: row for number, row in known(tmp_path).items() if number != never} | {
        never: before[never]
    } == before
    assert {state for state, *_ in known(tmp_path).values()} == {"fetched"}


def test_where_the_quota_is_spent_what_was_found_is_fetched_all_the_same(hurried, tmp_path):
    vk = hurried
    vk.api_faults += [lambda handler: handler.json(vk.search(BOX_MIDDLE)), *[refuse(29)] * 9]
    code, _, err = run_tool("fetch_photos", *words(tmp_path, "--per-second", 1))
    assert code == 1
    assert "run the same command again tomorrow" in err
    assert {state for state, *_ in known(tmp_path).values()} == {"fetched"}
    assert len(files(tmp_path)) > 10


def test_a_dry_run_asks_for_nothing_and_leaves_a_map_alone(vk, tmp_path, monkeypatch):
    monkeypatch.delenv("VK_TOKEN")
    code, told, err = run_tool("fetch_photos", *words(tmp_path, "--dry-run"))
    assert code == 0, err
    assert "circles of 6000 m cover the area" in told
    assert "hours at 3 a second" in told
    assert vk.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["photos.circles.png"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--radius", "3019"], "VK knows 10, 100, 800, 6000, 50000 metres"),
        (["--until", "2020-01-01"], "--since 2021-01-19 is after --until 2020-01-01"),
        (["--per-second", "4"], "VK allows 3 at most"),
        (["--part", "3/2"], "give I/N"),
        (["--part", "1/2", "--join"], "exclude each other"),
        (["--area", "nowhere.geojson"], "give either --area FILE or --box"),
        (["--radius", "10"], "take a larger --radius"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, more, told):
    place = ["--box", "53.81,36.58,58.69,40.42"]
    out = ["--since", "2021-01-19", "--ledger", tmp_path / "photos.db", "--out", tmp_path / "photos"]
    code, _, err = run_tool("fetch_photos", *place, *out, *more)
    assert code == 1
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_token_ends_it_with_a_message(hurried, tmp_path, monkeypatch):
    vk = hurried
    monkeypatch.setenv("VK_TOKEN", "vk1.a.another")
    code, told, err = run_tool("fetch_photos", *words(tmp_path))
    assert code == 1
    assert "set VK_TOKEN to a token that is valid now" in err
    assert "another" not in told + err
    assert len(vk.searches) <= 3
