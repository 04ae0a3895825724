"""A ledger's kept pairs → shards: what is packed, what each sample says of itself, and where everything else went."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tarfile
import tempfile

import fsspec
import pytest
from collected_pairs import OWNERS, collect, jpeg
from packed_photos import checked, dropped, hashes, pack, packed, refused, samples

from waterscape.data.manifest import Manifest
from waterscape.data.pack import lock
from waterscape.sources import making
from waterscape.sources.destination import There
from waterscape.sources.ledger import Ledger
from waterscape.sources.ledger_pairs import LedgerPairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_set import Sharing

REASONS = {
    "not fetched yet": 1,
    "could not be fetched": 1,
    "rejected: blur": 1,
    "rejected: hand": 1,
    "no satellite tile yet": 1,
    "its tile could not be fetched": 1,
}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    return collect(tmp_path_factory.mktemp("collected"))


def test_kept_pairs_with_what_is_known_of_them(collected, tmp_path):
    out = tmp_path / "pairs"
    told = packed("pairs", "--ledger", collected, "--out", out, "--dry-run")
    assert [*["would", "be", "packed,", "with", "tiles", "of", "yandex"], "18"] in map(str.split, told.splitlines())
    assert not out.exists()
    foreseen = {line[:56].strip(): int(line[56:]) for line in told.splitlines()}
    told = packed("pairs", "--ledger", collected, "--out", out)
    counts = {split: sum(counts.values()) for split, counts in Manifest.load(out).facts["kept"].items()}
    assert {f"would be packed, {split}": count for split, count in counts.items() if count}.items() <= foreseen.items()
    assert {f"photos dropped: {reason}": count for reason, count in REASONS.items()}.items() <= foreseen.items()
    assert "exists: choose another --out" in refused("pairs", "--ledger", collected, "--out", out, "--dry-run")
    packed("pairs", "--ledger", collected, "--out", out, "--dry-run", "--replace")
    assert not any(owner in told for owner in OWNERS), "owners are never shown"
    facts = Manifest.load(out).facts
    assert (facts["read"], facts["dropped"]) == (24, REASONS)
    assert facts["decisions"] == {"blur": {"keep": 22, "reject": 2}, "hand": {"keep": 1, "reject": 1}}
    assert facts["licences"] == {"© its author, by VK's terms": 18}
    assert facts["tiles"]["source"] == {"yandex": 18}
    assert (facts["tiles"]["pixels"], facts["tiles"]["metres_per_pixel"]) == ([48, 48], 2.5)
    found = {values["json"]["number"]: values for values in samples(out).values()}
    assert set(found) == {f"{45600 + number}" for number in range(24) if number not in (0, 1, 2, 3, 5, 6)}
    with Ledger(collected) as ledger:
        for photo in ledger.photos():
            if photo.number in found:
                number, values = int(photo.number) - 45600, found[photo.number]
                assert (values["photo.jpg"], values["satellite.jpg"]) == (jpeg(number), jpeg(1000 + number, 48))
                said = values["json"]
                assert (said["owner"], said["source"], said["photo"]) == (photo.owner, "vk", photo.key)
                assert (said["latitude"], said["longitude"]) == (photo.latitude, photo.longitude)
                assert (said["licence"], said["source_url"]) == (photo.licence, photo.url)
                assert (said["taken"], said["date"]) == (1.6e9, "2020-09-13T12:26:40Z")
                assert said["metres_per_pixel"] == [2.5, 2.5]
                assert said["satellite"]["licence"] == "Yandex's terms"
            else:
                assert dropped(out)[photo.key] in REASONS
    assert "whole" in checked(out)
    for path in out.iterdir():
        assert path.suffix == ".tar" or not any(owner.encode() in path.read_bytes() for owner in OWNERS)


def test_bytes_depend_on_neither_processes_nor_parts(collected, tmp_path):
    options = Joining(sharing=Sharing(samples_per_shard=4), split="tile")
    expected = []
    for processes in (1, 2):
        out = tmp_path / str(processes) / "pairs"
        making.pack(LedgerPairs.find(collected, out, None, options), out, processes=processes)
        expected.append(hashes(out))
    out = tmp_path / "3" / "pairs"
    for part in (2, 1):
        making.pack_part(LedgerPairs.find(collected, out, None, options), out, part=part, parts=2)
    making.join(LedgerPairs.find(collected, out, None, options), out)
    assert hashes(out) == expected[0] == expected[1]


def test_files_that_are_not_what_was_fetched_are_named(tmp_path):
    path = collect(tmp_path / "here")
    with Ledger(path) as ledger:
        photos = {int(photo.number) - 45600: photo for photo in ledger.photos()}
        files = {number: ledger.path_of(photo.file) for number, photo in photos.items()}
        tiles = {tile.photo: ledger.path_of(tile.file) for tile in ledger.tiles()}
    files[8].write_bytes(jpeg(99))
    files[9].unlink()
    files[10].write_bytes(files[10].read_bytes()[:300])
    tiles[photos[11].key].write_bytes(b"<html>")
    packed("pairs", "--ledger", path, "--out", tmp_path / "out")
    reasons = dropped(tmp_path / "out")
    assert reasons[photos[8].key] == "not the file that was fetched"
    assert reasons[photos[9].key] == "cannot be opened"
    assert reasons[photos[10].key] == "damaged or cut short"
    assert reasons[photos[11].key] == "tile: no picture by its content"
    assert Manifest.load(tmp_path / "out").facts["read"] == 24


def test_which_tiles_must_be_said_where_there_are_several(tmp_path):
    path = collect(tmp_path / "here", photos=10, sources=("yandex", "mosaic:S2"))
    line = refused("pairs", "--ledger", path, "--out", tmp_path / "out")
    assert "has tiles of mosaic:S2 (9), yandex (9): say which to take, as in --tiles mosaic:S2" in line
    packed("pairs", "--ledger", path, "--out", tmp_path / "out", "--tiles", "mosaic:S2")
    assert {values["json"]["satellite"]["source"] for values in samples(tmp_path / "out").values()} == {"mosaic:S2"}
    for words, told in (
        (["--tiles", "nowhere"], "no satellite tile yet"),
        (["--photos", tmp_path], "--ledger knows where photos and tiles lie"),
        (["--zoom", 15], "--zoom is for folders"),
        (["--submit", 2, "--part", "1/2"], "--part and --submit exclude each other"),
    ):
        assert told in refused("pairs", "--ledger", path, "--out", tmp_path / "b", *words)
    assert "say what to pack" in refused("pairs", "--out", tmp_path / "b")
    assert "there is no ledger" in refused("pairs", "--ledger", tmp_path / "none.db", "--out", tmp_path / "b")


def test_a_set_goes_to_any_url_of_fsspec_its_manifest_last(collected, tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    sent = []
    put = There._put
    monkeypatch.setattr(There, "_put", lambda self, path, name: (put(self, path, name), sent.append(name)))
    url = f"memory://{tmp_path.name}/pairs"
    words = ["--ledger", collected, "--out", url]
    packed("pairs", *words)
    packed("pairs", "--ledger", collected, "--out", tmp_path / "pairs")
    assert sent[-1] == "manifest.json"
    assert len(sent) == len(set(sent))
    local = {path.name: path for path in (tmp_path / "pairs").iterdir()}
    assert set(sent) == set(local)
    for name in sent:
        if name not in ("manifest.json",):  # which says where the ledger lies
            assert memory.cat_file(f"{url}/{name}") == local[name].read_bytes()
    assert Manifest.load(url).shards == Manifest.load(tmp_path / "pairs").shards
    assert "exists: choose another --out" in refused("pairs", *words)
    strangers = {"backup.tar", "pairs-2-train-000000.tar", "pairs-train-extra.index.npy", "cities.tar"}
    left = {"pairs-train-000099.tar", "pairs-test-000099.index.npy"}  # of a packing that was cut off
    stale = f"next-{hashlib.sha256(b'of old').hexdigest()}-dropped.tsv"
    for name in (*strangers, *left):
        memory.pipe_file(f"{url}/{name}", b"something")
    memory.pipe_file(f"{url}/{stale}", b"of old")
    packed("pairs", *words, "--samples-per-shard", 3, "--replace")
    before = {f"{shard.name}.tar" for shard in Manifest.load(url).shards}
    told = pack("pairs", *words, "--replace")[2]
    names = {name.rpartition("/")[2] for name in memory.ls(url, detail=False)}
    stand = {f"{shard.name}.{ending}" for shard in Manifest.load(url).shards for ending in ("tar", "index.npy")}
    assert before - stand, "else nothing had to go"
    assert {name for name in names if name.endswith((".tar", ".npy"))} == stand | strangers
    assert stale not in names
    assert all(f"/{name} is none of this set's files, and stays" in told for name in strangers)
    assert "name a folder that all machines share, --scratch" in refused("pairs", *words, "--part", "1/2")
    code, _, error = pack("pairs", "--ledger", collected, "--out", f"file://{tmp_path}/by-url/pairs")
    assert code == 0, error
    assert Manifest.load(tmp_path / "by-url" / "pairs")


def test_what_a_killed_packing_has_left_goes_with_the_next_one(collected, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    words = ["--ledger", collected, "--out", f"memory://{tmp_path.name}/pairs"]
    child = os.fork()
    if not child:
        try:
            There.send = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            pack("pairs", *words)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.rglob("*.tar")), "else there is nothing to show"
    packed("pairs", *words, "--dry-run")
    assert folder.is_dir(), "a dry run removes nothing"
    held = lock(folder, os.O_RDONLY, "busy")
    assert "by another process of yours" in refused("pairs", *words)
    os.close(held)
    packed("pairs", *words)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_parts_behind_a_url_and_a_transfer_that_was_cut_off(collected, tmp_path, monkeypatch):
    url = f"memory://{tmp_path.name}/parts/pairs"
    words = ["--ledger", collected, "--out", url, "--scratch", tmp_path / "shared"]
    for part in (1, 2):
        packed("pairs", *words, "--part", f"{part}/2")
    put, count = There._put, 0

    def cut(self, path, name):
        nonlocal count
        count += 1
        if count == 3:
            raise ConnectionError("the line was cut")
        put(self, path, name)

    monkeypatch.setattr(There, "_put", cut)
    assert "sending failed (the line was cut); the same command again" in refused("pairs", *words, "--join")
    assert not fsspec.filesystem("memory").exists(f"{url}/manifest.json"), "half a set is none"
    monkeypatch.setattr(There, "_put", put)
    whole = sorted((tmp_path / "shared").rglob("*"))
    assert "would be sent to memory://" in packed("pairs", *words, "--join", "--dry-run")
    packed("pairs", *words, "--replace", "--dry-run")
    assert sorted((tmp_path / "shared").rglob("*")) == whole, "a dry run removes nothing"
    assert not fsspec.filesystem("memory").exists(f"{url}/manifest.json"), "and sends nothing"
    packed("pairs", *words, "--join")
    assert len(Manifest.load(url).shards) == 3
    assert list((tmp_path / "shared").iterdir()) == []


def test_a_sample_is_a_plain_webdataset_one(collected, tmp_path):
    packed("pairs", "--ledger", collected, "--out", tmp_path / "out")
    shard = Manifest.load(tmp_path / "out").shards[0]
    with tarfile.open(tmp_path / "out" / f"{shard.name}.tar") as tar:
        names = [member.name.partition(".")[2] for member in tar]
        assert names[:3] == ["json", "photo.jpg", "satellite.jpg"]
        said = json.loads(tar.extractfile(tar.getmembers()[0]).read())
        photo = tar.extractfile(tar.getmembers()[1]).read()
    with Ledger(collected) as ledger:
        assert hashlib.sha256(photo).hexdigest() == ledger.photo(said["photo"]).sha256
