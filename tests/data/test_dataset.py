"""`waterscape.open_shards` in stock loaders."""

import pickle

import numpy as np
import pytest
import torch
from small_set import sample, write_set

import waterscape
from waterscape.data.shard import ShardError
from waterscape.errors import UserError

TRAIN = [number for number in range(41) if number % 5 != 4]


def test_items_are_what_was_packed(water):
    tiles = waterscape.open_shards(water)
    assert isinstance(tiles, torch.utils.data.Dataset)
    assert len(tiles) == 33
    assert tiles.classes == ("lake", "river")
    for place, number in enumerate(TRAIN):
        item, expected = tiles[place], sample(number)
        assert tiles.key(place).endswith(f"/{number:09d}")
        assert item.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, np.ndarray):
                assert isinstance(item[name], torch.Tensor)
                np.testing.assert_array_equal(item[name].numpy(), value, strict=True)
            else:
                assert item[name] == value
    assert tiles[-1]["json"]["number"] == TRAIN[-1]
    tiles[0]["occurrence.npy"].fill_(0)  # a tensor of its own
    with pytest.raises(IndexError, match="has 33 samples"):
        tiles[33]
    assert sum(1 for _ in tiles) == 33


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_a_stock_loader_with_two_workers_reads_each_sample_once(water, method):
    tiles = waterscape.open_shards(water, columns=["label.npy", "occurrence.npy"])
    loader = torch.utils.data.DataLoader(
        tiles, batch_size=4, shuffle=True, num_workers=2, multiprocessing_context=method
    )
    labels = []
    for batch in loader:
        assert batch["occurrence.npy"].shape[1:] == (5, 7)
        for label, tile in zip(batch["label.npy"].tolist(), batch["occurrence.npy"], strict=True):
            np.testing.assert_array_equal(tile, sample(label)["occurrence.npy"])
            labels.append(label)
    assert sorted(labels) == TRAIN


def test_what_is_sent_to_workers_is_small_and_refuses_another_set(water):
    tiles = waterscape.open_shards(water, "test", ["label.npy"])
    sent = pickle.dumps(tiles)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert [again[place] for place in range(8)] == [tiles[place] for place in range(8)]
    write_set(water, samples=30, replace=True)
    with pytest.raises(ShardError, match="was replaced"):
        pickle.loads(sent)


def test_mistakes_and_damage_are_told(water):
    with pytest.raises(UserError, match="has no column 'colour'"):
        waterscape.open_shards(water, columns=["colour"])
    with pytest.raises(UserError, match="no split 'dev'"):
        waterscape.open_shards(water, "dev")
    with pytest.raises(UserError, match=r"sample water-train-000000/000000000 has no column 'rare.npy'"):
        waterscape.open_shards(water, columns=["rare.npy"])[0]
    path = water / "water-train-000000.tar"
    raw = bytearray(path.read_bytes())
    raw[600] ^= 1
    path.write_bytes(raw)
    tiles = waterscape.open_shards(water)
    with pytest.raises(ShardError, match=r"sample 000000000, column bodies.npy, offset 0: crc32"):
        tiles[0]
    assert tiles[1]["json"]["number"] == 1
