"""Each index is verified when it is first needed and whenever it is read again, few are kept, and none is mapped."""

import dataclasses
import hashlib
import threading
import weakref
from collections import deque
from itertools import islice

import numpy as np
import pytest
from small_set import sample, write_set
from waiting import until

from waterscape.data import indexes as indexes_module
from waterscape.data import plan as plan_module
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.index import column_names
from waterscape.data.indexes import Indexes
from waterscape.data.manifest import Manifest
from waterscape.data.opening import open_samples
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.shard import ShardError
from waterscape.data.store import Directory
from waterscape.errors import UserError

COLUMNS = ["occurrence.npy", "json"]


@pytest.fixture
def forgetful(monkeypatch):
    """Nothing but the index read last is kept."""
    monkeypatch.setattr(indexes_module, "KEPT_BYTES", 0)


def cut(path):
    with path.open("r+b") as file:
        file.truncate(200)


def spoil(path):
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 4
    with path.open("r+b") as file:
        file.write(raw)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (cut, "is damaged or belongs to another shard"),
        (spoil, "is damaged or belongs to another shard"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["cut", "spoiled", "removed"],
)
@pytest.mark.usefixtures("forgetful")
def test_an_index_harmed_while_it_is_read_is_an_error_that_names_it(water, harm, told):
    shards = ShardSet(water, "train")
    with Batches(shards, COLUMNS, batch=3, order=Order(shards.counts, 0, 2)) as batches:
        next(batches)
        for path in water.glob("*-train-*.index.npy"):
            harm(path)
        with pytest.raises(ShardError, match=rf"water-train-00000\d\.index\.npy {told}"):
            list(islice(batches, 20))


def test_what_is_kept_is_read_on_from_memory(water):
    shards = ShardSet(water, "train")
    before = [shards.read(number)["json"] for number in range(len(shards))]
    for path in water.glob("*-train-*.index.npy"):
        cut(path)
    assert [shards.read(number)["json"] for number in range(len(shards))] == before
    again = ShardSet(water, "train")
    for number in range(len(shards)):
        with pytest.raises(ShardError, match=r"index\.npy is damaged"):
            again.read(number)


def test_an_index_is_read_when_it_is_needed_and_its_absence_is_told_at_the_start(water):
    first, *others = sorted(water.glob("*-train-*.index.npy"))
    for path in others:
        spoil(path)
    shards = ShardSet(water, "train")
    assert shards.read(0)["json"]["number"] == 0
    with pytest.raises(ShardError, match=f"{others[-1].name} is damaged"):
        shards.read(len(shards) - 1)
    first.unlink()
    with pytest.raises(ShardError, match=f"{first.name} is missing"):
        ShardSet(water, "train")


def test_no_more_is_kept_than_the_bound(water, monkeypatch):
    shards = ShardSet(water, "train")
    sizes = [index.nbytes for index in shards.indexes]
    monkeypatch.setattr(indexes_module, "KEPT_BYTES", 2 * max(sizes))
    bounded = ShardSet(water, "train").indexes
    for _ in range(2):
        for number, index in enumerate(bounded):
            np.testing.assert_array_equal(index, shards.indexes[number])
            assert bounded._kept_bytes == sum(one.nbytes for one in bounded._kept.values()) <= 2 * max(sizes)
    assert list(bounded._kept) == [len(sizes) - 2, len(sizes) - 1]


@pytest.mark.parametrize(("few", "at_once"), [(64, 8), (0, 1), (0, 3)])
def test_side_by_side_they_say_what_each_says(tmp_path, monkeypatch, few, at_once):
    monkeypatch.setattr(Directory, "at_once", at_once)
    monkeypatch.setattr(indexes_module, "FEW", few)
    manifest = write_set(tmp_path / "water", samples_per_shard=2)  # some shards have a rare column, which others lack
    opened = ShardSet(tmp_path / "water", "train").indexes
    stored = [np.load(tmp_path / "water" / f"{shard.name}.index.npy") for shard in manifest.split("train")]
    for number, (index, expected) in enumerate(zip(opened, stored, strict=True)):
        np.testing.assert_array_equal(index, expected)
        whole = {name for name in column_names(expected) if (expected[name]["size"] >= 0).all()}
        assert opened.complete(number) == whole
    assert {len(opened.complete(number)) for number in range(len(opened))} == {5}


