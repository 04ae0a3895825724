"""A file's bytes and sha256 are those of what was appended, whatever the pieces; a full disk is told."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest

from waterscape.data import hashed_file
from waterscape.data.hashed_file import BUFFER, HashedFile
from waterscape.durable import start_sync

CONTENT = np.random.default_rng(0).integers(0, 256, 5 * BUFFER + 77, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("piece", [1000, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 5, len(CONTENT)])
def test_bytes_and_sum_are_those_appended_and_the_disk_is_set_to_work(tmp_path, piece, monkeypatch):
    started = []

    def start(descriptor):
        started.append((tmp_path / "x").stat().st_size)
        start_sync(descriptor)

    monkeypatch.setattr(hashed_file, "AT_ONCE", 2 * BUFFER)
    monkeypatch.setattr(hashed_file, "start_sync", start)
    file = HashedFile(tmp_path / "x")
    for start in range(0, len(CONTENT), piece):
        mine = bytearray(CONTENT[start : start + piece])
        file.append(memoryview(mine))
        mine[:] = bytes(len(mine))  # the caller may use its memory again
    assert file.finish() == hashlib.sha256(CONTENT).hexdigest()
    assert file.bytes == len(CONTENT)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(started) == 2
    assert all(size >= given for size, given in zip(started, (2 * BUFFER, 4 * BUFFER), strict=True))


def test_an_empty_file(tmp_path):
    assert HashedFile(tmp_path / "x").finish() == hashlib.sha256().hexdigest()
    assert (tmp_path / "x").read_bytes() == b""


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "x").write_bytes(b"dear")
    with pytest.raises(FileExistsError):
        HashedFile(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"dear"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("size", [10, len(CONTENT)])
def test_a_full_disk_is_an_error_and_leaves_no_thread(size):
    before = set(threading.enumerate())

    class Full(type(Path())):
        def open(self, mode, **options):
            return Path("/dev/full").open(mode.replace("x", "w"), **options)

    file = HashedFile(Full("/dev/full"))
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012 (told at once, or at the end)
        file.append(CONTENT[:size])
        file.finish()
    file.close()
    assert not set(threading.enumerate()) - before
