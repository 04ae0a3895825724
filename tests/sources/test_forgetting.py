"""Somebody is forgotten: nothing of theirs is left in any file, whatever happens on the way; the others keep theirs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys

import fsspec
import numpy as np
import pytest
from collected_pairs import OWNERS, collect, keys_of
from packed_photos import checked, samples
from PIL import Image
from programs import run_tool, write_tiles

from waterscape.__main__ import dispatch
from waterscape.data.cache import Cache
from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.data.store import tar_name
from waterscape.data.without import settle
from waterscape.errors import UserError
from waterscape.sheet import save_png
from waterscape.sources import making
from waterscape.sources.destination import There
from waterscape.sources.forgetting import Person, forget
from waterscape.sources.ledger import Ledger, Photo
from waterscape.sources.ledger_pairs import LedgerPairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_set import Sharing

WHO = OWNERS[2]  # of the first eight photos, one was rejected and one has no sound tile
OPTIONS = Joining(sharing=Sharing(samples_per_shard=4))


def pack(path, out, **options):
    return making.pack(LedgerPairs.find(path, out, None, OPTIONS), out, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A ledger and its set, with what other tools leave beside them; a run trained on the set, and one on another."""
    root = tmp_path_factory.mktemp("collected") / "here"
    path = collect(root)
    out = root / "shards" / "pairs"
    pack(path, out)
    theirs = keys_of(path, WHO)
    (root / "photos.sheet.png").write_bytes((out / "contact.png").read_bytes())
    (root / "photos" / "thumbnails").mkdir()
    for key in theirs:
        (root / "photos" / "thumbnails" / f"{key}-256.jpg").write_bytes(b"small")
    (root / "photos.filtered").mkdir()
    for name, shown in (("blur", theirs[0]), ("season", keys_of(path, OWNERS[1])[0])):
        save_png(Image.new("RGB", (9, 9)), root / "photos.filtered" / f"{name}.png", photos=f"vk-0 {shown}")
    (out / "quarantine.json").write_text(json.dumps({"quarantined": theirs}))
    (out / "notes.txt").write_text("a note about nobody\n")
    (out / "map.png").write_bytes((out / "contact.png").read_bytes())
    parts = root / "shards" / "pairs.parts"
    making.pack_part(LedgerPairs.find(path, out, None, OPTIONS), out, part=1, parts=2, replace=True)
    assert parts.is_dir()
    with Ledger(path) as ledger, ledger.part(root / "photos.db.part-0001-of-0002.db") as part:
        part.add(ledger.photos())
    for name, sha256 in (("seen", Manifest.load(out).sha256), ("other", "0" * 64), ("earlier", "")):
        (root / "runs" / name).mkdir(parents=True)
        facts = {"manifest_sha256": sha256, "run": {"data": "elsewhere"}}
        (root / "runs" / name / "run.json").write_text(json.dumps(facts))
    return root


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy, whose shards lie in this node's cache too."""
    root = shutil.copytree(made, tmp_path / "here")
    facts = {"manifest_sha256": "1" * 64, "run": {"data": str(root / "shards" / "pairs")}}
    (root / "runs" / "earlier" / "run.json").write_text(json.dumps(facts))
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    for shard in Manifest.load(root / "shards" / "pairs").shards:
        for folder, name, ending in (("tars", tar_name(shard), "tar"), ("indexes", f"{shard.index_sha256}.npy", "")):
            Cache(tmp_path / "cache" / folder)
            source = root / "shards" / "pairs" / f"{shard.name}.{ending or 'index.npy'}"
            shutil.copy(source, tmp_path / "cache" / folder / name)
    return root


def traces(root, made, who=WHO):
    """Every file below `root` that holds the owner's number, a photo's name or a piece of a photo of theirs."""
    keys = keys_of(made / "photos.db", who)
    pictures = [path.read_bytes() for key in keys for path in sorted(made.rglob(f"{key}.jpg"))]
    pieces = [who.encode(), *(key.encode() for key in keys), *(content[-96:-32] for content in pictures)]
    searched = re.compile(b"|".join(map(re.escape, pieces)))
    words = {path: bytes(path.relative_to(root)) for path in root.rglob("*")}
    words |= {path: words[path] + path.read_bytes() for path in words if path.is_file()}
    return {path.relative_to(root).as_posix() for path in words if searched.search(words[path])}


def content(out):
    """What training reads of a set, split by split, in order; without the manifest's own sums."""
    return {(split, key): values for (split, key), values in sorted(samples(out).items())}