def test_a_column_that_a_later_block_lacks_is_told_when_that_one_is_planned(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "LOOKED_UP", 1)
    write_set(tmp_path / "water", samples=12, samples_per_shard=1)  # samples 1 and 5 have it, and others that do not
    shards = ShardSet(tmp_path / "water", "train")
    has = [number for number in range(len(shards)) if "rare.npy" in shards.read(number)]
    order = Order.sequential(shards.counts)
    order.block = 1
    with pytest.raises(UserError, match=r"'rare\.npy' is missing in some samples of shard water-train-000000"):
        Batches(shards, ["rare.npy"], batch=1, order=order)
    with Batches(shards, ["rare.npy"], batch=1, order=order, start=has[0], prefetch=1) as batches:
        assert len(next(batches).columns["rare.npy"]) == 1
        lacking = shards.shards[has[0] + 1].name
        with pytest.raises(UserError, match=rf"'rare\.npy' is missing in some samples of shard {lacking}"):
            next(batches)


def split_in_two(out):
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=4) as writer:
        for number in range(24):
            writer.add("valid" if number >= 16 else "train", sample(number))
        writer.finish()
    return out


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("maimed", [False, True])
def test_a_damaged_index_is_told_before_anything_is_trained_on_even_where_samples_are_skipped(tmp_path, split, maimed):
    place = split_in_two(tmp_path / "water")
    last = sorted(place.glob(f"*-{split}-*.index.npy"))[-1]
    spoil(last)
    with pytest.raises(ShardError, match=rf"{last.name} is damaged .*none skipped"):
        open_samples(place, maimed=maimed)


def looking_ahead(water, columns, **options):
    shards = ShardSet(water, "train")
    order = Order.sequential(shards.counts)
    order.block = 1
    return Batches(shards, columns, batch=2, order=order, prefetch=1, look_ahead=True, **options)


