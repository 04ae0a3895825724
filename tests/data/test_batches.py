import threading
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_set import sample

from waterscape.data import opening
from waterscape.data import plan as plan_module
from waterscape.data import shards as shards_module
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.plan import part
from waterscape.errors import UserError

COLUMNS = ["occurrence.npy", "label.npy", "json"]
once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)


@pytest.fixture
def train(water):
    return ShardSet(water, "train")


def stream(train, seed=3, columns=COLUMNS, **options):
    with Batches(train, columns, order=Order(train.counts, seed, 2), **options) as batches:
        return list(batches)


def flat(loadeds):
    """Everything about each sample, in a form that compares."""
    rows = []
    for loaded in loadeds:
        tiles, labels, facts = (loaded.columns[name] for name in COLUMNS)
        assert tiles.dtype == torch.uint8
        assert tiles.shape == (len(loaded.keys), 5, 7)
        assert labels.shape == (len(loaded.keys),)
        assert len(facts) == len(loaded.numbers) == len(loaded.keys)
        numbers = loaded.numbers.tolist()
        rows += zip(numbers, loaded.keys, tiles.flatten(1).tolist(), labels.tolist(), facts, strict=True)
    return rows


def test_samples_are_what_was_written(train):
    assert len(train) == 33
    assert train.classes == ("lake", "river")
    numbers = [number for number in range(41) if number % 5 != 4]
    for place, number in enumerate(numbers):
        read, written = train.read(place), sample(number)
        assert read.keys() == written.keys()
        for column, value in written.items():
            np.testing.assert_array_equal(read[column], value)
    with pytest.raises(IndexError):
        train.read(33)


def test_batches_are_the_samples_of_the_order(train):
    shard, row = Order(train.counts, 3, 2).locate(0, 100)
    starts = np.cumsum(train.counts) - train.counts
    rows = flat(stream(train, batch=7, stop=100))
    assert [number for number, *_ in rows] == list(range(100))
    for (_, key, tile, label, facts), s, r in zip(rows, shard, row, strict=True):
        expected = train.read(int(starts[s] + r))
        assert key == f"{train.shards[s].name}/{label:09d}"
        assert label == expected["label.npy"]
        assert tile == expected["occurrence.npy"].ravel().tolist()
        assert facts == f'{{"number":{label},"region":"ö"}}'.encode()


@given(batch=st.integers(1, 50), world=st.integers(1, 5), start=st.integers(0, 80), length=st.integers(0, 90))
@once
def test_ranks_tile_every_batch_whatever_the_world(train, batch, world, start, length):
    world = min(world, batch)
    whole = stream(train, batch=batch, start=start, stop=start + length)
    ranks = [stream(train, batch=batch, start=start, stop=start + length, rank=r, world=world) for r in range(world)]
    for loaded, *parts in zip(whole, *ranks, strict=True):
        assert {(p.position, p.count) for p in parts} == {(loaded.position, loaded.count)}
        assert flat(parts) == flat([loaded])
        sizes = [len(p.keys) for p in parts]
        assert max(sizes) - min(sizes) <= 1
    assert flat(whole) == flat(stream(train, batch=11, start=0, stop=start + length))[start:]


@pytest.mark.parametrize("at_once", [1, 7, 20])
def test_how_much_is_looked_up_at_once_changes_nothing(train, monkeypatch, at_once):
    options = {"batch": 5, "rank": 1, "world": 2, "start": 3, "stop": 90}
    expected = flat(stream(train, **options))
    monkeypatch.setattr(plan_module, "LOOKED_UP", at_once)
    assert flat(stream(train, **options)) == expected


def test_five_on_two_is_three_and_two():
    assert [part(5, rank, 2) for rank in range(2)] == [range(3), range(3, 5)]


def test_every_sample_once_an_epoch_over_any_number_of_resumes(train):
    cursor, keys = 0, []
    while cursor < 66:
        with Batches(train, COLUMNS, batch=5, order=Order(train.counts, 0), start=cursor) as batches:
            for loaded in islice(batches, 3):
                keys += loaded.keys
                cursor = loaded.position + loaded.count
    for epoch in (keys[:33], keys[33:66]):
        assert len(set(epoch)) == 33


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_threads_change_nothing(train, threads, prefetch):
    assert flat(stream(train, batch=4, stop=99, threads=threads, prefetch=prefetch)) == flat(
        stream(train, batch=33, stop=99)
    )


