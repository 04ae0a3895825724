"""Fetching photos: whole or absent, freed of their makers' traces, from nowhere but VK's own hosts."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from loopback_vk import Vk, bomb, cut_short, endless, garble, hang_up, picture, say, world
from PIL import Image

from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger, Photo
from waterscape.sources.photo_file import Limits as Sizes
from waterscape.sources.vk import downloading, photo_hosts
from waterscape.sources.vk.downloading import Downloads, LaterError
from waterscape.sources.vk.photo_hosts import USUAL_HOSTS, HostError, PhotoHosts, UnknownHostError
from waterscape.sources.web import Limits

QUICK = Limits(at_once=4, per_second=1000, attempts=3, first_pause=0.01, longest_pause=0.05, silent_seconds=30)
PHOTOS = 3
SMALL = replace(QUICK, most_bytes=100_000)


class Folder:
    """A ledger with the photos of a stand-in, and the folder that they are fetched to."""

    def __init__(self, path, vk):
        self.vk, self.out = vk, path / "photos"
        self.out.mkdir()
        self.ledger = Ledger(path / "photos.db", create=True)
        self.keys = {}
        for one in vk.posted:
            key = self.ledger.key_of("vk", str(one.owner), str(one.number))
            url = max(vk.item(one)["sizes"], key=lambda size: size["width"])["url"]
            self.ledger.add([Photo(key, "vk", str(one.owner), str(one.number), 55.0, 37.0, url=url)])
            self.keys[one.number] = key

    def fetch(self, patience=QUICK, keys=None):
        downloads = Downloads(self.ledger, self.out, PhotoHosts(USUAL_HOSTS, self.vk.url), Sizes(), patience)
        done = downloading.Downloaded()
        for done in downloads.all([*self.keys.values()] if keys is None else keys):  # noqa: B007
            pass
        downloads.close()
        return done

    def photo(self, number):
        return self.ledger.photo(self.keys[number])

    def files(self):
        return {path.name for path in self.out.iterdir()}


@pytest.fixture
def folder(tmp_path):
    with Vk(world(PHOTOS, (55, 37, 56, 38), (18_000, 19_000))) as vk:
        folder = Folder(tmp_path, vk)
        yield folder
        folder.ledger.close()


def test_photos_are_stored_without_traces_of_their_makers(folder):
    done = folder.fetch()
    assert (done.fetched, done.failed, done.later) == (PHOTOS, {}, {})
    for one in folder.vk.posted:
        photo, raw = folder.photo(one.number), picture(one, 96)
        content = folder.ledger.path_of(photo.file).read_bytes()
        assert photo.file == f"photos/{photo.key}.jpg"
        assert (photo.state, photo.sha256) == ("fetched", hashlib.sha256(content).hexdigest())
        assert str(one.owner).strip("-").encode() not in content
        with Image.open(io.BytesIO(content)) as stored, Image.open(io.BytesIO(raw)) as sent:
            assert (np.asarray(stored) == np.asarray(sent)).all()
            lies = sent.getexif().get(0x0112)
            assert dict(stored.getexif()) == ({0x0112: lies} if lies else {})
        assert photo.facts.get("orientation") == lies
        assert (photo.width, photo.height) == ((72, 96) if lies else (96, 72)), "upright"
        assert photo.facts["camera_date"].startswith("2021:06:0")
        assert photo.facts["left_out"] == ["EXIF", "a comment"]
    assert not [name for name in folder.files() if name.startswith(".")]


@pytest.mark.parametrize(
    "faults",
    [[say(500), say(503)], [say(429)], [cut_short, cut_short], [hang_up], [garble, garble], [say(200, b"")]],
    ids=["500", "429", "short", "closed", "garbled", "empty"],
)
def test_what_may_go_better_is_asked_again(folder, faults):
    number = folder.vk.posted[0].number
    folder.vk.photo_faults[number] += faults
    assert folder.fetch().fetched == PHOTOS
    assert folder.vk.downloads[number] == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        (say(404), "failed", "the server answers 404"),
        (say(302, Location="http://169.254.169.254/latest"), "failed", "redirects to http://169.254.169.254"),
        (say(302, Location="file:///etc/passwd"), "failed", "redirects to file://"),
        (say(302, Location="https://elsewhere.example/a"), "failed", "redirects to https://elsewhere.example"),
        (say(302, Location="http://127.0.0.1:1/"), "failed", "redirects to http://127.0.0.1"),
        (endless, "failed", "longer than 100000 bytes"),
        (say(200, bytes(100_001)), "failed", "longer than 100000 bytes"),
        (say(200, bomb()), "failed", "too large"),
        (say(200, b"<html>"), "failed", "no picture by its content"),
        (garble, "failed", "damaged or cut short"),
        (say(500), "found", ""),
        (cut_short, "found", ""),
    ],
)
def test_what_does_not_go_better_leaves_no_file_and_says_why(folder, fault, state, words):
    number = folder.vk.posted[0].number
    folder.vk.photo_faults[number] += [fault] * 20
    done = folder.fetch(SMALL)
    photo = folder.photo(number)
    assert (photo.state, done.fetched) == (state, PHOTOS - 1)
    assert words in photo.reason
    assert folder.vk.url not in photo.reason
    assert str(abs(int(photo.owner))) not in photo.reason + str(done)
    assert f"{photo.key}.jpg" not in folder.files()
    assert len(folder.files()) == PHOTOS - 1
    assert sum(done.later.values()) == (state == "found")


def test_png_is_no_jpeg(folder):
    one = folder.vk.posted[0]
    folder.vk.photo_faults[one.number] += [say(200, picture(one, 96, "PNG"))] * 3
    folder.fetch()
    assert folder.photo(one.number).reason == "no picture by its content"


@pytest.mark.parametrize(
    "url",
    [
        "http://sun9-1.userapi.com/a.jpg",
        "file:///etc/passwd",
        "ftp://userapi.com/a",
        "https://userapi.com.elsewhere.example/a.jpg",
        "https://elsewhereuserapi.com/a.jpg",
        "https://elsewhere.example/userapi.com/a.jpg",
        "https://userapi.com@elsewhere.example/a.jpg",
        "https://zoe:password@userapi.com/a.jpg",
        "https://userapi.com:8443/a.jpg",
        "https://127.0.0.1/a.jpg",
        "https://[::1]/a.jpg",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9/a.jpg",
        "https://2130706433/a.jpg",
        "https://[::ffff:10.0.0.1",
        "https://userapi.com:99999999/",
        "//userapi.com/a.jpg",
        "no address",
        "",
    ],
)
def test_an_address_elsewhere_is_never_asked_for(folder, url):
    number = folder.vk.posted[0].number
    folder.ledger.update(replace(folder.photo(number), url=url))
    assert folder.fetch(keys=[folder.keys[number]]).failed.total() == 1
    photo = folder.photo(number)
    assert photo.state == "failed"
    assert "password" not in photo.reason
    assert folder.vk.downloads[number] == 0


def test_a_known_name_that_leads_into_our_own_network_is_refused():
    hosts = PhotoHosts(["localhost", "userapi.com"], "https://api.vk.com")
    with pytest.raises(HostError, match="no public address"):
        hosts.check("https://localhost/a.jpg")
    with pytest.raises(HostError, match="no plain https"):
        hosts.check("http://127.0.0.1:8000/a.jpg")
    with pytest.raises(UnknownHostError):
        hosts.check(f"https://{'a' * 64}.userapi.com/a.jpg")


@pytest.mark.parametrize(("name", "listened_to"), [("NO_PROXY", False), ("HTTPS_PROXY", True)])
def test_only_a_proxy_may_answer_from_our_own_network(monkeypatch, name, listened_to):
    for known in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{known}_proxy", raising=False)
        monkeypatch.delenv(f"{known}_proxy".upper(), raising=False)
    monkeypatch.setenv(name, "127.0.0.1:9")
    assert PhotoHosts(USUAL_HOSTS, "https://api.vk.com").may_answer("10.0.0.1") == listened_to


def test_whoever_answers_from_our_own_network_is_not_listened_to(folder, monkeypatch):
    monkeypatch.setattr(photo_hosts, "getproxies", dict)

    class Rebound(PhotoHosts):
        def check(self, url):
            """As for a name that led to a public address when it was looked up first."""

    downloads = Downloads(folder.ledger, folder.out, Rebound(USUAL_HOSTS, "https://api.vk.com"), Sizes(), QUICK)
    key = folder.keys[folder.vk.posted[0].number]
    assert downloads.one(key) == "127.0.0.1 answers, which is no address for that"
    assert folder.files() == set()
    downloads.close()


def test_the_forgotten_are_not_fetched_and_leave_no_file(folder):
    one, other, *_ = folder.vk.posted
    folder.ledger.bury("vk", str(one.owner))

    def forget_meanwhile(handler, content):
        folder.ledger.bury("vk", str(other.owner))
        folder.ledger.remove_photos_of("vk", str(other.owner))
        handler.answer(200, content)

    folder.vk.photo_faults[other.number] += [forget_meanwhile]
    assert folder.fetch().fetched == PHOTOS - 2
    assert folder.vk.downloads[one.number] == 0
    assert folder.photo(other.number) is None
    assert len(folder.files()) == PHOTOS - 2


def test_killed_between_file_and_ledger_it_is_not_fetched_again(folder):
    folder.fetch()
    photo = folder.photo(folder.vk.posted[0].number)
    folder.ledger.update(replace(photo, state="found"))
    folder.fetch()
    assert folder.ledger.photo(photo.key) == photo
    assert set(folder.vk.downloads.values()) == {1}
    folder.ledger.update(replace(photo, state="found"))
    folder.ledger.path_of(photo.file).write_bytes(b"another")
    folder.fetch(keys=[photo.key])
    assert folder.vk.downloads[int(photo.number)] == 2
    assert folder.ledger.photo(photo.key) == photo


def test_where_nobody_answers_it_ends_soon(folder, monkeypatch):
    monkeypatch.setattr(downloading, "IN_A_ROW", 3)
    for one in folder.vk.posted:
        folder.vk.photo_faults[one.number] += [say(500)] * 20
    with pytest.raises(UserError, match="3 photos in a row cannot be reached"):
        folder.fetch()
    assert folder.files() == set()


def test_a_photo_that_may_be_had_later_says_so(folder):
    folder.vk.photo_faults[folder.vk.posted[0].number] += [hang_up] * 9
    downloads = Downloads(folder.ledger, folder.out, PhotoHosts(USUAL_HOSTS, folder.vk.url), Sizes(), QUICK)
    with pytest.raises(LaterError, match="3 attempts"):
        downloads.one(folder.keys[folder.vk.posted[0].number])
    downloads.close()