@pytest.mark.parametrize("skip_damaged", [0, 5])
def test_a_large_set_tells_a_damaged_index_at_the_next_batch(water, monkeypatch, skip_damaged):
    monkeypatch.setattr(indexes_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(plan_module, "LOOKED_UP", 1)
    last = sorted(water.glob("*-train-*.index.npy"))[-1]
    spoil(last)
    before = set(threading.enumerate())
    with looking_ahead(water, COLUMNS, skip_damaged=skip_damaged) as batches:
        until(lambda: batches._failure is not None)
        with pytest.raises(ShardError, match=rf"{last.name} is damaged .*none skipped"):
            next(batches)
        assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("at_hand", [True, False])
def test_a_column_that_any_shard_lacks_is_told_with_set_and_split(tmp_path, monkeypatch, at_hand):
    monkeypatch.setattr(plan_module, "LOOKED_UP", 1)
    write_set(tmp_path / "water", samples=12, samples_per_shard=1)
    shards = ShardSet(tmp_path / "water", "train")
    has = [number for number in range(len(shards)) if "rare.npy" in shards.read(number)]
    if not at_hand:
        monkeypatch.setattr(indexes_module, "KEPT_BYTES", 0)
    told = (
        rf"'rare\.npy' is missing in some samples of shard {shards.shards[0].name}, split 'train' of {shards.directory}"
    )

    def read_where_it_is():
        with looking_ahead(tmp_path / "water", ["rare.npy"], start=has[0], stop=has[0] + 1) as batches:
            assert not at_hand
            until(lambda: batches._failure is not None)
            next(batches)

    with pytest.raises(UserError, match=told):
        read_where_it_is()


def test_closing_ends_the_look_at_a_large_set(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(plan_module, "LOOKED_UP", 1)
    write_set(tmp_path / "water", samples=60, samples_per_shard=1)
    looked, lookers, look, look_at_all = [], {}, ShardSet.look_at, Batches._look_at_all

    def noted(batches, columns):
        lookers[threading.current_thread()] = batches
        look_at_all(batches, columns)

    def slowly(shards, columns, shard):
        if batches := lookers.get(threading.current_thread()):  # threads that plan batches look too
            looked.append(shard)
            if len(looked) > 20:
                until(lambda: batches._ended)
        look(shards, columns, shard)

    monkeypatch.setattr(Batches, "_look_at_all", noted)
    monkeypatch.setattr(ShardSet, "look_at", slowly)
    before = set(threading.enumerate())
    with looking_ahead(tmp_path / "water", COLUMNS) as batches:
        next(batches)
        until(lambda: looked)
    assert not set(threading.enumerate()) - before
    assert 0 < len(looked) < 48  # of as many shards


def most_alive(monkeypatch, read):
    """The most indexes that are in memory together while `read` runs, the one that is being read included."""
    seen, counts, before = [], [], Indexes._read

    def noted(indexes, shard):
        index = before(indexes, shard)
        seen.append(weakref.ref(index))
        counts.append(sum(one() is not None for one in list(seen)))
        return index

    with monkeypatch.context() as patch:
        patch.setattr(Indexes, "_read", noted)
        read()
    return max(counts)


@pytest.mark.usefixtures("forgetful")
def test_index_entries_of_many_shards_are_those_of_each_and_few_indexes_are_held_for_them(tmp_path, monkeypatch):
    write_set(tmp_path / "water", samples=60, samples_per_shard=3)
    shards = ShardSet(tmp_path / "water", "train")
    numbers = np.random.default_rng(0).permutation(len(shards))
    shard, row = np.array([shards.locate(number) for number in numbers.tolist()]).T
    tables = []
    assert most_alive(monkeypatch, lambda: tables.append(shards.entries(shard, row, "json"))) <= 3
    assert len(shards.shards) == 16
    for entry, one, at in zip(tables[0], shard.tolist(), row.tolist(), strict=True):
        index = shards.indexes[one]
        assert entry["name"] == index["key"][at] + b".json"
        assert (entry["offset"], entry["crc32"]) == (index["json"]["offset"][at], index["json"]["crc32"][at])


@pytest.mark.usefixtures("forgetful")
def test_no_more_are_read_side_by_side_than_may_be_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes_module, "FEW", 0)
    write_set(tmp_path / "water", samples=60, samples_per_shard=3)
    indexes = ShardSet(tmp_path / "water", "train").indexes
    assert most_alive(monkeypatch, lambda: deque(indexes, maxlen=0)) <= 4
    assert most_alive(monkeypatch, lambda: list(indexes)) == 16


@pytest.mark.parametrize("number", [0, 7, 16])
def test_the_one_that_lies_is_named_among_many(tmp_path, monkeypatch, number):
    monkeypatch.setattr(indexes_module, "FEW", 8)
    manifest = write_set(tmp_path / "water", samples_per_shard=2)
    shards = list(manifest.split("train"))
    path = tmp_path / "water" / f"{shards[number].name}.index.npy"
    lying = np.load(path)
    lying["occurrence.npy"]["offset"][-1] = shards[number].bytes
    np.save(path, lying)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shards[number] = dataclasses.replace(shards[number], index_sha256=digest)
    manifest = dataclasses.replace(manifest, shards=tuple(shards), _bytes=None)
    with pytest.raises(ShardError, match=rf"{path.name}: column occurrence\.npy has a record outside the tar"):
        list(ShardSet(tmp_path / "water", "train", manifest).indexes)


def test_a_set_of_shards_that_lack_a_column_altogether(tmp_path):
    write_set(tmp_path / "water", samples=6, samples_per_shard=1)
    manifest = Manifest.load(tmp_path / "water")
    indexes = Indexes(Directory(tmp_path / "water"), manifest.shards, manifest.columns)
    complete = [indexes.complete(number) for number in range(len(indexes))]
    assert sum("rare.npy" in names for names in complete) == 2  # samples 1 and 5
    assert all("json" in names for names in complete)
