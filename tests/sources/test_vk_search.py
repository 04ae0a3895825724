"""Searching VK: every photo of a circle is found, whatever paging yields; errors are waited for, no token is told."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import loopback_vk
import pytest
from loopback_vk import TOKEN, Posted, Vk, hang_up, refuse, say, world
from waiting import until

from waterscape.errors import UserError
from waterscape.sources.area import box_area
from waterscape.sources.ledger import Ledger
from waterscape.sources.vk import searching, signs_of_life, turns
from waterscape.sources.vk.client import VK, PlaceError, VKError, endpoint
from waterscape.sources.vk.cover import Circle, cover
from waterscape.sources.vk.searching import Search, Window
from waterscape.sources.vk.turns import Turns
from waterscape.sources.web import Limits

QUICK = Limits(attempts=4, first_pause=0.01, longest_pause=0.05, silent_seconds=30, per_second=1000, most_bytes=1 << 20)
BOX = (55.5, 37.5, 55.6, 37.7)
FIRST, LAST = 18_600, 19_000
WINDOW = Window(FIRST * 86400, LAST * 86400 - 1)
CIRCLE = Circle(55.55, 37.6, 50_000)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """A second is short, but for those who ask for a real one."""
    monkeypatch.setattr(turns, "SECOND", 0.002)


@pytest.fixture
def real_seconds(monkeypatch):
    monkeypatch.setattr(turns, "SECOND", 1.0)


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """What searches a circle of a stand-in for VK."""
    ledger = Ledger(tmp_path / "photos.db", create=True)

    def search(vk, circle=CIRCLE, patience=QUICK):
        monkeypatch.setenv("VK_URL", vk.url)
        monkeypatch.setenv("VK_TOKEN", TOKEN)
        with VK(Turns(1000), patience) as client:
            return Search(client, ledger, box_area(*BOX), WINDOW).circle(circle)

    search.ledger = ledger
    yield search
    ledger.close()


def told(ledger):
    return {int(photo.number) for photo in ledger.photos()}


def placed(posted):
    return {one.number for one in posted if one.lat is not None}


def free(posted, **more):
    return Vk(posted, per_second=10**6, **more)


def test_all_photos_with_a_place_in_the_area_are_noted_with_what_is_known_of_them(ask):
    posted = world(200, (55.45, 37.45, 55.65, 37.75), (FIRST, LAST))
    within = {
        one.number: one
        for one in posted
        if one.lat is not None and BOX[0] <= one.lat <= BOX[2] and BOX[1] <= one.long <= BOX[3]
    }
    with free(posted) as vk:
        searched = ask(vk)
    assert searched.missing == 0
    assert searched.counts == {"inside": len(within), "outside": 180 - len(within), "without_place": 20}
    assert told(ask.ledger) == set(within)
    for photo in ask.ledger.photos():
        one = within[int(photo.number)]
        assert (int(photo.owner), photo.latitude, photo.longitude) == (one.owner, one.lat, one.long)
        assert (photo.taken, photo.width, photo.height, photo.state) == (one.date, 96, 72, "found")
        assert photo.url.endswith(f"/{one.number}/96.jpg?size=96x96&sign=ab"), "the largest of its sizes"
        assert photo.licence


@pytest.mark.parametrize(
    ("days", "honest"),
    [
        ((FIRST, LAST), True),
        ((FIRST, LAST), False),
        pytest.param((FIRST + 100, FIRST + 101), True, marks=pytest.mark.long),
    ],
    ids=["spread", "0 past the reach", "one day"],
)
def test_more_photos_than_paging_yields_are_found_by_halving_the_time(ask, days, honest):
    posted = world(400, BOX, days)
    with free(posted, reach=100, counts_past_reach=honest) as vk:
        searched = ask(vk)
        assert searched.missing == 0
        assert searched.counts.total() == 400, "each once, whatever was halved"
        assert told(ask.ledger) == placed(posted)
        before = len(vk.asked)
        assert before < 120
        again = ask(vk)
        assert (again.asked, again.missing, len(vk.asked)) == (0, 0, before), "all of it is in the ledger"


@pytest.mark.long
def test_over_three_thousand_are_halved_at_once(ask):
    posted = world(3500, BOX, (FIRST, LAST))
    with free(posted) as vk:
        assert ask(vk).missing == 0
        assert told(ask.ledger) == placed(posted)
        whole = [
            one for one in vk.searches if int(one.parameters["end_time"]) - int(one.parameters["start_time"]) > 3e7
        ]
        assert [one.parameters["offset"] for one in whole] == ["0"]


def test_photos_that_are_counted_and_never_shown_are_told_at_little_cost(ask):
    posted = world(120, BOX, (FIRST, LAST))
    hidden = frozenset(one.number for one in posted[:7])
    with free(posted, hidden=hidden) as vk:
        assert ask(vk).missing == 7
        assert len(vk.searches) <= 6
    assert told(ask.ledger) == placed(posted) - hidden


@pytest.mark.parametrize("fault", [pytest.param("one second", marks=pytest.mark.long), "no offsets", "always 5000"])
def test_a_count_that_nothing_explains_ends_in_bounded_time(ask, fault, monkeypatch):
    monkeypatch.setattr(searching, "MOST_WINDOWS", 60)
    posted = world(150, BOX, (FIRST, LAST))
    if fault == "one second":
        posted = [Posted(one.owner, one.number, FIRST * 86400 + 5, one.lat, one.long) for one in posted]
    with free(posted, reach=60 if fault == "one second" else 3000, ignores_offset=fault == "no offsets") as vk:
        if fault == "always 5000":
            honest = vk.search
            vk.search = lambda asked: {"response": {"count": 5000, "items": honest(asked)["response"]["items"]}}
        searched = ask(vk)
        assert len(vk.searches) < 180
    if fault == "one second":
        assert searched.missing == 90
    if fault == "always 5000":
        assert searched.missing > 0


@pytest.mark.parametrize(
    "faults",
    [
        [refuse(6), refuse(6)],
        [refuse(9)],
        [refuse(1), refuse(10)],
        [say(500), say(502)],
        [say(429, Retry_After="0")],
        [hang_up],
        [say(200, b"<html>not now</html>"), say(200, b'{"response": [1]}')],
        [say(200, b"[" * 100_000), say(200, b'{"response": {"count": -1, "items": {}}}')],
    ],
    ids=["6", "9", "1 and 10", "500", "429", "closed", "garbage", "deep garbage"],
)
def test_what_may_go_better_is_asked_again(ask, faults):
    with free(world(20, BOX, (FIRST, LAST))) as vk:
        vk.api_faults += faults
        assert ask(vk).missing == 0
        assert len(vk.searches) == len(faults) + 1
    assert len(told(ask.ledger)) == 18


@pytest.mark.parametrize(
    ("faults", "kind", "words", "asked"),
    [
        ([refuse(5)], VKError, "error 5 .*set VK_TOKEN to a token that is valid now", 1),
        ([refuse(14)], VKError, "error 14 .*open vk.com with this account", 1),
        ([refuse(29)], VKError, "error 29 .*again tomorrow", 1),
        ([refuse(100)], VKError, "error 100 .*missing or invalid", 1),
        ([refuse(15)], PlaceError, "error 15 .*Access denied", 1),
        ([refuse(9)] * 9, VKError, r"error 9 \(Flood control\), 4 times: run the same command again later", 4),
        ([say(200, b"{}")] * 9, PlaceError, "neither response nor error, 4 times", 4),
        ([say(500, TOKEN.encode())] * 9, VKError, "4 attempts, the last: the server answers 500", 4),
        ([say(403, b"x" * 290 + TOKEN.encode())], VKError, "VK answers 403", 1),
        ([say(200, rb'{"error": {"error_code": 5, "error_msg": "\ud800 \u001b[2J"}}')], VKError, r"5 \(\[2J\)", 1),
        ([refuse(5, f"token {TOKEN} is wrong")], VKError, "error 5 ", 1),
        ([say(302, Location="https://elsewhere.example/")], VKError, "elsewhere.example, which is not followed", 1),
        ([say(302, Location="http://169.254.169.254/")], VKError, "169.254.169.254, which is not followed", 1),
        ([say(200, b" " * (2 << 20))], VKError, "longer than 1048576 bytes", 1),
    ],
)
def test_what_does_not_go_better_is_told_without_the_token(ask, faults, kind, words, asked, caplog):
    caplog.set_level(logging.DEBUG)
    with free(world(20, BOX, (FIRST, LAST))) as vk:
        vk.api_faults += faults
        with pytest.raises(kind, match=words) as error:
            ask(vk)
        assert len(vk.searches) == asked
        assert {one.token_in for one in vk.searches} == {("body",)}
    assert TOKEN[:8] not in str(error.value) + caplog.text
    assert "\n" not in str(error.value)
    assert list(ask.ledger.photos()) == []


def test_items_that_make_no_sense_are_passed_over(ask, monkeypatch):
    monkeypatch.setattr(searching, "MOST_WINDOWS", 3)
    good = {"id": 1, "owner_id": 5, "date": FIRST * 86400, "lat": 55.55, "long": 37.6}
    odd = [
        None,
        [],
        {},
        good | {"id": "2"},
        good | {"id": 3, "owner_id": None},
        good | {"id": 1 << 70},
        good | {"id": 4, "date": 1.5},
        good | {"id": 5, "lat": 1e400, "long": "x"},
        good | {"id": 6, "lat": 91, "long": 37},
        good | {"id": 11, "lat": 10**400, "long": -(10**400)},
        good | {"id": 12, "sizes": [{"url": "https://userapi.com/\ud800"}, {"url": "https://userapi.com/c"}]},
        good | {"id": 7, "lat": True, "long": True},
        good | {"id": 8, "sizes": "none"},
        good | {"id": 9, "sizes": [{"type": "w"}, {"url": 5}, {"url": "https://userapi.com/a", "width": -3}, 7]},
        good | {"id": 10, "sizes": [{"url": "https://userapi.com/b", "type": ["w"], "width": "1", "height": 1 << 99}]},
        good,
    ]
    with free([]) as vk:
        vk.api_faults += [say(200, json.dumps({"response": {"count": len(odd), "items": odd}}).encode())] * 9
        ask(vk)
    found = {photo.number: photo for photo in ask.ledger.photos()}
    assert sorted(found) == ["1", "10", "12", "8", "9"]
    assert found["12"].url == "https://userapi.com/c"
    assert found["9"].url == "https://userapi.com/a"
    assert (found["10"].width, found["10"].height, found["8"].url) == (None, None, "")


def test_the_forgotten_are_passed_over(ask):
    posted = world(40, BOX, (FIRST, LAST))
    gone = next(one for one in posted if one.lat is not None)
    ask.ledger.bury("vk", str(gone.owner))
    with free(posted) as vk:
        assert ask(vk).missing == 0
    assert told(ask.ledger) == placed(posted) - {gone.number}


@pytest.mark.usefixtures("real_seconds")
def test_many_at_once_keep_to_three_in_a_second(ask, monkeypatch):
    circles = cover(box_area(*BOX), 800)[:7]
    with Vk(world(20, BOX, (FIRST, LAST)), latency=0.05) as vk:
        monkeypatch.setenv("VK_URL", vk.url)
        monkeypatch.setenv("VK_TOKEN", TOKEN)
        with VK(Turns(3)) as client, ThreadPoolExecutor(7) as pool:
            search = Search(client, ask.ledger, box_area(*BOX), WINDOW)
            assert all(searched.missing == 0 for searched in pool.map(search.circle, circles))
        assert len(vk.searches) == 7, "nothing was refused"
        assert vk.most_in_a_second() <= 3


@pytest.mark.parametrize(("per_second", "each"), [(3, 1), (2.5, 1), (3 / 4, 4 / 3), (0.2, 5)])
def test_a_turn_comes_round_no_sooner_than_agreed(monkeypatch, per_second, each):
    monkeypatch.setattr(turns, "SECOND", 0.1)
    some, began = Turns(per_second), time.monotonic()
    for _ in range(2):
        with some.one():
            pass
    assert some.count == max(1, int(per_second))
    assert time.monotonic() - began >= 0.1 * 2 * each


TAKE = """
import sys, time
from pathlib import Path
from waterscape.sources.vk.turns import Turns
some = Turns(3 / 5, 3, Path(sys.argv[1]))
some._rest = 0.0  # the more eager, the better
while True:
    with some.one(), open(sys.argv[2], "a") as file:
        print(time.time(), sys.argv[3], file=file)
