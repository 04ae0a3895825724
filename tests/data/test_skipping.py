"""Files that are damaged while they are read: an error that names shard and sample, or a whole sample instead."""

import os
import shutil
import time
from itertools import islice

import numpy as np
import pytest

from waterscape.data import open_file
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.opening import open_samples
from waterscape.data.order import Order
from waterscape.data.shard import ShardError

COLUMNS = ["occurrence.npy", "json"]  # read in place, and as bytes
SAMPLES = 33
SHARDS = [f"water-train-{number:06d}" for number in range(6)]


def place(directory, shard, row, column):
    entry = np.load(directory / f"{SHARDS[shard]}.index.npy")[row]
    return f"{SHARDS[shard]}/{entry['key'].decode()}", int(entry[column]["offset"])


def spoil(directory, shard, row, column="occurrence.npy"):
    """Change one byte of a sample's payload in place; returns the sample's name."""
    name, offset = place(directory, shard, row, column)
    with (directory / f"{SHARDS[shard]}.tar").open("r+b") as file:
        file.seek(offset + 512 + 3)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    return name


def stored(directory):
    """All samples' names in the order of storing."""
    shards = ShardSet(directory, "train")
    keys = zip(shards.shards, shards.indexes, strict=True)
    return [f"{shard.name}/{key.decode()}" for shard, index in keys for key in index["key"]]


def read(directory, damage=None, *, images=2 * SAMPLES, columns=COLUMNS, **options):
    """Sample name of each place in the stream, and what was skipped; `damage` is called after the first batch."""
    shards = ShardSet(directory, "train")
    keys, skipped = [], []
    with Batches(shards, columns, batch=4, order=Order(shards.counts, 1, 2), stop=images, **options) as batches:
        for loaded in batches:
            if damage is not None:
                damage()
                damage = None
            assert len(loaded.keys) == len(loaded.numbers) == len(loaded.columns[columns[0]])
            keys += loaded.keys
            skipped += loaded.skipped
    return keys, skipped


def all_damaged(skipped):
    return {name for one in skipped for name in one.damaged}


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch):
    monkeypatch.setattr(open_file, "LOOK_SECONDS", 0.0)


def overwrite(water):
    for name in SHARDS:
        with (water / f"{name}.tar").open("r+b") as file:
            file.write(b"\1" * (water / f"{name}.tar").stat().st_size)


def replace(water):
    for name in SHARDS:
        (water / "new").write_bytes(bytes((water / f"{name}.tar").stat().st_size))
        (water / "new").replace(water / f"{name}.tar")


def cut(water):
    for name in SHARDS:
        with (water / f"{name}.tar").open("r+b") as file:
            os.ftruncate(file.fileno(), 1500)


def remove(water):
    for name in SHARDS:
        (water / f"{name}.tar").unlink()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (overwrite, "crc32 .* damaged"),
        (replace, "crc32 .* damaged"),
        (cut, "the tar is cut short"),
        (remove, "the tar is gone"),
    ],
)
def test_tars_harmed_while_they_are_read_are_an_error_soon(water, harm, told, column):
    began = time.monotonic()
    with pytest.raises(ShardError, match=rf"water-train-00000\d\.tar, sample 0000000\d\d, column {column}, .*{told}"):
        read(water, lambda: harm(water), columns=[column], threads=2)
    assert time.monotonic() - began < 60


def test_a_tar_replaced_by_its_copy_is_read_on(water):
    def copy():
        for name in SHARDS:
            shutil.copy(water / f"{name}.tar", water / "new")
            (water / "new").replace(water / f"{name}.tar")

    assert read(water, copy) == read(water)


@pytest.mark.parametrize("column", COLUMNS)
def test_damaged_samples_are_replaced_by_the_next_whole_ones_and_counted_exactly(water, column):
    whole, names = read(water)[0], stored(water)
    spoiled = {spoil(water, *at, column) for at in [(0, 1), (0, 2), (2, 5), (5, 2)]}
    keys, skipped = read(water, skip_damaged=4, threads=2)
    instead = {names[1]: names[3], names[2]: names[3], names[17]: names[12], names[32]: names[30]}
    assert keys == [instead.get(name, name) for name in whole]
    assert all_damaged(skipped) == spoiled == set(instead)
    assert [one.number for one in skipped] == [number for number, name in enumerate(whole) if name in spoiled]
    assert len(skipped) == 2 * 4  # twice in two epochs
    for one in skipped:
        planned = next(iter(one.damaged))
        assert planned == whole[one.number]
        assert all(
            f"sample {name.split('/')[1]}, column {column}, offset" in told for name, told in one.damaged.items()
        )
    with pytest.raises(
        ShardError, match=r"4 samples are damaged, more than the 3 of --skip-damaged; one of them: .*tar"
    ):
        read(water, skip_damaged=3)


def test_a_harmed_shard_is_replaced_by_the_following_one(water):
    names = stored(water)
    keys, skipped = read(water, lambda: (water / f"{SHARDS[1]}.tar").unlink(), skip_damaged=6)
    late = keys[16:]  # read after the first batches, which were there before
    assert not any(key.startswith(SHARDS[1]) for key in late)
    assert all_damaged(skipped) == set(names[6:12])
    assert {keys[one.number] for one in skipped} == {names[12]}


