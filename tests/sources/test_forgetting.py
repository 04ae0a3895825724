"""Somebody is forgotten: nothing of theirs is left in any file, whatever happens on the way; the others keep theirs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from collected_traces import OPTIONS, WHO, content, pack, traces
from packed_photos import checked, samples
from PIL import Image
from programs import run_tool, write_tiles

from waterscape.__main__ import dispatch
from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.forgetting import Person, forget
from waterscape.sources.ledger import Ledger, Photo
from waterscape.sources.ledger_pairs import LedgerPairs


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


def test_a_set_of_something_else_is_left_alone(tmp_path, capsys):
    out = write_tiles(tmp_path / "tiles", samples=40)
    before = Manifest.load(out).sha256
    assert dispatch(["shards", "forget", str(out), "--owner", "7", "--runs", str(tmp_path)]) == 0
    assert "nothing of theirs is here" in capsys.readouterr().out
    assert Manifest.load(out).sha256 == before
