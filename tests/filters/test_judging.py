"""The tool on whole ledgers: every kind of broken file is a decision, nothing is judged twice, nothing is lost."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from coloured_scenes import jpeg
from coloured_scenes import photo as paint
from PIL import Image
from programs import ROOT, run_tool
from waiting import until

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion
from waterscape.filters.judging import Judge, judge_photos, undecided
from waterscape.sources.ledger import Decision, Ledger, Photo

OWNER = "836251"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    with Ledger(tmp_path / "photos.db", create=True):
        return tmp_path


def add(folder, number, content, suffix=".jpg", **more):
    """Note a photo and write its file; returns its key."""
    with Ledger(folder / "photos.db") as ledger:
        key = ledger.key_of("vk", OWNER, str(number))
        path = folder / "photos" / f"{key}{suffix}"
        told = {"sha256": hashlib.sha256(content or b"").hexdigest(), "file": ledger.name_of(path)}
        if content is not None:
            path.write_bytes(content)
        usual = {"latitude": 55.0, "longitude": 37.0, "taken": 1.6e9, "state": "fetched"}
        ledger.add([Photo(key, "vk", OWNER, str(number), **{**usual, **told, **more})])
    return key


def run(folder, *words):
    return run_tool("filter_photos", folder / "photos.db", "--processes", 1, *words)


def decisions(folder):
    with Ledger(folder / "photos.db") as ledger:
        return {(one.photo, one.by): one for one in ledger.decisions()}


def history(folder):
    with sqlite3.connect(folder / "photos.db") as connection:
        return connection.execute("SELECT count(*) FROM history").fetchone()[0]


def test_whatever_a_file_is_it_becomes_a_decision(folder, tmp_path):
    good = jpeg(paint(3, 1))
    bomb = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(bomb)
    keys = {
        "": add(folder, 1, good),
        "no picture: the file is missing": add(folder, 2, None),
        "no picture: not the file that was fetched, by its sha256": add(folder, 3, good, sha256="0" * 64),
        "no picture: too large": add(folder, 4, bomb.read_bytes(), ".png"),
        "no picture: damaged or cut short": add(folder, 5, good[:900]),
        "no picture: no picture by its content": add(folder, 6, b"<html>no photo"),
        "no picture: empty file": add(folder, 7, b""),
        "too dark": add(folder, 8, jpeg(Image.new("RGB", (90, 70)))),
        "too bright": add(folder, 9, jpeg(Image.new("RGB", (90, 70), "white"))),
        "blurred": add(folder, 10, jpeg(Image.new("RGB", (90, 70), "grey"))),
        "no coordinates": add(folder, 11, good, latitude=None),
    }
    code, out, err = run(folder)
    assert code == 0, err
    found = decisions(folder)
    for reason, key in keys.items():
        reasons = {one.reason for (photo, _), one in found.items() if photo == key and one.verdict == "reject"}
        assert reasons == ({reason} if reason else set()), reason
    assert found[keys["too dark"], "exposure"].score == 0
    assert (keys["too dark"], "blur") not in found, "rejected already: not asked"
    assert "kept in the end: 1 of 11" in out
    for line in ("10         1", "1  blurred", "1  no picture: too large"):
        assert line in out, out
    drawn = sorted(path.name for path in (folder / "photos.filtered").glob("*.png"))
    assert len(drawn) == 10
    sheet = Image.open(folder / "photos.filtered/blur-blurred.png")
    assert set(sheet.info["photos"].split()) == {keys["blurred"], keys[""]}
    assert OWNER not in out + err + "".join(drawn)
    assert sorted(path.name for path in (folder / "photos").iterdir()) == sorted(
        f"{key}{'.png' if reason.endswith('too large') else '.jpg'}"
        for reason, key in keys.items()
        if not reason.endswith("missing")
    ), "nothing is deleted"


def test_only_what_is_not_decided_by_these_settings_is_judged(folder):
    for number in range(6):
        add(folder, number, jpeg(paint(number % 4 + 3, number)))
    assert run(folder, "--dry-run")[1].count("6 at most") == 3
    assert not decisions(folder)
    run(folder)
    first = history(folder)
    assert "0 of them left" in run(folder)[1]
    assert history(folder) == first
    assert "6 of them left" in run(folder, "--sharpness", 61)[1]
    assert history(folder) == first + 6, "blur alone was asked again"
    one = add(folder, 6, jpeg(paint(3, 6)))
    assert "1 of them left" in run(folder, "--sharpness", 61)[1]
    with Ledger(folder / "photos.db") as ledger:
        content = jpeg(paint(5, 99))
        photo = ledger.photo(one)
        ledger.path_of(photo.file).write_bytes(content)
        ledger.update(replace(photo, sha256=hashlib.sha256(content).hexdigest()))
    assert "1 of them left" in run(folder, "--sharpness", 61)[1], "fetched anew: judged anew"
    before = history(folder)
    run(folder, "--sharpness", 61, "--again")
    assert history(folder) == before + 3 * 7


def test_a_file_that_comes_back_is_looked_at_again(folder):
    content = jpeg(paint(3, 1))
    key = add(folder, 1, None, sha256=hashlib.sha256(content).hexdigest())
    add(folder, 2, content)
    run(folder)
    assert decisions(folder)[key, "exposure"].verdict == "reject"
    sheets = folder / "photos.filtered"
    assert [path.name for path in sheets.iterdir()] == ["exposure-no-picture-the-file-is-missing.png"]
    Image.new("RGB", (9, 9)).save(sheets / "holiday.png")
    (sheets / "broken.png").write_bytes(b"no picture")
    (folder / "photos" / f"{key}.jpg").write_bytes(content)
    assert "1 of them left" in run(folder)[1]
    assert {one.verdict for one in decisions(folder).values()} == {"keep"}
    assert {path.name for path in sheets.iterdir()} == {"holiday.png", "broken.png"}, "sheets that hold no longer go"


@dataclass(frozen=True)
class Odd(Filter):
    """Cannot cope with one photo."""

    name: ClassVar[str] = "blur"
    number: str = "2"
    error: type[Exception] = ZeroDivisionError

    def judge(self, seen):
        if seen.photo.number == self.number:
            raise self.error("of\nthis photo")
        return Opinion(True)


def test_one_odd_photo_does_not_end_the_run_and_is_looked_at_again(folder):
    keys = [add(folder, number, b"content") for number in (1, 2, 3)]
    with Ledger(folder / "photos.db") as ledger:
        judge = Judge((Odd(),), {"blur": "these settings"})
        assert len([*judge_photos(ledger, judge, undecided(ledger, judge), 1)]) == 3
        found = {one.photo: one for one in ledger.decisions()}
        assert [found[key].verdict for key in keys] == ["keep", "reject", "keep"]
        assert found[keys[1]].reason == "could not be judged: ZeroDivisionError"
        assert found[keys[1]].facts == {"fault": "of this photo"}
        assert [*undecided(ledger, judge)] == [keys[1]]
        wrong = Judge((Odd(error=UserError),), {"blur": "others"})
        with pytest.raises(UserError, match="of\nthis photo"):
            list(judge_photos(ledger, wrong, undecided(ledger, wrong), 1))


def test_a_folder_that_is_gone_as_a_whole_rejects_nothing(folder):
    add(folder, 1, jpeg(paint(3, 1)))
    (folder / "photos").rename(folder / "elsewhere")
    code, _, err = run(folder)
    assert code == 1
    assert "is not there" in err
    assert err.count("\n") == 1
    assert not decisions(folder)


def test_a_person_stands_above_the_filters_and_found_photos_are_left_alone(folder):
    key = add(folder, 1, jpeg(Image.new("RGB", (90, 70))))
    add(folder, 2, None, state="found", file="")
    with Ledger(folder / "photos.db") as ledger:
        ledger.decide([Decision(key, "hand", "keep")])
    out = run(folder, "--all-filters")[1]
    assert "1 photos are fetched" in out
    assert "kept in the end: 1 of 1" in out
    assert {by for _, by in decisions(folder)} == {"hand", "coordinates", "exposure", "blur"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--classes", "allow.txt"], "--classes goes with --scenes"),
        (["--least-sum", "0.5"], "--least-sum goes with --scenes"),
        (["--darkest", "220"], "--darkest is 220 and --brightest 210"),
        (["--scenes", "absent.pth"], "no such file of weights"),
        (["--months", "summer"], "--months summer"),
        (["--persons", "absent.pth"], "say opencv"),
        (["--processes", "0"], "--processes is 0"),
        (["--month", "5"], "did you mean --months"),
    ],
)
def test_mistakes_are_one_line(folder, words, told):
    add(folder, 1, jpeg(paint(3, 1)))
    code, _, err = run(folder, *words)
    assert code == 1
    assert told in err
    assert err.count("\n") == 1
    assert not decisions(folder)


@pytest.mark.long
def test_killed_again_and_again_it_ends_with_the_decisions_of_an_undisturbed_run(folder):
    for number in range(64):
        image = paint(number % 7 + 1, number, 1500, 1000)
        add(folder, number, jpeg(image))
    words = [sys.executable, ROOT / "tools/filter_photos.py", folder / "photos.db", "--processes", "2"]
    killed, counts = 0, []
    while True:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        begun = len(decisions(folder))
        until(lambda: process.poll() is not None or killed == 2 or len(decisions(folder)) > begun)  # noqa: B023 at once
        if process.poll() is None and killed < 2:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        output = process.communicate(timeout=120)[0].decode()
        counts.append(len(decisions(folder)))
        if process.returncode == 0:
            break
    assert killed >= 1
    assert counts == sorted(counts)
    assert "kept in the end" in output
    interrupted = decisions(folder)
    assert history(folder) == len(interrupted), "nothing was judged twice that had been noted"
    run(folder, "--again")
    undisturbed = decisions(folder)
    plain = lambda found: {place: replace(one, at=0) for place, one in found.items()}  # noqa: E731
    assert plain(interrupted) == plain(undisturbed)
    assert len(undisturbed) >= 64
