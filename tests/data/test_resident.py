"""Batches from memory, and batches brought ahead: what `Batches` gives, sample by sample."""

import threading

import pytest
import torch

from waterscape.data import resident
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.opening import batches_of, open_samples
from waterscape.data.order import Order
from waterscape.data.shard import ShardError
from waterscape.data.staging import AHEAD, Staged, same_device
from waterscape.errors import UserError
from waterscape.proof.made_set import write_made_set
from waterscape.recipe import Input

INPUTS = [Input("photo.jpg", (3, 24, 40)), Input("numbers.npy", (5,)), Input("kind.npy", classes=("a", "b", "c"))]
COLUMNS = [entry.column for entry in INPUTS]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return ShardSet(write_made_set(tmp_path_factory.mktemp("set") / "made", INPUTS, 70), "train")


def same(one, other):
    assert (one.position, one.count, one.keys, one.stands_in) == (
        other.position,
        other.count,
        other.keys,
        other.stands_in,
    )
    assert torch.equal(one.numbers, other.numbers)
    assert one.columns.keys() == other.columns.keys()
    for name, value in one.columns.items():
        assert value.dtype == other.columns[name].dtype
        assert torch.equal(value, other.columns[name])


def streams(shards, cache, rank=0, world=1, start=0, batch=8, balance=None):
    options = {"rank": rank, "world": world, "start": start, "batch": batch, "balance": balance, "seed": 3}
    return batches_of(shards, COLUMNS, pictures={"photo.jpg": (24, 40)}, cache=cache, **options)


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"start": 64},
        {"rank": 1, "world": 3, "start": 56},
        {"rank": 2, "world": 3, "batch": 2},
        {"balance": "kind.npy"},
    ],
    ids=["from the start", "over an epoch's end", "of three", "fewer than processes", "balanced"],
)
@pytest.mark.parametrize("ahead", [False, True])
def test_memory_gives_what_shards_give(shards, place, ahead):
    there, kept = streams(shards, "none", **place), streams(shards, "host", **place)
    if ahead:
        there, kept = (Staged(stream, torch.device("cpu")) for stream in (there, kept))
    for _ in range(20):
        same(next(kept), next(there))
    there.close()
    kept.close()


def test_what_does_not_fit_is_refused(shards, monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(resident, "free_bytes", lambda _: 70 * (24 * 40 * 3 + 5 * 4 + 1))
    with pytest.raises(UserError, match=r"takes .* GB in memory and .* of this machine are free: leave --cache out"):
        streams(shards, "host")
    monkeypatch.setattr(resident, "free_bytes", lambda _: 2 * 70 * (24 * 40 * 3 + 5 * 4 + 1))
    streams(shards, "host").close()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"takes .* GB in memory for each of 2 processes and .* are free"):
        streams(shards, "host", world=4)


def test_what_has_no_one_size_is_refused(shards):
    with pytest.raises(UserError, match=r"photo\.jpg has no one shape"):
        batches_of(shards, ["photo.jpg"], batch=8, seed=0, rank=0, world=1, start=0, cache="host")


def test_damaged_samples_cannot_be_replaced_in_memory(shards):
    with pytest.raises(UserError, match="cannot be had with --skip-damaged"):
        batches_of(shards, COLUMNS, batch=8, seed=0, rank=0, world=1, start=0, cache="device", skip_damaged=1)


def test_a_damaged_sample_is_named_before_anything_is_trained(tmp_path):
    made = write_made_set(tmp_path / "made", INPUTS, 40)
    tar = next(made.rglob("*.tar"))
    content = bytearray(tar.read_bytes())
    content[len(content) // 2] ^= 1
    tar.write_bytes(content)
    _, train, _ = open_samples(made)
    with pytest.raises(ShardError, match=r"damaged|crc"):
        streams(train, "host")


def test_a_fault_comes_through_and_the_thread_ends(shards):
    stream = Batches(shards, COLUMNS[1:], batch=8, order=Order(shards.counts, 0), stop=24)
    staged = Staged(stream, torch.device("cpu"))
    before = threading.active_count()
    assert [next(staged).position for _ in range(3)] == [0, 8, 16]
    with pytest.raises(StopIteration):
        next(staged)
    with pytest.raises(StopIteration):
        next(staged)
    assert threading.active_count() < before


def test_no_more_batches_are_taken_ahead_than_said():
    class Counted:
        taken = 0
        enough = threading.Event()

        def __next__(self):
            self.taken += 1
            if self.taken == AHEAD:
                self.enough.set()
            return self.taken

        def halt(self):
            self.halted = True

        def close(self):
            self.closed = True

    stream = Counted()
    staged = Staged(stream, torch.device("cpu"))
    assert stream.enough.wait(60)
    assert next(staged) == 1
    staged.close()
    assert stream.closed
    assert stream.taken <= AHEAD + 1


def test_a_stream_that_waits_for_what_is_afar_is_halted_before_its_end_is_waited_for():
    class Waiting:
        halted = threading.Event()

        def __next__(self):
            assert self.halted.wait(60)
            raise OSError("halted")

        def halt(self):
            self.halted.set()

        def close(self):
            self.closed = True

    stream = Waiting()
    Staged(stream, torch.device("cpu")).close()
    assert stream.closed


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("cuda:0", "cuda", True), ("cuda:1", "cuda:1", True), ("cuda:0", "cuda:1", False), ("cpu", "cuda", False)],
)
def test_a_device_without_a_number_is_any_of_its_kind(one, other, same):
    assert same_device(torch.device(one), torch.device(other)) is same
