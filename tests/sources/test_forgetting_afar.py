"""Somebody leaves a set behind a URL: wherever the line is cut, the same call again ends as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile

import numpy as np
import pytest
from collected_pairs import OWNERS, collect, keys_of
from cut_line import MEMORY, Line

from waterscape.__main__ import dispatch
from waterscape.data.cache import Cache
from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.store import tar_name
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.destination import There
from waterscape.sources.ledger_pairs import LedgerPairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_set import Sharing

OPTIONS = Joining(sharing=Sharing(samples_per_shard=2))
UNUSED, USED = OWNERS[1], OWNERS[3]  # of the first one's photos none was packed; of the other's one was, one was not

BESIDE = ("contact.png", "dropped.tsv", "manifest.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A ledger of eight photos and their set, beside whose shards lie a list and a picture of everybody."""
    root = tmp_path_factory.mktemp("collected") / "here"
    path = collect(root, photos=8)
    making.pack(LedgerPairs.find(path, root / "pairs", None, OPTIONS), root / "pairs")
    (root / "pairs" / "quarantine.json").write_text(json.dumps({"quarantined": keys_of(path, USED)}))
    (root / "pairs" / "map.png").write_bytes((root / "pairs" / "contact.png").read_bytes())
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of it, and of its set behind a URL; the copies that are made of that lie in `tmp_path/temporary`."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    return begun(made, tmp_path)


def begun(made, tmp_path):
    root = tmp_path / "here"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    put(root / "pairs", url_of(tmp_path))
    return root


def url_of(tmp_path):
    return f"memory://{tmp_path.name}/pairs"


def put(directory, url):
    if MEMORY.exists(url):
        MEMORY.rm(url, recursive=True)
    for path in directory.iterdir():
        MEMORY.put_file(str(path), f"{url}/{path.name}")


def afar(url):
    return {name.rpartition("/")[2]: MEMORY.cat_file(name) for name in MEMORY.ls(url, detail=False)}


def forget(root, url, owner, *more):
    words = ["shards", "forget", url, "--owner", owner, "--ledger", str(root / "photos.db"), *map(str, more)]
    return dispatch([*words, "--runs", str(root / "runs")])


@pytest.mark.parametrize("tears", [False, True], ids=["files are whole", "files are torn"])
@pytest.mark.parametrize("who", [UNUSED, USED], ids=["of whom nothing was packed", "who is in a shard"])
def test_cut_at_any_file_that_is_sent_or_removed(here, made, tmp_path, monkeypatch, capsys, who, tears):
    url, keys = url_of(tmp_path), [key.encode() for key in keys_of(made / "photos.db", who)]
    assert any(key in content for key in keys for content in afar(url).values())
    line = Line(monkeypatch, tears=tears)
    assert forget(here, url, who) == 0
    expected, last = afar(url), len(line.changes)
    assert [name for _, name in line.changes].count("manifest.json") == 1
    assert last > 3
    for cut in range(1, last + 1):
        line.at = 0
        root = begun(made, tmp_path)
        line.at, line.changes = cut, []
        with pytest.raises(UserError, match="the same command again"):
            forget(root, url, who)
        line.at = 0
        assert forget(root, url, who) == 0
        assert afar(url) == expected, f"cut at {line.changes[cut - 1]}"
    assert not any(key in content for key in keys for content in expected.values())
    assert not {"quarantine.json", "map.png"} & set(expected) if who == USED else "quarantine.json" in expected
    assert who not in capsys.readouterr().out
    facts = Manifest.load(url).facts
    listed = expected["dropped.tsv"].decode().splitlines()[1:]
    assert sum(facts["dropped"].values()) == len(listed)
    assert facts["read"] == len(listed) + sum(shard.samples for shard in Manifest.load(url).shards)


def state(url):
    """What is left, whoever left first: the list of who left, and the shards' names that follow from it, may differ.

    So may the counts of decisions: where somebody had left the list alone, and another one's call brought the manifest
    in line with it, decisions on the first one's photos remain counted.
    """
    manifest, files = Manifest.load(url), afar(url)
    facts = {name: fact for name, fact in manifest.facts.items() if name not in ("forgotten", "decisions")}
    tars = sorted((shard.split, shard.sha256, shard.index_sha256) for shard in manifest.shards)
    return (
        facts,
        tars,
        {n: files[n] for n in files if not n.endswith((".tar", ".npy")) and n != "manifest.json"},
        len(files),
    )


@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.long)], ids=["files that take another's place", "any file"]
)
def test_torn_while_one_leaves_and_again_while_the_next_one_does(here, made, tmp_path, monkeypatch, every):
    url = url_of(tmp_path)
    line = Line(monkeypatch, tears=True)
    assert forget(here, url, UNUSED) == 0
    torn = [n for n, (how, name) in enumerate(line.changes, 1) if every or (how == "put_file" and name in BESIDE)]
    assert len(torn) >= len(BESIDE)
    assert forget(here, url, USED) == 0
    expected = state(url)
    for first in torn:
        second, ended = 0, False
        while not ended:
            line.at = 0
            root = begun(made, tmp_path)
            line.at, line.changes = first, []
            with pytest.raises(UserError, match="the same command again"):
                forget(root, url, UNUSED)
            second += 1
            line.at, line.changes = second, []
            try:
                ended = forget(root, url, USED) == 0
            except UserError:
                assert len(line.changes) == second, f"cut at {first}, then refused at {second}"
            line.at = 0
            for who in (USED, UNUSED):
                assert forget(root, url, who) == 0
            assert state(url) == expected, f"cut at {first}, then at {second}"
        assert second > 3


