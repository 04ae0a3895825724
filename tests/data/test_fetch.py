"""One file fetched from a real loopback server that does everything wrong which a server can."""

import hashlib
import io
import threading
import time

import fsspec
import numpy as np
import pytest
from hostile_server import HostileServer, announce, break_off, garbage, hang, ignore_range, redirect, serve, status
from programs import free_port

from waterscape.data import fetch as module
from waterscape.data import http_manners
from waterscape.data.address import as_directory, is_remote, join, redact
from waterscape.data.fetch import FetchError, MissingError, fetch
from waterscape.data.transfer import HaltedError, Wanted
from waterscape.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = bytes(reversed(CONTENT))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.tar").write_bytes(CONTENT)
    with HostileServer(tmp_path / "served") as server:
        yield server


def wanted(url, content=CONTENT):
    return Wanted(url, len(content), len(content), hashlib.sha256(content).hexdigest())


def take(server, content=CONTENT, **options):
    file = io.BytesIO()
    fetch(wanted(f"{server.url}/a.tar", content), file, threading.Event(), **options)
    return file.getvalue()


def ranges(server):
    return [asked.headers.get("range") for asked in server.asked]


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([], [None]),
        ([break_off(100_000), break_off(50_000)], [None, "bytes=100000-", "bytes=150000-"]),
        ([break_off(100_000), ignore_range], [None, "bytes=100000-"]),
        ([announce(+1000)], [None, None]),
        ([announce(-1000)], [None, None]),
        ([garbage], [None, None]),
        ([break_off(100_000), garbage], [None, "bytes=100000-", None]),
        ([status(500), status(503), status(429)], [None] * 4),
        ([break_off(100_000), status(416)], [None, "bytes=100000-", None]),
        ([hang(0)], [None, None]),
        ([redirect("/a.tar")], [None, None]),
    ],
)
def test_what_comes_is_whole_and_is_taken_up_where_it_broke_off(server, faults, asked):
    server.faults["/a.tar"] += faults
    assert take(server) == CONTENT
    assert ranges(server) == asked


def test_a_file_that_changes_in_mid_fetch_is_never_mixed(server):
    def change(handler, content):
        serve(handler, content, upto=100_000)
        (server.directory / "a.tar").write_bytes(OTHER)

    server.faults["/a.tar"] += [change]
    assert take(server, OTHER) == OTHER  # If-Range made the server send it from the start
    assert server.asked[1].headers["if-range"].startswith('"')
    (server.directory / "a.tar").write_bytes(CONTENT)
    server.faults["/a.tar"] += [change]
    with pytest.raises(FetchError, match=r"4 attempts, the last: its sha256 is .* another file, or damaged"):
        take(server)


