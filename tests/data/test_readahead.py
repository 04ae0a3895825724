"""Files that are brought into the page cache, told by the kernel's own account of it."""

import ctypes
import mmap
import os
import time

import numpy as np
import pytest

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.readahead import ReadAhead

SHARDS = 6


@pytest.fixture
def big(tmp_path):
    """Six shards of 1.6 MB, none of it in the page cache (a temporary directory in memory cannot be emptied)."""
    random = np.random.default_rng(0)
    with SetWriter(tmp_path / "big", facts={"synthetic": True}, samples_per_shard=24) as writer:
        for _ in range(24 * SHARDS):
            writer.add("train", {"occurrence.npy": random.integers(0, 100, (256, 256), np.uint8)})
        writer.finish()
    shards = ShardSet(tmp_path / "big", "train")
    forget(shards)
    if any(share(shards)):
        pytest.skip("this file system keeps its files in memory")
    return shards


def forget(shards):
    for number in range(len(shards.shards)):
        descriptor = shards.file(number).descriptor
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def share(shards):
    """Of each tar, the share that lies in the page cache."""
    found = []
    for number, shard in enumerate(shards.shards):
        with mmap.mmap(shards.file(number).descriptor, shard.bytes, prot=mmap.PROT_READ) as mapped:
            memory = np.frombuffer(mapped, np.uint8)
            pages = np.zeros(-(-shard.bytes // mmap.PAGESIZE), np.uint8)
            where, length = ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(shard.bytes)
            assert ctypes.CDLL(None).mincore(where, length, pages.ctypes.data_as(ctypes.c_void_p)) == 0
            del memory
        found.append(float((pages & 1).mean()))
    return found


def settled(shards, expected):
    """Whether just these shards are in the cache within some seconds, and no other after a while."""
    for _ in range(100):
        if {n for n, part in enumerate(share(shards)) if part > 0.99} >= expected:
            break
        time.sleep(0.05)
    time.sleep(0.2)
    return {n for n, part in enumerate(share(shards)) if part > 0} == expected


def test_two_blocks_are_read_and_the_next_one_when_its_turn_comes(big):
    order = Order(big.counts, 0, block=2)
    blocks = [set(block.tolist()) for _, (_, block) in zip(range(4), order.blocks(0), strict=False)]
    ahead = ReadAhead(big, order, 0, None)
    assert settled(big, blocks[0] | blocks[1])
    ahead.reach(47)
    assert settled(big, blocks[0] | blocks[1])
    ahead.reach(48)
    assert settled(big, blocks[0] | blocks[1] | blocks[2])
    ahead.close()


def test_nothing_is_read_beyond_the_end(big):
    order = Order(big.counts, 0, block=2)
    (_, block) = next(order.blocks(0))
    ahead = ReadAhead(big, order, 0, 40)
    assert settled(big, set(block.tolist()))
    ahead.close()


def test_a_shard_that_is_gone_is_left_to_the_reader(big):
    order = Order.sequential(big.counts)
    expected = [big.read(number)["occurrence.npy"] for number in range(4)]
    big.close()
    (big.store.directory / f"{big.shards[5].name}.tar").unlink()
    with Batches(big, ["occurrence.npy"], batch=4, order=order, stop=8) as batches:
        np.testing.assert_array_equal(next(batches).columns["occurrence.npy"], expected)
        assert len(next(batches).keys) == 4