def test_a_payload_damaged_between_two_epochs_is_skipped_in_the_second(water):
    whole, names = read(water)[0], stored(water)
    victim = whole[0]
    number = names.index(victim)
    keys, skipped = read(water, lambda: spoil(water, number // 6, number % 6), skip_damaged=1)
    assert keys[:SAMPLES] == whole[:SAMPLES]
    assert [one.number for one in skipped] == [SAMPLES + whole[SAMPLES:].index(victim)]


def test_any_number_of_ranks_skips_the_same(water):
    spoiled = {spoil(water, *at) for at in [(0, 1), (3, 3), (3, 4)]}
    one = read(water, skip_damaged=3)
    keys, skipped = {}, {}
    for rank in range(3):
        shards = ShardSet(water, "train")
        order, options = Order(shards.counts, 1, 2), {"rank": rank, "world": 3, "stop": 2 * SAMPLES}
        with Batches(shards, COLUMNS, batch=4, order=order, skip_damaged=3, **options) as batches:
            for loaded in batches:
                keys |= dict(zip(loaded.numbers.tolist(), loaded.keys, strict=True))
                skipped |= {one.number: one.damaged for one in loaded.skipped}
    assert [keys[number] for number in range(2 * SAMPLES)] == one[0]
    assert skipped == {each.number: each.damaged for each in one[1]}
    assert {name for damaged in skipped.values() for name in damaged} == spoiled


def read_maimed(directory, budget, columns=COLUMNS):
    """As a run with `--skip-damaged` reads: what is missing is known when the set is opened."""
    shards = ShardSet(directory, "train", maimed=True)
    keys, skipped = [], []
    options = {"order": Order(shards.counts, 1, 2), "stop": 2 * SAMPLES, "skip_damaged": budget, "threads": 2}
    with Batches(shards, columns, batch=4, **options) as batches:
        for loaded in batches:
            keys += loaded.keys
            skipped += loaded.skipped
    return keys, skipped


def test_a_tar_missing_at_the_start_counts_within_the_budget(water):
    whole, names = read(water)[0], stored(water)
    (water / f"{SHARDS[1]}.tar").unlink()
    keys, skipped = read_maimed(water, 6)
    assert keys == [names[12] if name in names[6:12] else name for name in whole]
    assert all_damaged(skipped) == set(names[6:12])
    assert len(skipped) == 2 * 6
    with pytest.raises(ShardError, match=r"6 samples are damaged, more than the 5 .*000001\.tar, .*: the tar is gone"):
        read_maimed(water, 5)
    with pytest.raises(ShardError, match=rf"{SHARDS[1]}\.tar is missing"):
        ShardSet(water, "train")


@pytest.mark.parametrize("column", COLUMNS)
def test_of_a_tar_short_at_the_start_only_what_it_lacks_is_skipped(water, column):
    whole, names = read(water, columns=[column])[0], stored(water)
    _, offset = place(water, 2, 4, column)
    os.truncate(water / f"{SHARDS[2]}.tar", offset + 512)
    keys, skipped = read_maimed(water, 2, [column])
    assert keys == [names[12] if name in names[16:18] else name for name in whole]  # around, within the shard
    assert all_damaged(skipped) == set(names[16:18])
    with pytest.raises(ShardError, match=r"2 samples are damaged, more than the 1 .*000002\.tar, .*cut short"):
        read_maimed(water, 1, [column])


def test_nothing_whole_left_is_an_error(water):
    with pytest.raises(ShardError, match="no sample of split train is whole"):
        read(water, lambda: remove(water), skip_damaged=1000)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_descriptor_that_was_closed_is_told_at_once(water, column):
    shards = ShardSet(water, "train")
    order = Order.sequential(shards.counts)
    with Batches(shards, [column], batch=2, order=order, prefetch=1) as batches:
        list(islice(batches, 20))  # every tar is open: nothing else will be opened with this one's number
        held = shards.file(0)
        os.close(held.descriptor)
        began = time.monotonic()
        try:
            with pytest.raises(ShardError, match=rf"{SHARDS[0]}\.tar, sample .*: cannot be read: Bad file descriptor"):
                list(batches)
        finally:
            held.descriptor = os.open(water / f"{SHARDS[0]}.tar", os.O_RDONLY)  # it is closed once more
        assert time.monotonic() - began < 60


def test_a_set_closed_by_another_thread_in_mid_read_is_read_on(water, monkeypatch):
    shards = ShardSet(water, "train")
    before, pread = shards.read(0), os.pread

    def closing(descriptor, size, offset):
        shards.close()
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", closing)
    assert shards.read(0)["label.npy"] == before["label.npy"]
    assert "damaged" not in str(shards.diagnose(0, 0, "label.npy"))


def test_without_held_out_samples_those_of_training_are_read_through_files_of_their_own(water):
    _, train, held_out = open_samples(water)
    file = train.file(0)
    held_out.read(0)
    held_out.close()
    assert train.file(0) is file
    assert held_out.file(0) is not file
    assert held_out.indexes is train.indexes
