"""The ledger: nothing is lost, nothing is twice, people can be forgotten."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from waterscape.errors import UserError
from waterscape.sources.ledger import Decision, Ledger, Photo, Request, Tile, schema


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "photos.db", create=True) as ledger:
        yield ledger


def photo(ledger, owner="7", number="1", **more):
    return Photo(ledger.key_of("vk", owner, number), "vk", owner, number, 55.5, 37.25, taken=1.5e9, **more)


def test_what_was_noted_is_read_again_from_another_handle(ledger):
    one = photo(ledger, facts={"likes": 3, "title": "озеро"})
    assert ledger.answered(Request("cell 1, page 1", "cell 1", 1000, 1), [one]) == 1
    ledger.put_tile(Tile(one.key, "yandex", metres_per_pixel=2.7))
    with Ledger(ledger.path) as again:
        assert list(again.photos()) == [one]
        assert again.request("cell 1, page 1").counted == 1000
        assert again.request("cell 1, page 2") is None
        assert [tile.metres_per_pixel for tile in again.tiles("yandex")] == [2.7]


def test_a_photo_is_noted_once_and_keeps_what_is_known_of_it(ledger):
    ledger.add([photo(ledger)])
    ledger.update(photo(ledger, state="fetched", file="photos/a.jpg"))
    assert ledger.add([photo(ledger), photo(ledger, number="2")]) == 1
    assert [one.state for one in ledger.photos()].count("fetched") == 1
    assert ledger.count() == {"found": 1, "fetched": 1}


def test_a_person_decides_above_the_filters_and_may_undo(ledger):
    one = photo(ledger)
    ledger.add([one])
    verdicts = lambda: {word for word in ("keep", "reject") if list(ledger.photos(verdict=word))}  # noqa: E731
    assert verdicts() == {"keep"}
    ledger.decide([Decision(one.key, "blur", "reject", 0.2, "blurred"), Decision(one.key, "persons", "keep", 0.0)])
    assert verdicts() == {"reject"}
    ledger.decide([Decision(one.key, "hand", "keep")])
    assert verdicts() == {"keep"}
    ledger.decide([Decision(one.key, "hand", "reject", reason="a car")])
    assert verdicts() == {"reject"}
    assert ledger.undo(one.key, "hand").verdict == "keep"
    assert ledger.undo(one.key, "hand") is None
    assert verdicts() == {"reject"}  # the filter's word stands again
    assert [decision.by for decision in ledger.decisions(one.key)] == ["blur", "persons"]


def test_all_decisions_of_a_call_or_none(ledger):
    one = photo(ledger)
    ledger.add([one])
    with pytest.raises(sqlite3.IntegrityError):
        ledger.decide([Decision(one.key, "blur", "reject"), Decision("vk-unknown", "blur", "reject")])
    assert list(ledger.decisions()) == []


def test_the_forgotten_leave_nothing_and_do_not_come_back(ledger):
    ledger.add([photo(ledger, "123456789", url="https://example.org/secret-name.jpg"), photo(ledger, "8")])
    key = photo(ledger, "123456789").key
    ledger.decide([Decision(key, "hand", "keep")])
    ledger.put_tile(Tile(key, "yandex"))
    ledger.bury("vk", "123456789")
    ledger.remove_photos_of("vk", "123456789")
    assert ledger.add([photo(ledger, "123456789", "99")]) == 0
    assert [one.owner for one in ledger.photos()] == ["8"]
    assert list(ledger.tiles()) == list(ledger.decisions()) == []
    content = ledger.path.read_bytes()
    assert b"secret-name" not in content
    assert b"123456789" not in content
    assert key.encode() not in content


def test_keys_tell_nothing_and_differ_between_ledgers(ledger, tmp_path):
    with Ledger(tmp_path / "other.db", create=True) as other:
        assert other.key_of("vk", "7", "1") != ledger.key_of("vk", "7", "1")
    assert ledger.key_of("vk", "7", "11") != ledger.key_of("vk", "71", "1")


def test_parts_are_joined(ledger, tmp_path):
    ledger.bury("vk", "9")
    known = photo(ledger)
    ledger.add([known])
    with ledger.part(tmp_path / "part.db") as part:
        assert part.add([known, photo(part, number="2"), photo(part, owner="9")]) == 2
        part.update(replace(known, state="fetched"))
        part.decide([Decision(known.key, "blur", "keep", 0.9)])
        part.put_tile(Tile(known.key, "yandex"))
        ledger.merge(part)
        ledger.merge(part)  # again: nothing twice
    assert ledger.count() == {"found": 1, "fetched": 1}
    assert len(list(ledger.tiles())) == len(list(ledger.decisions())) == 1


@pytest.mark.parametrize(
    ("whole", "part", "after"),
    [
        ("fetched", "failed", "fetched"),
        ("failed", "fetched", "fetched"),
        ("found", "failed", "failed"),
        ("fetched", "found", "fetched"),
    ],
)
def test_a_join_loses_nothing_that_was_fetched(ledger, tmp_path, whole, part, after):
    ledger.add([photo(ledger, state=whole)])
    with ledger.part(tmp_path / "part.db") as own:
        own.add([photo(own, state=part)])
        ledger.merge(own)
    assert ledger.count() == {after: 1}


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def test_held_by_another_program_it_says_so_in_a_line(ledger, monkeypatch):
    ledger._connection.execute("PRAGMA busy_timeout = 20")
    monkeypatch.setattr(schema, "PATIENCE_SECONDS", 0.02)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, ledger.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        for ask in (
            lambda: list(ledger.photos()),
            ledger.count,
            lambda: ledger.update(photo(ledger)),
            lambda: ledger.add([photo(ledger)]),
            lambda: Ledger(ledger.path),
        ):
            with pytest.raises(
                UserError, match=r"photos\.db cannot be used .*locked.*another program holds it"
            ) as told:
                ask()
            assert "\n" not in str(told.value)
        holder.stdin.close()
    assert ledger.add([photo(ledger)]) == 1


@pytest.mark.parametrize(
    ("pragma", "words"), [("query_only = 1", "make it and its folder writable"), ("max_page_count = 1", "make room")]
)
def test_a_ledger_that_takes_nothing_says_what_to_do(ledger, pragma, words):
    ledger._connection.execute(f"PRAGMA {pragma}")
    with pytest.raises(UserError, match=words):
        ledger.add([photo(ledger, number=f"{number}") for number in range(1000)])
    ledger._connection.execute("PRAGMA query_only = 0")
    ledger._connection.execute("PRAGMA max_page_count = 100000")
    assert ledger.count() == {}
    assert ledger.add([photo(ledger)]) == 1


WRITER = """
import sys
from pathlib import Path
from waterscape.sources.ledger import *
with Ledger(Path(sys.argv[1])) as ledger:
    for number in range(10**9):
        photo = Photo(ledger.key_of("vk", "7", f"{number}"), "vk", "7", f"{number}")
        ledger.answered(Request(f"{number}", "cell"), [photo])
        print(number, flush=True)
"""


def test_killed_while_writing_it_holds_what_was_told(ledger):
    told = -1
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, ledger.path], stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline() for _ in range(200)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        told = max(told, *(int(line) for line in lines if line.endswith("\n")))
        numbers = {int(one.number) for one in ledger.photos()}
        assert numbers >= set(range(told + 1))
        assert numbers == {int(request.key) for request in ledger.requests()}, "a request without its photos"


@pytest.mark.parametrize("content", [b"", b"no database at all, but a text of some length" * 50])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "photos.db").write_bytes(content)
    with pytest.raises(UserError, match="ledger"):
        Ledger(tmp_path / "photos.db")


def test_a_newer_format_or_another_database_is_refused(ledger, tmp_path):
    ledger._connection.execute("PRAGMA user_version = 2")
    with pytest.raises(UserError, match="format 2"):
        Ledger(ledger.path)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE photos (key)")
    with pytest.raises(UserError, match="no ledger"):
        Ledger(tmp_path / "other.db", create=True)
    with pytest.raises(UserError, match="there is no ledger"):
        Ledger(tmp_path / "missing.db")
