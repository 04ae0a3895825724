import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterscape.data import buffers
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.buffers import Rows
from waterscape.data.checksums import joint_crcs
from waterscape.data.order import Order


@given(
    seed=st.integers(0, 2**32 - 1), records=st.integers(1, 40), length=st.integers(1, 700), doublings=st.integers(0, 5)
)
@settings(max_examples=60, deadline=None)
def test_joint_crcs_are_zlibs_of_the_records_in_a_row(seed, records, length, doublings):
    memory = np.random.default_rng(seed).integers(0, 256, (records, length), np.uint8)
    single = np.array([zlib.crc32(record) for record in memory], np.uint32)
    together = 1 << doublings
    expected = [zlib.crc32(memory[first : first + together]) for first in range(0, records, together)]
    assert joint_crcs(single, length, together) == expected


@pytest.mark.parametrize("together_bytes", [1, 4096, 1 << 19])
def test_the_damaged_row_is_told_by_its_number(water, monkeypatch, together_bytes):
    """Any bit of any record, whatever number of records share a crc."""
    monkeypatch.setattr(buffers, "TOGETHER", together_bytes)
    shards = ShardSet(water, "train")
    column = shards.column("occurrence.npy")
    count = int(shards.counts[0])
    entries = shards.entries(np.zeros(count, np.int64), np.arange(count), column.name)
    rows = Rows(column, count)
    tar = water / f"{shards.shards[0].name}.tar"
    whole = tar.read_bytes()
    random = np.random.default_rng(0)

    def fill():
        with tar.open("rb") as file:
            return rows.fill([file.fileno()] * count, entries["offset"].tolist(), entries["crc32"], entries["name"])

    assert fill() is None
    for _ in range(40):
        row = int(random.integers(count))
        bit = int(random.integers(8 * rows.record_bytes)) + 8 * int(entries["offset"][row])
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        tar.write_bytes(damaged)
        assert fill() == row
    tar.write_bytes(whole[: int(entries["offset"][3]) + 100])
    assert fill() == 3


def test_rows_are_the_values_between_headers(water):
    """A batch's tensor is a view of the records: computing on it, or copying it, sees the values alone."""
    shards = ShardSet(water, "train")
    with Batches(shards, ["occurrence.npy"], batch=9, order=Order.sequential(shards.counts)) as batches:
        tiles = next(batches).columns["occurrence.npy"]
    expected = np.stack([shards.read(number)["occurrence.npy"] for number in range(9)])
    assert not tiles.is_contiguous()
    for seen in (tiles.numpy(), tiles.contiguous().numpy(), tiles.float().numpy(), tiles.flatten(1).reshape(9, 5, 7)):
        np.testing.assert_array_equal(np.asarray(seen), expected)
