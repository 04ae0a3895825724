"""The node's cache: whole files only, each fetched once, bounded, safe against other processes."""

import fcntl
import hashlib
import os
import threading
import time

import pytest

from waterscape.data import cache as module
from waterscape.data.cache import Answer, Cache, Part
from waterscape.data.transfer import HaltedError
from waterscape.errors import UserError


def put(cache, name, content):
    cache.bring(name, len(content), lambda file: file.write(content), threading.Event())


def names(cache):
    return sorted(path.name for path in cache.directory.iterdir() if path.name != "lock")


def read(cache, name):
    descriptor = cache.pin(name)
    assert descriptor is not None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_a_file_appears_whole_and_only_once(tmp_path):
    cache, fetched = Cache(tmp_path / "c", 100), []

    def slow(file):
        fetched.append(names(cache))
        file.write(b"wa")
        time.sleep(0.2)
        file.write(b"ter")

    threads = [threading.Thread(target=cache.bring, args=("a", 5, slow, threading.Event())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [["a.5.part"]]
    assert names(cache) == ["a"]
    assert read(cache, "a") == b"water"


def test_what_a_failed_fetch_left_is_taken_up(tmp_path):
    cache = Cache(tmp_path / "c", 100)

    def broken(file):
        file.write(b"wa")
        raise UserError("the line is cut")

    with pytest.raises(UserError, match="cut"):
        cache.bring("a", 5, broken, threading.Event())
    assert cache.pin("a") is None

    def rest(file):
        assert file.read() == b"wa"
        file.write(b"ter")

    cache.bring("a", 5, rest, threading.Event())
    assert read(cache, "a") == b"water"


def test_the_least_recently_needed_goes_first_and_nothing_that_is_read(tmp_path):
    cache = Cache(tmp_path / "c", 40)
    for age, name in enumerate("abcd"):
        put(cache, name, b"0123456789")
        os.utime(cache.directory / name, (age, age))
    os.close(cache.pin("a"))  # needed again
    held = cache.pin("b")
    put(cache, "e", b"0123456789")
    assert names(cache) == ["a", "b", "d", "e"]  # c went: b is older, but is being read
    cache.bring("f", 10, lambda file: file.write(b"x" * 10), threading.Event(), spare=["f", "d", "a"])
    assert names(cache) == ["a", "b", "d", "f"]  # e went, since the others are needed soon
    cache.bring("g", 10, lambda file: file.write(b"x" * 10), threading.Event(), spare=["g", "f", "d", "a"])
    assert names(cache) == ["b", "d", "f", "g"]  # then what is needed last
    assert cache.reserve("h", 10, ["b", "d", "f", "g", "h"]) is Answer.FULL  # needed after all that is there
    os.close(held)
    assert cache.bytes() == 40


def test_no_room_is_told_with_what_is_needed(tmp_path):
    cache = Cache(tmp_path / "c" / "tars", 25)
    put(cache, "a", b"0123456789")
    put(cache, "b", b"0123456789")
    held = [cache.pin("a"), cache.pin("b")]
    with pytest.raises(UserError, match=r"c is full: 10 bytes more .* may hold 25; set WATERSCAPE_CACHE_BYTES to more"):
        put(cache, "c", b"0123456789")
    with pytest.raises(UserError, match="is full"):
        put(cache, "c", b"x" * 26)
    waited = []

    def waiting(answer):
        waited.append(answer)
        if len(waited) == 3:
            os.close(held.pop())

    cache.bring("c", 10, lambda file: file.write(b"x" * 10), threading.Event(), patience=5, waiting=waiting)
    assert waited == [Answer.FULL] * 3
    assert names(cache) == ["a", "c"]
    os.close(held.pop())


def test_a_partial_file_counts_as_whole_and_a_dead_one_is_swept(tmp_path):
    cache = Cache(tmp_path / "c", 25)
    part = cache.reserve("a", 20)
    assert isinstance(part, Part)
    assert cache.reserve("a", 20) is Answer.BUSY
    assert cache.reserve("b", 10) is Answer.FULL
    part.file.close()  # as when its process dies
    put(cache, "b", b"0123456789")
    assert names(cache) == ["b"]


def test_waiting_can_be_broken_off(tmp_path):
    cache, halt = Cache(tmp_path / "c", 25), threading.Event()
    part = cache.reserve("a", 20)
    threading.Timer(0.1, halt.set).start()
    with part, pytest.raises(HaltedError):
        cache.bring("a", 20, lambda _: None, halt)


def test_a_file_of_the_wrong_length_is_not_given_out(tmp_path):
    cache = Cache(tmp_path / "c", 25)
    put(cache, "a", b"0123456789")
    os.truncate(cache.directory / "a", 5)
    assert cache.pin("a", 10) is None
    assert names(cache) == []


def test_old_files_are_forgotten_and_used_ones_are_not(tmp_path):
    cache = Cache(tmp_path / "c")
    for name in "abc":
        put(cache, name, b"x")
        os.utime(cache.directory / name, (0, 0))
    os.close(cache.pin("b"))
    with (cache.directory / "c").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        cache.forget(30)
    assert names(cache) == ["b", "c"]


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the cache .*file/c cannot be written to .*set WATERSCAPE_CACHE"):
        Cache(tmp_path / "file" / "c")


def test_the_limit_is_a_number_of_bytes_or_half_of_what_the_disk_has(tmp_path, monkeypatch):
    for text, value in {"1000": 1000, "2.5e9": 2_500_000_000, "200GB": 200 * 10**9, "1.5 t": 15 * 10**11}.items():
        monkeypatch.setenv("WATERSCAPE_CACHE_BYTES", text)
        assert module.limit(tmp_path) == value
    monkeypatch.setenv("WATERSCAPE_CACHE_BYTES", "plenty")
    with pytest.raises(UserError, match="'plenty'; give a number of bytes, such as 200e9 or 200GB"):
        module.limit(tmp_path)
    monkeypatch.delenv("WATERSCAPE_CACHE_BYTES")
    disk = os.statvfs(tmp_path)
    assert module.limit(tmp_path) == pytest.approx(disk.f_bavail * disk.f_frsize / 2, rel=0.05)
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "here"))
    assert module.place() == tmp_path / "here"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten_processes_race_for_every_file_and_each_is_fetched_once(tmp_path):
    cache = Cache(tmp_path / "c", 60)
    children = []
    for child in range(10):
        if not (process := os.fork()):
            status = 1
            try:
                for turn in range(40):
                    name = hashlib.sha256(b"%d" % ((turn + child) % 8)).hexdigest()

                    def fetch(file, name=name):
                        (tmp_path / f"{name}.{os.getpid()}.{time.monotonic_ns()}").touch()
                        file.write(name[:10].encode())

                    while (descriptor := cache.pin(name, 10)) is None:
                        cache.bring(name, 10, fetch, threading.Event(), patience=20)
                    assert os.read(descriptor, 20) == name[:10].encode()
                    assert cache.bytes() <= 60
                    os.close(descriptor)
                status = 0
            finally:
                os._exit(status)
        children.append(process)
    assert [os.waitpid(process, 0)[1] for process in children] == [0] * 10
    assert cache.bytes() <= 60