def test_no_file_holds_anything_of_theirs_and_the_others_keep_theirs(here, made, capsys):
    out, before = here / "shards" / "pairs", content(made / "shards" / "pairs")
    cache = here.parent / "cache"
    assert len(traces(here, made)) > 20, "else there is nothing to show"
    assert traces(cache, made)
    words = ["shards", "forget", str(out), "--owner", WHO, "--runs", str(here / "runs")]
    assert dispatch([*words, "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert traces(here, made) == traces(made, made), "a dry run changes nothing"
    assert dispatch(words) == 0
    told = capsys.readouterr().out
    assert traces(here, made) == traces(cache, made) == set()
    assert WHO not in told + dry
    assert "4 samples of" in told
    assert told.replace("removed", "would be removed").splitlines()[:4] == dry.splitlines()[:4]
    assert f"{here}/runs/seen: was trained on them" in told
    assert f"{here}/runs/earlier: was trained on an earlier state of the set, perhaps on them" in told
    assert "/runs/other" not in told

    after = content(out)
    assert after == {place: values for place, values in before.items() if values["json"]["owner"] != WHO}
    assert "whole" in checked(out)
    assert (out / "notes.txt").is_file()
    assert [path.name for path in (here / "photos.filtered").iterdir()] == ["season.png"]
    assert not {"quarantine.json", "map.png"} & {path.name for path in out.iterdir()}
    with Image.open(out / "contact.png") as sheet:
        assert sheet.width > 600
    for split in ("train", "valid"):
        assert len(ShardSet(out, split)) == sum(place[0] == split for place in after)
    untouched = {
        shard.sha256
        for shard in Manifest.load(made / "shards" / "pairs").shards
        if all(values["json"]["owner"] != WHO for values in _of_shard(before, made / "shards" / "pairs", shard))
    }
    assert untouched <= {shard.sha256 for shard in Manifest.load(out).shards}


def _of_shard(everything, out, shard):
    keys = np.load(out / f"{shard.name}.index.npy")["key"]
    return [everything[shard.split, key.decode()] for key in keys]


def test_what_the_manifest_counts_is_what_a_new_packing_counts(here, made):
    """But for the split, which a new packing shares out anew."""
    out = here / "shards" / "pairs"
    forget(Person("vk", WHO), [out], None)
    pack(here / "photos.db", here / "anew")
    left, anew = (Manifest.load(directory).facts for directory in (out, here / "anew"))
    assert [entry["manifest_sha256"] for entry in left["forgotten"]] == [
        Manifest.load(made / "shards" / "pairs").sha256
    ]
    for name in anew:
        if name not in ("kept", "ledger"):
            assert left[name] == anew[name], name
    assert sum(sum(counts.values()) for counts in left["kept"].values()) == len(samples(out)) == 14
    shards = Manifest.load(out).shards
    for split, counts in left["kept"].items():
        assert sum(counts.values()) == sum(shard.samples for shard in shards if shard.split == split)
    assert left["read"] == 14 + sum(left["dropped"].values())
    listed = (out / "dropped.tsv").read_text().splitlines()[1:]
    assert len(listed) == sum(left["dropped"].values())


def test_they_do_not_come_back(here):
    out = here / "shards" / "pairs"
    with Ledger(here / "photos.db") as ledger:
        known = ledger.photos_of("vk", WHO)
    forget(Person("vk", WHO), [out], None)
    with Ledger(here / "photos.db") as ledger, ledger.part(here / "another.db") as part:
        again = Photo(ledger.key_of("vk", WHO, "999"), "vk", WHO, "999", 55.0, 37.0)
        assert ledger.add([*known, again]) == part.add([*known, again]) == 0
        assert not any(ledger.update(photo) for photo in known)  # a fetch that was on its way
    assert all(values["json"]["owner"] != WHO for values in samples(out).values())


def test_who_is_forgotten_while_a_set_is_packed_is_not_in_it(here):
    """The tombstone comes between the first reading and the set's publication."""
    origin = LedgerPairs.find(here / "photos.db", here / "late", None, OPTIONS)
    judge = origin.judge

    class Slow:
        samples_per_shard, shown, unit = origin.samples_per_shard, origin.shown, origin.unit

        def judge(self, each):
            judged = judge(each)
            forget(Person("vk", WHO), [], here / "photos.db")
            return judged

    with pytest.raises((UserError, OSError), match=r"pack again"):
        making.pack(Slow(), here / "late")
    assert not (here / "late").exists()


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


def test_a_set_of_folders_and_the_only_photos_of_a_set(tmp_path, capsys):
    """Photos with an author in their `.json`, without a ledger; then everybody's."""
    for number in range(8):
        for folder, seed in (("photos", number), ("tiles", 100 + number)):
            (tmp_path / folder).mkdir(exist_ok=True)
            coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
            Image.fromarray(coarse).resize((64, 64)).save(tmp_path / folder / f"{50 + number},30.jpg")
        told = {"owner": "55" if number < 3 else "66", "licence": f"CC {number % 2}"}
        (tmp_path / "photos" / f"{50 + number},30.json").write_text(json.dumps(told))
    out = tmp_path / "set"
    code, _, error = run_tool(
        "pack_pairs", "--photos", tmp_path / "photos", "--satellite", tmp_path / "tiles", "--out", out, "--processes", 1
    )
    assert code == 0, error
    run = ["shards", "forget", str(out), "--runs", str(tmp_path), "--owner"]
    assert dispatch([*run, "55"]) == 0
    assert "without a ledger: nothing keeps" in capsys.readouterr().out
    facts = Manifest.load(out).facts
    assert (facts["read"], facts["licences"]) == (5, {"CC 0": 2, "CC 1": 3})
    assert {values["json"]["author"] for values in samples(out).values()} == {"66"}
    assert "whole" in checked(out)
    assert dispatch([*run, "66"]) == 0
    assert Manifest.load(out).shards == ()
    assert {path.suffix for path in out.iterdir()} == {".json", ".tsv"}


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


def test_a_set_of_something_else_is_left_alone(tmp_path, capsys):
    out = write_tiles(tmp_path / "tiles", samples=40)
    before = Manifest.load(out).sha256
    assert dispatch(["shards", "forget", str(out), "--owner", "7", "--runs", str(tmp_path)]) == 0
    assert "nothing of theirs is here" in capsys.readouterr().out
    assert Manifest.load(out).sha256 == before
