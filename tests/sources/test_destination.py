"""Where sets behind URLs go: one takes another one's place, whatever is cut, and the folders it is made in."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile

import numpy as np
import pytest
from cut_line import MEMORY, Line

from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter, lock
from waterscape.errors import UserError
from waterscape.sources import own_folder as module
from waterscape.sources.destination import There
from waterscape.sources.own_folder import own_folder

URL = "memory://bucket/pairs"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def written(directory, samples):
    with SetWriter(directory, facts={}, samples_per_shard=1) as writer:
        for number in range(samples):
            writer.add("train", {"x.npy": np.full(3, number)})
    return directory


@pytest.mark.parametrize("tears", [False, True], ids=["files are whole", "files are torn"])
def test_a_set_of_another_name_leaves_nothing_wherever_replacing_it_was_cut(tmp_path, monkeypatch, tears):
    before, after = written(tmp_path / "summer", 2), written(tmp_path / "pairs", 1)
    url = f"memory://{tmp_path.name}/pairs"
    line = Line(monkeypatch, tears=tears)

    def begin():
        line.at = 0
        if MEMORY.exists(url):
            MEMORY.rm(url, recursive=True)
        There(url, replace=False).send(before)
        line.changes = []

    begin()
    There(url, replace=True).send(after)
    expected = {path.name for path in after.iterdir()}
    assert {name.rpartition("/")[2] for name in MEMORY.ls(url, detail=False)} == expected
    for cut in range(1, len(line.changes) + 1):
        begin()
        line.at = cut
        with pytest.raises(UserError, match="the same command again"):
            There(url, replace=True).send(after)
        line.at = 0
        There(url, replace=True).send(after)
        left = {name.rpartition("/")[2] for name in MEMORY.ls(url, detail=False)}
        assert left == expected, f"cut at {line.changes[cut - 1]}"
        assert Manifest.load(url).shards == Manifest.load(after).shards


def test_a_second_call_leaves_the_first_ones_folder_alone(temporary):
    with own_folder(URL, "pack") as folder:
        (folder / "file").write_text("on its way")
        with pytest.raises(UserError, match="being changed by another process"), own_folder(URL, "pack"):
            pass
        assert (folder / "file").read_text() == "on its way"
    assert list(temporary.iterdir()) == []


def test_what_is_there_goes_under_the_lock(temporary, monkeypatch):
    removed, rmtree = [], shutil.rmtree
    with own_folder(URL, "pack") as folder:
        pass
    folder.mkdir(mode=0o700)
    (folder / "left").mkdir()

    def remove(path, **options):
        with pytest.raises(UserError):
            lock(folder, os.O_RDONLY, "busy")
        removed.append(path)
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", remove)
    with own_folder(URL, "pack") as again:
        assert again == folder
        assert list(folder.iterdir()) == []
    assert removed == [folder / "left", folder]
    assert list(temporary.iterdir()) == []


def test_a_folder_that_another_call_has_made_anew_in_between_is_its_own(temporary, monkeypatch):
    def late(path, *arguments):
        descriptor = lock(path, *arguments)
        path.rmdir()
        (path / "theirs").mkdir(parents=True)
        return descriptor

    monkeypatch.setattr(module, "lock", late)
    with pytest.raises(UserError, match="being changed by another process"), own_folder(URL, "pack"):
        pass
    (folder,) = temporary.iterdir()
    assert (folder / "theirs").is_dir()


def test_where_nothing_can_be_locked_each_call_has_a_folder_of_its_own(temporary, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    with own_folder(URL, "pack") as one, own_folder(URL, "pack") as other:
        assert one != other
        assert one.is_dir()
        assert other.stat().st_mode & 0o077 == 0
    assert not one.exists()
    assert not other.exists()
    assert all(not any(folder.iterdir()) for folder in temporary.iterdir())


@pytest.mark.usefixtures("temporary")
def test_a_folder_that_is_open_to_others_is_refused():
    with own_folder(URL, "pack") as folder:
        pass
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(UserError, match="open to other users"), own_folder(URL, "pack"):
        pass