def test_a_batch_belongs_to_its_holder_and_memory_comes_back(train):
    with Batches(train, COLUMNS, batch=8, order=Order(train.counts, 0)) as batches:
        kept = list(islice(batches, 20))
        copies = [loaded.columns["occurrence.npy"].clone() for loaded in kept]
        views = [loaded.columns["occurrence.npy"][2:4, 1] for loaded in kept]
        held = {view.untyped_storage().data_ptr() for view in views}
        assert len(held) == 20
        del kept
        addresses = set()
        for loaded in islice(batches, 40):  # views alone keep a batch as well
            address = loaded.columns["occurrence.npy"].untyped_storage().data_ptr()
            assert address not in held
            addresses.add(address)
        assert len(addresses) <= 5
    for view, copy in zip(views, copies, strict=True):
        assert torch.equal(view, copy[2:4, 1])


def test_close_ends_the_threads(train):
    before = set(threading.enumerate())
    batches = Batches(train, COLUMNS, batch=8, order=Order(train.counts, 0), threads=3)
    next(batches)
    assert len(set(threading.enumerate()) - before) >= 3  # and one that reads ahead, while it has something to do
    batches.close()
    batches.close()
    assert not set(threading.enumerate()) - before
    with pytest.raises(StopIteration):
        next(batches)
    list(Batches(train, COLUMNS, batch=8, order=Order(train.counts, 0), stop=9))
    assert not set(threading.enumerate()) - before


def test_open_files_are_bounded(train, monkeypatch):
    expected = flat(stream(train, batch=33, stop=66))
    train.close()
    alive, peak, lock = set(), [0], threading.Lock()

    class Counted(shards_module.OpenFile):
        def __init__(self, path, descriptor):
            super().__init__(path, descriptor)
            with lock:
                alive.add(self.descriptor)
                peak[0] = max(peak[0], len(alive))

        def __del__(self):
            alive.discard(self.descriptor)
            super().__del__()

    monkeypatch.setattr(shards_module, "OpenFile", Counted)
    monkeypatch.setattr(shards_module, "MOST_OPEN_FILES", 2)
    assert flat(stream(train, batch=2, stop=66, threads=2)) == expected
    # Kept, held by two threads with batches of two, and by the one that reads ahead.
    assert 2 <= peak[0] <= 2 + 2 * 2 + 1
    train.close()
    assert not alive


def test_a_rank_without_an_image_of_a_small_batch_holds_the_first_in_its_stead(train):
    alone = stream(train, batch=2, stop=40)
    ranks = [stream(train, batch=2, stop=40, rank=rank, world=4) for rank in range(4)]
    assert [[loaded.stands_in for loaded in each[:2]] for each in ranks] == [[False] * 2] * 2 + [[True] * 2] * 2
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert flat(parts[:2]) == flat([whole])
        assert flat(parts[2:3]) == flat(parts[3:]) == flat(parts[:1])


def test_wrong_requests_are_told_at_the_start(train, water):
    order = Order(train.counts, 0)
    with pytest.raises(UserError, match=r"no column 'depth\.npy': it has bodies\.npy"):
        Batches(train, ["depth.npy"], batch=4, order=order)
    with pytest.raises(UserError, match=r"rare.npy' is missing in some samples"):
        Batches(train, ["rare.npy"], batch=4, order=order)
    with pytest.raises(ValueError, match="other shards"):
        Batches(train, COLUMNS, batch=4, order=Order([3], 0))
    with pytest.raises(UserError, match="no split 'val': it has test, train"):
        ShardSet(water, "val")


@pytest.mark.parametrize(
    ("device", "pictures", "processes", "threads"),
    [("cpu", True, 1, 1), ("cuda:1", False, 1, 1), ("cuda", True, 1, 8), ("cuda:0", True, 4, 4), ("cuda", True, 64, 1)],
)
def test_photos_for_a_gpu_are_decoded_by_its_process_s_share_of_the_cores(
    monkeypatch, device, pictures, processes, threads
):
    monkeypatch.setattr(opening, "cores", lambda: 16)
    assert opening.usual_readers(device, pictures, processes) == threads