def test_the_server_says_how_long_to_wait(server):
    server.faults["/a.tar"] += [status(429, Retry_After="1")]
    began = time.monotonic()
    assert take(server) == CONTENT
    assert 1 <= time.monotonic() - began < 20
    assert http_manners.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert http_manners.retry_after("100000") == 300
    assert http_manners.retry_after("soon") == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(500), "8 attempts, the last: the server answers 500"),
        (garbage, "3 attempts, the last: its sha256"),
        (announce(-1), "the last: the server announces 299999 bytes instead of 300000"),
        (break_off(0), "8 attempts, the last: ClientPayloadError"),
        (status(403), "access is refused .403.: see to the credentials"),
        (status(404), "there is no such file"),
        (redirect("http://127.0.0.1:1/a.tar"), "redirects to http://127.0.0.1, which is not followed"),
        (redirect("http://169.254.169.254/latest/meta-data"), "redirects to http://169.254.169.254, which is not"),
        (redirect("file:///etc/passwd"), "redirects to file://, which is not followed"),
        (redirect("//elsewhere.example/a.tar?token=hidden"), "redirects to http://elsewhere.example, which is not"),
        (redirect(""), "redirects to nowhere"),
        (redirect("/a.tar"), "more than 5 redirects"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line_after_bounded_attempts(server, fault, message):
    server.faults["/a.tar"] += [fault] * 20
    with pytest.raises(FetchError, match=message) as told:
        take(server)
    assert len(str(told.value).splitlines()) == 1
    assert len(server.asked) <= 9
    assert "hidden" not in str(told.value)


def test_no_server_at_all(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)
    url = f"http://127.0.0.1:{free_port()}/a.tar"
    with pytest.raises(FetchError, match="2 attempts, the last: ClientConnector"):
        fetch(wanted(url), None, threading.Event(), idle_attempts=2)


def test_progress_makes_attempts_free_and_what_came_in_vain_is_taken_back(server):
    server.faults["/a.tar"] += [break_off(20_000)] * 14  # more than may bring nothing
    told = []
    assert take(server, advance=told.append) == CONTENT
    assert sum(told) == len(CONTENT)
    assert len(server.asked) == 15
    server.faults["/a.tar"] += [garbage]
    told.clear()
    take(server, advance=told.append)
    assert sum(told) == len(CONTENT)
    assert min(told) < 0


def test_halting_ends_a_silent_transfer_at_once(server):
    server.faults["/a.tar"] += [hang(60)]
    halt = threading.Event()
    threading.Timer(0.3, halt.set).start()
    began = time.monotonic()
    with pytest.raises(HaltedError):
        fetch(wanted(f"{server.url}/a.tar"), None, halt)
    assert time.monotonic() - began < 30


def test_secrets_are_used_and_never_shown(server, capfd):
    url = server.url.replace("http://", "http://zoe:pass%40word@") + "/a.tar?token=hidden"
    fetch(wanted(url), None, threading.Event())
    assert server.asked[0].query == "token=hidden"
    assert server.asked[0].headers["authorization"].startswith("Basic ")
    server.faults["/a.tar"] += [status(500)] * 20
    with pytest.raises(FetchError) as told:
        fetch(wanted(url), None, threading.Event())
    text = str(told.value) + "".join(capfd.readouterr())
    assert "trying again" in text
    for secret in ("hidden", "pass", "word", "zoe"):
        assert secret not in text


def test_a_redirect_carries_no_secret_to_another_server(server, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.tar").write_bytes(CONTENT)
    with HostileServer(tmp_path / "other") as other:
        server.faults["/a.tar"] += [redirect(f"{other.url}/a.tar")]
        url = server.url.replace("http://", "http://ann:secret@") + "/a.tar?token=hidden"
        with pytest.raises(FetchError, match="not followed"):
            fetch(wanted(url), None, threading.Event())
        assert other.asked == []


def test_any_file_system_of_fsspec():
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/set/a.tar", CONTENT)
    file = io.BytesIO(CONTENT[:1000])
    fetch(wanted("memory://set/a.tar"), file, threading.Event())
    assert file.getvalue() == CONTENT
    with pytest.raises(MissingError, match=r"memory://set/b\.tar: there is no such file"):
        fetch(wanted("memory://set/b.tar"), None, threading.Event())
    memory.pipe_file("/set/a.tar", CONTENT[:-1])
    with pytest.raises(FetchError, match="2 attempts, the last: 299999 of 300000 bytes came"):
        fetch(wanted("memory://set/a.tar"), None, threading.Event(), idle_attempts=2)
    with pytest.raises(UserError, match=r"gs://bucket/a\.tar cannot be opened: pip install gcsfs"):
        fetch(wanted("gs://bucket/a.tar"), None, threading.Event())
    with pytest.raises(UserError, match="Protocol not known: nosuch"):
        fetch(wanted("nosuch://bucket/a.tar"), None, threading.Event())


def test_addresses(tmp_path):
    assert is_remote("s3://bucket/set")
    assert not is_remote("shards/water")
    assert not is_remote(tmp_path)
    assert not is_remote("file:///data/a%20b")
    assert str(as_directory("file:///data/a%20b", "reading")) == "/data/a b"
    assert join("https://host/set/?sig=a/b", "x.tar") == "https://host/set/x.tar?sig=a/b"
    assert redact("see https://me:pw@host/a?b=c, s3://bucket/x") == "see https://…@host/a?… s3://bucket/x"
    assert redact("simplecache::https://me:p@w@host:80/a#t") == "simplecache::https://…@host:80/a?…"
    with pytest.raises(UserError, match=r"https://…@host/set is not a directory: repair needs one"):
        as_directory("https://me:pw@host/set", "repair")