def test_a_torn_list_without_a_copy_is_told(here, tmp_path):
    url = url_of(tmp_path)
    whole = MEMORY.cat_file(f"{url}/dropped.tsv")
    MEMORY.pipe_file(f"{url}/dropped.tsv", whole[: whole.rindex(b"\n", 0, -1) + 4])
    with pytest.raises(UserError, match=r"dropped\.tsv is damaged"):
        forget(here, url, USED)


def test_a_name_that_is_none_is_refused(here, tmp_path):
    url = url_of(tmp_path)
    MEMORY.pipe_file(f"{url}/no name", b"something")
    with pytest.raises(UserError, match="rename it there"):
        forget(here, url, USED)


def test_all_leave_one_after_the_other(here, tmp_path):
    url = url_of(tmp_path)
    for who in OWNERS:
        assert forget(here, url, who) == 0
    assert Manifest.load(url).shards == Manifest.load(url).columns == ()
    assert set(afar(url)) == {"manifest.json", "dropped.tsv"}
    assert Manifest.load(url).facts["read"] == 0
    assert forget(here, url, OWNERS[0]) == 0


def test_a_column_that_was_theirs_alone_leaves_with_them(here, tmp_path):
    url = f"memory://{tmp_path.name}/notes"
    with SetWriter(tmp_path / "notes", facts={}, samples_per_shard=1) as writer:
        writer.add("train", {"json": {"owner": "66"}, "photo.npy": np.zeros(3)})
        writer.add("train", {"json": {"owner": "55"}, "sound.npy": np.zeros(3)})
    put(tmp_path / "notes", url)
    assert forget(here, url, "55") == 0
    assert [column.name for column in Manifest.load(url).columns] == ["json", "photo.npy"]
    assert forget(here, url, "66") == 0
    assert Manifest.load(url).shards == ()


def test_strangers_files_stay(here, tmp_path, capsys):
    url = url_of(tmp_path)
    for name in ("another-set-000000.tar", "backup.tar", "pairs-train-000099-without-1.index.npy"):
        MEMORY.pipe_file(f"{url}/{name}", b"something")
    before = {f"{shard.name}.tar" for shard in Manifest.load(url).shards}
    assert forget(here, url, USED) == 0
    after, told = {name for name in afar(url) if name.endswith((".tar", ".npy"))}, capsys.readouterr().err
    files = {f"{shard.name}.{ending}" for shard in Manifest.load(url).shards for ending in ("tar", "index.npy")}
    assert after == {*files, "another-set-000000.tar", "backup.tar"}
    removed = (before - files) | {"pairs-train-000099-without-1.index.npy"}
    assert all(f"/{name} removed" in told for name in removed)
    assert "/backup.tar is none of this set's files, and stays" in told


def test_killed_while_sending_the_copy_goes_with_the_next_call(here, tmp_path, monkeypatch):
    url, left = url_of(tmp_path), tmp_path / "temporary"
    child = os.fork()
    if not child:
        try:
            monkeypatch.setattr(There, "exchange", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            forget(here, url, USED)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    (folder,) = left.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.rglob("*.tar")), "else there is nothing to show"
    assert forget(here, url, USED) == 0
    assert list(left.iterdir()) == []


def test_what_a_run_caches_until_the_manifest_changes_goes_too(here, tmp_path, monkeypatch):
    url, tars = url_of(tmp_path), tmp_path / "cache" / "tars"
    before = {tar_name(shard) for shard in Manifest.load(url).shards}
    exchange = There.exchange

    def meanwhile(self, *arguments):
        Cache(tars)
        for name in (*before, "another.tar"):
            (tars / name).write_bytes(b"all of it")
        exchange(self, *arguments)

    monkeypatch.setattr(There, "exchange", meanwhile)
    assert forget(here, url, USED) == 0
    stay = before & {tar_name(shard) for shard in Manifest.load(url).shards}
    assert before - stay
    assert {path.name for path in tars.glob("*.tar")} == {*stay, "another.tar"}


@pytest.mark.parametrize("spelt", ["{}", "{}/", "{}?…"], ids=["as it is", "with a stroke", "with a query"])
def test_runs_on_an_earlier_state_are_known_however_the_url_is_spelt(here, tmp_path, capsys, spelt):
    url = url_of(tmp_path)
    stands = {"earlier": "1" * 64, "now": Manifest.load(url).sha256}
    for name, sha256 in stands.items():
        (here / "runs" / name).mkdir(parents=True)
        facts = {"manifest_sha256": sha256, "run": {"data": spelt.format(url)}}
        (here / "runs" / name / "run.json").write_text(json.dumps(facts))
    assert forget(here, f"{url}/", USED) == 0
    told = capsys.readouterr().out
    assert f"{here}/runs/earlier: was trained on an earlier state of the set" in told
    assert f"{here}/runs/now: was trained on them" in told
    assert "where the store keeps old versions or what was deleted, remove them there" in told