"""


@pytest.mark.long
def test_programs_that_share_a_folder_share_three_in_a_second(tmp_path):
    """Of five at once, one is killed at its turn, which ends no second sooner."""
    turns_taken = tmp_path / "turns"
    turns_taken.touch()
    command = [sys.executable, "-c", TAKE, str(tmp_path / "photos.db"), str(turns_taken)]
    programs = [subprocess.Popen([*command, str(number)]) for number in range(5)]
    try:
        until(lambda: " 0\n" in turns_taken.read_text())
        programs[0].kill()
        seen = len(turns_taken.read_text().splitlines())
        until(lambda: len(turns_taken.read_text().splitlines()) >= seen + 6)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    told = sorted(float(line.split()[0]) for line in turns_taken.read_text().splitlines())
    assert all(later - sooner >= 1 for sooner, later in zip(told, told[3:], strict=False)), "no four in a second"


LAST_SIGN = "searching: 1 windows asked, 18 photos found\n"


def test_a_long_search_gives_signs_of_life(ask, monkeypatch, capsys):
    err = []
    monkeypatch.setattr(signs_of_life, "SECONDS", 0.02)
    patience = replace(QUICK, first_pause=2, longest_pause=2)
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    with free(world(20, BOX, (FIRST, LAST)), latency=0.1) as vk:
        monkeypatch.setenv("VK_URL", vk.url)
        vk.api_faults.append(refuse(9))
        with VK(Turns(3), patience) as client:
            search = Search(client, ask.ledger, box_area(*BOX), WINDOW)
            with signs_of_life.signs_of_life(search):
                search.circle(CIRCLE)
                until(lambda: err.append(capsys.readouterr().err) or LAST_SIGN in err[-1])
    err = "".join(err)
    assert "searching: 0 windows asked, 0 photos found; waiting: error 9, flood control\n" in err
    assert err.endswith(LAST_SIGN)


@pytest.mark.parametrize("token", ["", "  ", "two words", "ключ", "a\nb"])
def test_no_token_or_none_that_can_be_one_is_told_at_once(monkeypatch, token):
    monkeypatch.setenv("VK_TOKEN", token)
    with pytest.raises(UserError, match="VK_TOKEN"):
        VK(Turns(3))


def test_a_token_goes_to_no_address_that_others_can_read(monkeypatch):
    monkeypatch.setenv("VK_URL", "http://api.vk.com")
    with pytest.raises(UserError, match="must be https"):
        endpoint()


def test_the_stand_in_is_nobody_elses():
    source = Path(loopback_vk.__file__).read_text()
    assert "import waterscape" not in source
    assert "from waterscape" not in source
