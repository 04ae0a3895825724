"""Indexes are verified at opening and whenever they are read again, few are kept, and none is mapped."""

import dataclasses
import hashlib
from itertools import islice

import numpy as np
import pytest
from small_set import write_set

from waterscape.data import indexes as indexes_module
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.index import column_names
from waterscape.data.indexes import Indexes
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shard import ShardError
from waterscape.data.store import Directory

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
    with pytest.raises(ShardError, match=r"index\.npy is damaged"):
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


@pytest.mark.parametrize("at_once", [1, 3, 8])
@pytest.mark.parametrize("together", [0, 300, 1 << 20])
def test_looked_at_together_they_say_what_each_says(tmp_path, monkeypatch, at_once, together):
    monkeypatch.setattr(Directory, "at_once", at_once)
    monkeypatch.setattr(indexes_module, "CHECKED_BYTES", together)
    manifest = write_set(tmp_path / "water", samples_per_shard=2)  # some shards have a rare column, which others lack
    opened = ShardSet(tmp_path / "water", "train").indexes
    expected = [
        {name for name in column_names(index) if (index[name]["size"] >= 0).all()}
        for index in (np.load(tmp_path / "water" / f"{shard.name}.index.npy") for shard in manifest.split("train"))
    ]
    assert opened.complete == expected
    assert {len(names) for names in expected} == {5}
    assert opened.key_bytes == 9


@pytest.mark.parametrize("number", [0, 7, 16])
def test_the_one_that_lies_is_named_among_many(tmp_path, monkeypatch, number):
    monkeypatch.setattr(Directory, "at_once", 1)
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
        ShardSet(tmp_path / "water", "train", manifest)


def test_a_set_of_shards_that_lack_a_column_altogether(tmp_path):
    write_set(tmp_path / "water", samples=6, samples_per_shard=1)
    manifest = Manifest.load(tmp_path / "water")
    complete = Indexes(Directory(tmp_path / "water"), manifest.shards, manifest.columns).complete
    assert sum("rare.npy" in names for names in complete) == 2  # samples 1 and 5
    assert all("json" in names for names in complete)
