"""Parts of a set: which shard is whose, work that is shared without waiting, and what is found wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.parts import Part, Parts, plan_shards
from waterscape.errors import UserError

PLAN = {"options": {"size": 8, "seed": 0}, "files": 3}
SPLITS = [("train", "valid", "train", "test", "train")[number * 7 % 5] for number in range(53)]


def values(number):
    return {"x.npy": np.full((2, 1 + number % 3), number, np.int16), "json": {"number": number}}


def write_at_once(out):
    with SetWriter(out, facts={"a": 1}, samples_per_shard=6) as writer:
        for number, split in enumerate(SPLITS):
            writer.add(split, values(number))
        writer.finish()


def write_part(out, number, count, limit=None):
    with Part(out, PLAN, number, count) as part:
        mine = part.planned(plan_shards(part.name, SPLITS, 6))
        missing = [shard for shard in mine if part.record(shard.name) is None][:limit]
        for shard in missing:
            part.write(shard, ((number, values(number)) for number in shard.numbers))
    return len(missing)


def join(out):
    parts = Parts(out, PLAN)
    planned = plan_shards(parts.name, SPLITS, 6)
    with SetWriter(out, facts={"a": 1}) as writer:
        records = parts.adopt(writer, planned)
        writer.finish()
    parts.remove()
    return records


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_the_joined_set_is_byte_for_byte_the_one_written_at_once(tmp_path, count):
    write_at_once(tmp_path / "one" / "water")
    out = tmp_path / "parts" / "water"
    for number in range(count, 0, -1):
        write_part(out, number, count)
    records = join(out)
    assert contents(out) == contents(tmp_path / "one" / "water")
    assert sorted(note for record in records for note in record.notes) == list(range(53))
    assert [path.name for path in out.parent.iterdir()] == ["water"]
    assert {column.name: column.shape for column in Manifest.load(out).columns} == {"x.npy": None, "json": None}


def test_only_what_does_not_stand_is_made_again(tmp_path):
    out = tmp_path / "water"
    assert write_part(out, 1, 2, limit=2) == 2
    stood = {path: path.stat().st_mtime_ns for path in (tmp_path / "water.parts" / "shards").iterdir()}
    assert write_part(out, 1, 2) == 3
    assert write_part(out, 1, 2) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in stood.items())


def test_join_names_the_parts_that_lack(tmp_path):
    out = tmp_path / "water"
    with pytest.raises(UserError, match="no parts of"):
        join(out)
    write_part(out, 2, 4)
    with pytest.raises(UserError, match=r"run --part 1/4, 3/4, 4/4 again"):
        join(out)
    for number in (1, 3, 4):
        write_part(out, number, 4, limit=2)
    with pytest.raises(UserError, match=r"run --part 1/4 again"):
        join(out)
    assert [path.name for path in tmp_path.iterdir()] == ["water.parts"]


def test_parts_of_other_plans_do_not_mix(tmp_path):
    out = tmp_path / "water"
    write_part(out, 1, 2)
    for plan, count, told in (
        ({**PLAN, "files": 4}, 2, "files was 3, is 4"),
        ({**PLAN, "options": {"size": 9, "seed": 0}}, 2, "size was 8, is 9"),
        (PLAN, 3, "parts was 2, is 3"),
    ):
        with pytest.raises(UserError, match=told):
            Part(out, plan, 2, count)
    with pytest.raises(UserError, match="size was 8, is 9"):
        Parts(out, {**PLAN, "options": {"size": 9, "seed": 0}})
    record = next((tmp_path / "water.parts" / "shards").glob("*.json"))
    record.write_text(record.read_text().replace('"plan": "', '"plan": "0'))  # begun in the same instant
    with pytest.raises(UserError, match="of another plan"):
        write_part(out, 1, 2)


@pytest.mark.parametrize("ending", ["tar", "index.npy"])
def test_a_damaged_shard_is_not_joined(tmp_path, ending):
    out = tmp_path / "water"
    write_part(out, 1, 1)
    path = tmp_path / "water.parts" / "shards" / f"water-train-000001.{ending}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"water-train-000001.*damaged"):
        join(out)
    assert [path.name for path in tmp_path.iterdir()] == ["water.parts"]


def test_a_shard_of_other_samples_is_not_joined(tmp_path):
    out = tmp_path / "water"
    write_part(out, 1, 1)
    shards = tmp_path / "water.parts" / "shards"
    for ending in ("tar", "index.npy"):
        (shards / f"water-train-000001.{ending}").write_bytes((shards / f"water-train-000002.{ending}").read_bytes())
    told = json.loads((shards / "water-train-000002.json").read_text())
    told["shard"]["name"] = "water-train-000001"
    (shards / "water-train-000001.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="other samples than planned"):
        join(out)


def test_one_part_is_not_made_by_two_at_once_but_two_parts_are(tmp_path):
    out = tmp_path / "water"
    with Part(out, PLAN, 1, 2):
        with pytest.raises(UserError, match=r"part 1/2 .* at work in another process"):
            write_part(out, 1, 2)
        write_part(out, 2, 2)
    write_part(out, 1, 2)
    join(out)


def test_a_part_does_its_own_chunk_first_then_those_that_nobody_has_done(tmp_path):
    out, items = tmp_path / "water", list(range(11))
    asked = []

    def work(chunk):
        asked.append(list(chunk))
        return [{"square": item**2} for item in chunk]

    expected = [{"square": item**2} for item in items]
    with Part(out, PLAN, 2, 3) as part:
        assert part.stage("squares", items, work) == expected
    assert asked == [[3, 4, 5, 6], [7, 8, 9, 10], [0, 1, 2]]
    with Part(out, PLAN, 1, 3) as part:
        assert part.stage("squares", items, work) == expected
    assert len(asked) == 3
    assert Parts(out, PLAN).collect("squares", items) == expected
    with pytest.raises(UserError, match=r"run --part 1/3, 2/3, 3/3 again"):
        Parts(out, PLAN).collect("cubes", items)


def test_a_chunk_that_another_part_publishes_meanwhile_is_left_to_it(tmp_path):
    out, items = tmp_path / "water", list(range(100))
    done = []

    def slow(chunk):
        for item in chunk:
            if item == 55:  # part 2 comes and is quick
                with Part(out, PLAN, 2, 2) as other:
                    other.stage("numbers", items, lambda chunk: [{"number": item} for item in chunk])
            done.append(item)
            yield {"number": item}

    with Part(out, PLAN, 1, 2) as part:
        assert part.stage("numbers", items, slow) == [{"number": item} for item in items]
    assert done == list(range(56))


def test_a_name_that_would_not_do_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match="name it otherwise"):
        write_part(tmp_path / "white space", 1, 1)
    assert not list(tmp_path.iterdir())


def test_an_error_in_a_part_leaves_what_was_whole(tmp_path):
    out = tmp_path / "water"
    write_part(out, 1, 1, limit=3)
    before = contents(tmp_path / "water.parts" / "shards")

    def fails():
        yield 0, values(0)
        raise OSError(28, "No space left on device")

    with Part(out, PLAN, 1, 1) as part, pytest.raises(OSError, match="No space"):
        part.write(plan_shards("water", SPLITS, 6)[4], fails())
    assert contents(tmp_path / "water.parts" / "shards") == before
    assert not (tmp_path / "water.parts" / ".part-0001").exists()
