"""What `waterscape shards plan` counts, against what the reader itself then reads."""

import tarfile

import numpy as np
import pytest
from small_set import JPEG, write_set

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.epoch import count_epoch
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.shards import column_names
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch


@pytest.mark.parametrize(("processes", "batch"), [(1, 4), (2, 5), (3, 7), (7, 7), (4, 64)])
def test_the_plan_is_what_the_reader_reads(water, processes, batch):
    shards = ShardSet(water, "train")
    epoch = count_epoch(shards, processes=processes, batch=batch, seed=5, columns=["label.npy"])
    assert epoch.read_once
    assert epoch.images.sum() == 33
    assert epoch.bytes.tolist() == (epoch.images * 1024).tolist()  # a header and one block of payload each
    if batch <= 33:
        for rank in range(processes):
            order = Order(shards.counts, seed=5)
            numbers = range(0, 99, batch)  # beyond the epoch's end, as training reads
            reader = Batches(
                shards, ["label.npy"], batch=batch, order=order, rank=rank, world=processes, stop=batch * len(numbers)
            )
            mine = [
                (int(n), key) for loaded in reader for n, key in zip(loaded.numbers, loaded.keys, strict=True) if n < 33
            ]
            assert len(mine) == epoch.images[rank]
            assert len({key.split("/")[0] for _, key in mine}) == epoch.shards[rank]


@pytest.mark.parametrize("columns", ["label.npy,jpg", "jpg", ""])
def test_the_numbers_of_the_verb_are_those_of_four_readers_on_two_nodes(tmp_path, capsys, columns):
    """Batches of 64, the last of the epoch reaching into the next; samples of unlike lengths."""
    with SetWriter(tmp_path / "unlike", facts={"synthetic": True}, samples_per_shard=40) as writer:
        for number in range(330):
            photo = JPEG + bytes(number * 7919 % 20_000)
            writer.add("train", {"label.npy": np.array(number), "jpg": photo, "json": {"number": number}})
    words = ["--processes", "4", "--batch", "64", "--nodes", "2", "--seed", "3", "--columns", columns]
    assert dispatch(["plan", str(tmp_path / "unlike"), *words]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"330 samples, batches of 64: an epoch is {330 / 64:.2f} steps" in lines

    shards, wanted = (
        ShardSet(tmp_path / "unlike", "train"),
        columns.split(",") if columns else ["jpg", "json", "label.npy"],
    )
    bytes_of = {}
    for shard in shards.shards:
        with tarfile.open(tmp_path / "unlike" / f"{shard.name}.tar") as tar:
            for member in tar:
                key, _, column = member.name.partition(".")
                length = 512 + -(-member.size // 512) * 512
                name = f"{shard.name}/{key}"
                bytes_of[name] = bytes_of.get(name, 0) + (length if column in wanted else 0)
    read = []
    for rank in range(4):
        order = Order(shards.counts, seed=3)
        with Batches(shards, wanted, batch=64, order=order, rank=rank, world=4, stop=6 * 64) as reader:
            found = [(loaded.numbers.tolist(), loaded.keys) for loaded in reader]
        assert [len(numbers) for numbers, _ in found] == [16] * 6
        read.append([key for batch in found for number, key in zip(*batch, strict=True) if number < 330])
    assert sorted(key for keys in read for key in keys) == sorted(bytes_of), "each sample once"

    size = [sum(bytes_of[key] for key in keys) for keys in read]
    for rank, keys in enumerate(read):
        touched = len({key.partition("/")[0] for key in keys})
        assert f"{rank} 16 {len(keys)} {size[rank] / 1e6:.2f} {touched}" in lines
    for node in range(2):
        assert f"node {node}: {(size[2 * node] + size[2 * node + 1]) / 1e6:.2f} MB an epoch read" in lines
    epoch = count_epoch(shards, processes=4, batch=64, seed=3, columns=wanted)
    assert epoch.bytes.tolist() == size, "to the byte"
    assert epoch.node_bytes(2).tolist() == [size[0] + size[1], size[2] + size[3]]


def test_bytes_are_those_of_all_records(water):
    shards = ShardSet(water, "train")
    epoch = count_epoch(shards, processes=2, batch=8)
    assert epoch.bytes.sum() == sum(shard.bytes - 1024 for shard in shards.shards)
    assert {"json", "jpg"} < set(column_names(shards.indexes[0]))


def test_fewer_shards_than_processes(tmp_path):
    write_set(tmp_path / "one", samples=23, samples_per_shard=100)
    epoch = count_epoch(ShardSet(tmp_path / "one", "train"), processes=6, batch=6)
    assert epoch.shards.tolist() == [1] * 6
    assert np.ptp(epoch.images) <= 1
    assert epoch.steps == pytest.approx(19 / 6)


def test_a_batch_smaller_than_the_world_leaves_a_process_without_images(water):
    epoch = count_epoch(ShardSet(water, "train"), processes=4, batch=3)
    assert epoch.images[:3].sum() == len(ShardSet(water, "train"))
    assert epoch.images[3] == 0
    shards = ShardSet(water, "train")
    read = count_epoch(shards, processes=5, batch=3, seed=5, columns=["label.npy"])
    for rank in range(5):
        order = Order(shards.counts, seed=5)
        reader = Batches(shards, ["label.npy"], batch=3, order=order, rank=rank, world=5, stop=33)
        keys = [key for loaded in reader for key in loaded.keys]
        assert read.bytes[rank] == 1024 * len(keys) == 1024 * 11
        assert read.shards[rank] == len({key.split("/")[0] for key in keys})
    assert read.images.tolist() == [11, 11, 11, 0, 0]


def test_the_verb_tells_ranks_and_nodes(water, capsys):
    assert dispatch(["plan", str(water), "--processes", "4", "--batch", "8", "--nodes", "2"]) == 0
    text = capsys.readouterr().out
    assert "an epoch is 4.12 steps" in text
    assert "node 1:" in text
    assert "every sample of the epoch is read exactly once" in text
    assert "every process reads at least 2 images in every step: none starves" in text
    assert dispatch(["plan", str(water), "--processes", "4", "--batch", "3"]) == 0
    text = capsys.readouterr().out
    assert "processes without an image: 1; each reads the first of every batch" in text
    assert "starves" not in text
    for batch in (0, -1):
        with pytest.raises(UserError, match=f"a batch of {batch} images trains nothing"):
            dispatch(["plan", str(water), "--processes", "4", "--batch", str(batch)])
    with pytest.raises(UserError, match="evenly"):
        dispatch(["plan", str(water), "--processes", "4", "--batch", "8", "--nodes", "3"])
