"""Whatever is wrong with a set is found: at the start, or when the sample is read, and named."""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest
from small_set import write_set
from waiting import until

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shard import ShardError

FIRST = "water-train-000000"


def open_and_read(directory):
    shards = ShardSet(directory, "train")
    for number in range(len(shards)):
        shards.read(number)


def flip(path, offset, bit=0):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1 << bit
    path.write_bytes(raw)


def record(directory, row, column):
    entry = np.load(directory / f"{FIRST}.index.npy")[row]
    return entry["key"].decode(), *(int(entry[column][field]) for field in ("offset", "size"))


@pytest.mark.parametrize("column", ["occurrence.npy", "json"])  # of fixed size, and not
@pytest.mark.parametrize("where", ["name", "header", "payload", "padding"])
def test_a_flipped_bit_names_shard_sample_column_and_offset(water, column, where):
    key, offset, size = record(water, 2, column)
    place = {"name": 3, "header": 130, "payload": 512 + size // 2, "padding": 512 + size + 5}[where]
    flip(water / f"{FIRST}.tar", offset + place)
    shards = ShardSet(water, "train")
    expected = rf"{FIRST}\.tar, sample {key}, column {column}, offset {offset}: crc32 .* again"
    with pytest.raises(ShardError, match=expected):
        shards.read(2)
    batches = Batches(shards, ["label.npy", column], batch=3, order=Order.sequential(shards.counts))
    with pytest.raises(ShardError, match=expected):
        list(batches)
    with pytest.raises(ShardError):  # and it stays an error
        next(batches)


def test_any_flipped_bit_within_the_records_is_found(water):
    tar = water / f"{FIRST}.tar"
    whole = tar.read_bytes()
    random = np.random.default_rng(0)
    shards = ShardSet(water, "train")
    for place in random.integers(0, len(whole) - 1024, 400).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        tar.write_bytes(damaged)
        with pytest.raises(ShardError, match=FIRST):
            [shards.read(number) for number in range(6)]


def test_a_tar_cut_at_any_block_or_within_one_is_refused_at_the_start(water):
    tar = water / f"{FIRST}.tar"
    whole = tar.read_bytes()
    for length in [*range(0, len(whole), 512), 100, 700, len(whole) - 1]:
        tar.write_bytes(whole[:length])
        with pytest.raises(ShardError, match=rf"{FIRST}\.tar has {length} bytes, the manifest says {len(whole)}"):
            ShardSet(water, "train")
    tar.write_bytes(whole + b"\0")
    with pytest.raises(ShardError, match="bytes"):
        ShardSet(water, "train")


@pytest.mark.parametrize("columns", [["occurrence.npy"], ["json"]])
def test_a_tar_cut_while_it_is_read_is_an_error_of_the_sample(water, columns):
    shards = ShardSet(water, "train")
    with Batches(shards, columns, batch=1, order=Order.sequential(shards.counts), prefetch=1) as batches:
        next(batches)
        _, offset, _ = record(water, 5, columns[0])
        with (water / f"{FIRST}.tar").open("r+b") as file:
            file.truncate(offset + 600)
        with pytest.raises(ShardError, match=f"sample 000000006, column {columns[0]}.*cut short"):
            list(batches)


@pytest.mark.parametrize("ending", ["tar", "index.npy"])
def test_a_missing_file_is_named(water, ending):
    (water / f"{FIRST}.{ending}").unlink()
    with pytest.raises(ShardError, match=rf"{FIRST}\.{ending} is missing"):
        ShardSet(water, "train")
    ShardSet(water, "test")  # which does not need it


def test_a_tar_that_goes_away_before_its_first_read(water):
    shards = ShardSet(water, "train")
    (water / f"{FIRST}.tar").unlink()
    with pytest.raises(ShardError, match=rf"{FIRST}\.tar, sample 000000000, .*: the tar is gone"):
        next(Batches(shards, ["label.npy"], batch=1, order=Order.sequential(shards.counts)))


def test_every_flipped_bit_of_an_index_is_found(water):
    index = water / f"{FIRST}.index.npy"
    whole = index.read_bytes()
    random = np.random.default_rng(1)
    for place in random.integers(0, len(whole), 200).tolist():
        flip(index, place, int(random.integers(8)))
        with pytest.raises(ShardError, match=rf"{FIRST}\.index.npy is damaged"):
            ShardSet(water, "train").read(0)
        index.write_bytes(whole)


def test_swapped_shards_are_found(tmp_path):
    write_set(tmp_path / "water")
    one, two = (tmp_path / "water" / f"water-train-00000{number}.tar" for number in (0, 2))
    if one.stat().st_size != two.stat().st_size:
        pytest.fail("the test wants two tars of equal size")
    one.rename(tmp_path / "kept")
    two.rename(one)
    (tmp_path / "kept").rename(two)
    with pytest.raises(ShardError, match=r"water-train-000000\.tar, sample 000000000.*crc32"):
        open_and_read(tmp_path / "water")


def publish(directory, table):
    """Give the first shard another index, with a manifest that vouches for it."""
    path = directory / f"{FIRST}.index.npy"
    np.save(path, table, allow_pickle=False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest.load(directory)
    shards = tuple(dataclasses.replace(s, index_sha256=digest) if s.name == FIRST else s for s in manifest.shards)
    dataclasses.replace(manifest, shards=shards, _bytes=None).save(directory)


def test_an_index_that_lies_is_found_before_any_of_it_is_used(water):
    honest = np.load(water / f"{FIRST}.index.npy")

    def refused(told):
        shards = ShardSet(water, "train")
        for _ in range(2):  # it does not become true by having been looked at once
            with pytest.raises(ShardError, match=told):
                shards.read(0)
        with pytest.raises(ShardError, match=told):
            Batches(shards, ["label.npy"], batch=4, order=Order(shards.counts, 0))

    publish(water, honest[:5])
    refused("lists 5 samples, the manifest says 6")

    for field, value in [("offset", 10**12), ("offset", -512), ("size", 2**62), ("size", 128)]:
        lying = honest.copy()
        lying["occurrence.npy"][field][3] = value
        publish(water, lying)
        refused(r"column occurrence.npy has a record (outside the tar|that is not \|u1)")

    for column in ("occurrence.npy", "json"):
        crossed = honest.copy()
        crossed[column][[0, 1]] = crossed[column][[1, 0]]  # each a whole record, of the other sample
        publish(water, crossed)
        shards = ShardSet(water, "train")
        message = f"sample 000000000, column {column}.*calls the record '000000001.{column}'"
        with pytest.raises(ShardError, match=message):
            shards.read(0)
        with pytest.raises(ShardError, match=message):
            next(Batches(shards, [column], batch=4, order=Order.sequential(shards.counts)))

    publish(water, honest)
    open_and_read(water)


def test_an_error_in_a_thread_surfaces_at_the_next_batch(water, monkeypatch):
    shards = ShardSet(water, "train")
    opened = shards.file

    def fail_later(shard):
        if shard == 1:
            raise MemoryError("injected")
        return opened(shard)

    monkeypatch.setattr(shards, "file", fail_later)
    batches = Batches(shards, ["label.npy"], batch=3, order=Order.sequential(shards.counts), prefetch=4)
    until(lambda: batches._failure is not None)  # four batches are read ahead, and the third fails
    with pytest.raises(MemoryError, match="injected"):
        next(batches)


def test_a_copied_set_is_the_same_set(water, tmp_path):
    shutil.copytree(water, tmp_path / "copy")
    open_and_read(tmp_path / "copy")
    assert Manifest.load(tmp_path / "copy").sha256 == Manifest.load(water).sha256
