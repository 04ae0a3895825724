"""`repair` keeps every good sample, says why it leaves out the others, and its sums agree."""

import json

import numpy as np
import pytest
from small_set import sample, write_set

from waterscape.data.doctor import check
from waterscape.data.manifest import FILE, Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.repair import repair
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch


def numbers(directory):
    """Which of the samples that were packed stand in a set, split by split, in the order of storing."""
    found = {}
    for split in Manifest.load(directory).splits:
        shards = ShardSet(directory, split)
        found[split] = [int(shards.read(place)["label.npy"]) for place in range(len(shards))]
    return found


def without(*bad):
    everything = [number for number in range(41) if number not in bad]
    return {
        "test": [number for number in everything if number % 5 == 4],
        "train": [number for number in everything if number % 5 != 4],
    }


def damage(path, offset):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 16
    path.write_bytes(raw)


def test_of_a_whole_set_it_makes_the_same_tars(water, tmp_path):
    done = repair(water, tmp_path / "new" / "water")
    assert (dict(done.kept), done.quarantined) == ({"train": 33, "test": 8}, [])
    for shard in Manifest.load(water).shards:
        for ending in ("tar", "index.npy"):
            name = f"{shard.name}.{ending}"
            assert (tmp_path / "new" / "water" / name).read_bytes() == (water / name).read_bytes()


def test_a_damaged_sample_is_left_out_with_its_reason(water, tmp_path):
    row = np.load(water / "water-train-000001.index.npy")[3]
    offset, key = int(row["jpg"]["offset"]), row["key"].decode()
    damage(water / "water-train-000001.tar", offset + 520)
    before = {path.name: path.read_bytes() for path in water.iterdir()}
    done = repair(water, tmp_path / "new")
    (bad,) = done.quarantined
    assert (bad.shard, bad.split, bad.key) == ("water-train-000001", "train", key)
    assert bad.reasons[0].startswith(f"column jpg, offset {offset}: crc32")
    assert check(tmp_path / "new").findings == ()
    assert numbers(tmp_path / "new") == without(int(key))
    listed = json.loads((tmp_path / "new" / "quarantine.json").read_text())
    assert listed["kept"] == {"train": 32, "test": 8}
    assert [entry["key"] for entry in listed["quarantined"]] == [key]
    facts = Manifest.load(tmp_path / "new").facts
    assert facts["synthetic"] is True
    assert facts["repaired"] == {"from_sha256": Manifest.load(water).sha256, "quarantined": 1}
    assert {path.name: path.read_bytes() for path in water.iterdir()} == before


@pytest.mark.parametrize("harm", ["removed", "flipped", "emptied"])
def test_an_index_is_made_anew_where_the_tar_is_whole(water, tmp_path, harm):
    path = water / "water-train-000002.index.npy"
    if harm == "removed":
        path.unlink()
    elif harm == "flipped":
        damage(path, 300)
    else:
        path.write_bytes(b"")
    assert repair(water, tmp_path / "new").quarantined == []
    assert numbers(tmp_path / "new") == without()


def test_what_a_cut_tar_still_has_is_kept(water, tmp_path):
    rows = np.load(water / "water-train-000000.index.npy")
    path = water / "water-train-000000.tar"
    path.write_bytes(path.read_bytes()[: int(rows[4]["json"]["offset"]) + 512])
    lost = [int(row["key"]) for row in rows[4:]]
    done = repair(water, tmp_path / "new")
    assert [int(bad.key) for bad in done.quarantined] == lost
    assert numbers(tmp_path / "new") == without(*lost)


def test_a_missing_shard_and_one_of_which_nothing_can_be_known(water, tmp_path):
    missing = [int(key) for key in np.load(water / "water-train-000000.index.npy")["key"]]
    unknown = [int(key) for key in np.load(water / "water-train-000003.index.npy")["key"]]
    (water / "water-train-000000.tar").unlink()
    (water / "water-train-000003.index.npy").unlink()
    damage(water / "water-train-000003.tar", 700)
    done = repair(water, tmp_path / "new")
    assert numbers(tmp_path / "new") == without(*missing, *unknown)
    assert len(done.quarantined) == 12
    assert {bad.key for bad in done.quarantined} == {None, *(f"{number:09d}" for number in missing)}
    assert {bad.reasons for bad in done.quarantined if bad.key} == {("water-train-000000.tar is missing",)}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_kept_is_as_it_was_packed(tmp_path, seed):
    write_set(tmp_path / "water")
    random = np.random.default_rng(seed)
    for path in sorted((tmp_path / "water").glob("*-00000[12].*")):
        for place in random.integers(0, path.stat().st_size, 3).tolist():
            damage(path, place)
    done = repair(tmp_path / "water", tmp_path / "new")
    assert sum(done.kept.values()) + len(done.quarantined) == 41
    assert sum(done.kept.values()) >= 23  # those of whole shards
    assert check(tmp_path / "new").findings == ()
    for split, kept in numbers(tmp_path / "new").items():
        assert kept == sorted(set(kept) & set(without()[split]))
        shards = ShardSet(tmp_path / "new", split)
        for place, number in enumerate(kept):
            values, expected = shards.read(place), sample(number)
            assert values.keys() == expected.keys()
            assert all(np.array_equal(values[name], expected[name]) for name in expected)


def test_mistakes_are_told(water, tmp_path, capsys):
    with pytest.raises(UserError, match="never changed"):
        repair(water, water)
    assert dispatch(["repair", str(water), "--out", str(tmp_path / "new")]) == 0
    assert dispatch(["repair", str(water)]) == 0
    beside = water.with_name(f"{water.name}-repaired")
    for split in ("train", "test"):
        assert len(ShardSet(beside, split)) == len(ShardSet(tmp_path / "new", split))
    assert "33 train, 8 test kept" in capsys.readouterr().out.replace("8 test, 33 train", "33 train, 8 test")
    with pytest.raises(UserError, match="exists"):
        repair(water, tmp_path / "new")
    damage(water / FILE, 50)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        repair(water, tmp_path / "other")


def test_counts_in_the_facts_go_on_adding_up(tmp_path):
    facts = {"classes": ["lake", "river"], "dropped": {"seam": 2}, "shapes": {"train": {"lake": 3, "river": 2}}}
    with SetWriter(tmp_path / "water", facts=facts) as writer:
        for number in range(5):
            writer.add("train", {"shape.npy": np.array(number % 2, np.uint8), "json": {"number": number}})
    entry = np.load(tmp_path / "water" / "water-train-000000.index.npy")["json"][2]
    damage(tmp_path / "water" / "water-train-000000.tar", int(entry["offset"]) + 513)
    repair(tmp_path / "water", tmp_path / "new")
    new = Manifest.load(tmp_path / "new").facts
    assert new["dropped"] == {"seam": 2, "damaged": 1}
    assert new["shapes"] == {"train": {"lake": 2, "river": 2}}
