"""Somebody is forgotten, and the process is killed or the line is cut: the same command again ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

import fsspec
import pytest
from collected_traces import WHO, content, traces
from packed_photos import checked

from waterscape.__main__ import dispatch
from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.data.without import settle
from waterscape.errors import UserError
from waterscape.sources.destination import There
from waterscape.sources.forgetting import Person, forget
from waterscape.sources.ledger import Ledger

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree", "sqlite3.connect")


def watched(method, count):
    def whole(self, *arguments):
        count("os.rename", ())
        method(self, *arguments)
        count("os.rename", ())

    return whole


def killed_at(change, who, out):
    """Forget in a process that kills itself right before its n-th change of a file; whether it came that far."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = change

    def count(event, arguments):
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writes:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        for name in ("bury", "remove_photos_of"):  # SQLite's own writing is not seen from here
            setattr(Ledger, name, watched(getattr(Ledger, name), count))
        sys.addaudithook(count)
        forget(Person("vk", who), [out], None)
    finally:
        os._exit(0)


@pytest.mark.parametrize("stride", [17, pytest.param(5, marks=pytest.mark.long)])
def test_killed_at_any_step_the_same_command_again_ends_in_the_same_state(here, made, tmp_path, monkeypatch, stride):
    def state(root):
        entries = {path.relative_to(root).as_posix() for path in root.rglob("*")}
        return entries, (root / "shards/pairs/manifest.json").read_bytes()

    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "no-cache"))
    forget(Person("vk", WHO), [here / "shards" / "pairs"], None)
    expected, change = state(here), 1
    while True:
        root = shutil.copytree(made, tmp_path / "trial" / "here", copy_function=os.link)
        for database in root.glob("*.db"):
            database.unlink()
            shutil.copy(made / database.name, database)
        killed = killed_at(change, WHO, root / "shards" / "pairs")
        done = forget(Person("vk", WHO), [root / "shards" / "pairs"], None)
        assert state(root) == expected, f"killed before change {change}"
        assert traces(root, made) == set(), f"killed before change {change}"
        seen = Manifest.load(made / "shards" / "pairs").sha256
        assert done.manifests[root / "shards" / "pairs"] == [seen], f"killed before change {change}: which runs?"
        shutil.rmtree(tmp_path / "trial")
        if not killed:
            break
        change += stride
    assert change > 30


def test_they_leave_a_set_behind_a_url_too_whatever_cuts_the_line(here, made, tmp_path, monkeypatch, capsys):
    """Until all has arrived the old set stands there whole; then the new one does, and nothing else."""
    memory, url = fsspec.filesystem("memory"), f"memory://{tmp_path.name}/sets/pairs"
    out, afar = here / "shards" / "pairs", tmp_path / "afar"
    for path in out.iterdir():
        memory.put_file(str(path), f"{url}/{path.name}")
    (here / "runs" / "earlier" / "run.json").write_text(json.dumps({"manifest_sha256": "1", "run": {"data": url}}))
    words = ["shards", "forget", url, "--owner", WHO, "--runs", str(here / "runs")]
    with pytest.raises(UserError, match=r"was made of a ledger: name it, --ledger"):
        dispatch(words)
    words += ["--ledger", str(here / "photos.db")]
    assert dispatch([*words, "--dry-run"]) == 0
    assert f"{url}: 4 samples of" in capsys.readouterr().out
    assert Manifest.load(url).sha256 == Manifest.load(out).sha256
    put, sent = There._put, []

    def cut(self, path, name):
        sent.append(name)
        if len(sent) == cut.at:
            raise ConnectionError("the line was cut")
        put(self, path, name)

    monkeypatch.setattr(There, "_put", cut)
    before = content(out)
    for cut.at in (1, 3, 5):
        sent.clear()
        with pytest.raises(UserError, match=r"sending failed \(the line was cut\); the same command again"):
            dispatch(words)
        memory.get(url, str(afar), recursive=True)
        assert Manifest.load(afar).sha256 == Manifest.load(out).sha256
        assert content(afar) == before
        shutil.rmtree(afar)
    cut.at = 0
    sent.clear()
    capsys.readouterr()
    assert dispatch(words) == 0
    told = capsys.readouterr().out
    assert sent[-1] == "manifest.json"
    assert f"{url}: 4 samples of" in told
    for run, how in (("seen", "was trained on them"), ("earlier", "was trained on an earlier state of the set")):
        assert f"{here}/runs/{run}: {how}" in told
    memory.get(url, str(afar), recursive=True)
    assert traces(afar, made) == set()
    assert content(afar) == {place: values for place, values in before.items() if values["json"]["owner"] != WHO}
    assert "whole" in checked(afar)
    named = {f"{shard.name}.tar" for shard in Manifest.load(afar).shards}
    assert named == {path.name for path in afar.glob("*.tar")}
    stay = {shard.name: shard.sha256 for shard in Manifest.load(out).shards}
    assert all(stay.get(shard.name, shard.sha256) == shard.sha256 for shard in Manifest.load(afar).shards)
    assert len(ShardSet(url, "train")) == len(ShardSet(afar, "train")), "read from afar"
    assert not traces(here / "photos", made)
    sent.clear()
    memory.pipe_file(f"{url}/pairs-train-999999.tar", b"what a killed call left")
    assert dispatch(words) == 0
    assert sent == []
    assert not memory.exists(f"{url}/pairs-train-999999.tar")
    with pytest.raises(UserError, match="can only be read by this address"):
        dispatch(["shards", "forget", "http://127.0.0.1:1/pairs", "--owner", WHO])


def test_a_half_done_swap_is_ended_and_a_mistake_is_told(here, tmp_path):
    out = here / "shards" / "pairs"
    out.rename(out.with_name(".pairs.without"))
    settle(out)
    assert Manifest.load(out)
    for words, told in (
        ([out, "--owner", ""], "say whose photos"),
        (["--owner", "7"], "say where their photos are"),
        ([tmp_path / "none", "--owner", "7"], "none"),
        ([out, "--owner", "7", "--ledger", tmp_path / "other.db"], "other.db"),
    ):
        with pytest.raises((UserError, OSError), match=told):
            dispatch(["shards", "forget", *map(str, words)])
    with Ledger(tmp_path / "other.db", create=True), pytest.raises(UserError, match="is not the ledger"):
        forget(Person("vk", "7"), [out], tmp_path / "other.db")
    (here / "photos.db").rename(here / "moved.db")
    with pytest.raises(UserError, match=r"is not at .*photos.db: name it"):
        forget(Person("vk", "7"), [out], None)
    assert forget(Person("vk", WHO), [out], here / "moved.db").photos
