"""Tars without an index, streamed through webdataset: what is delivered, to whom, and what is told when it fails."""

import io
import os
import pickle
import tarfile
import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
import webdataset
from foreign_sets import members, picture, write_foreign
from PIL import Image

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.foreign import index_foreign
from waterscape.data.manifest import Manifest
from waterscape.data.opening import batches_of, open_samples
from waterscape.data.order import Order
from waterscape.data.pictures import read_stacked
from waterscape.data.shard import ShardError
from waterscape.data.stream import Streamed
from waterscape.data.tars import TarSet, look_into
from waterscape.errors import UserError

SOURCES = ["occurrence.npy=png", "label.npy=cls"]


@pytest.fixture(params=["webdataset", "gnu"])
def tiles(request, tmp_path):
    return write_foreign(tmp_path / "tiles", request.param, samples=35, tars=5)


def tiny_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def read(samples, batches, columns=("occurrence.npy", "label.npy", "txt"), **options):
    settings = {"batch": 4, "seed": 3, "rank": 0, "world": 1, "start": 0, **options}
    stream = batches_of(samples, columns, **settings)
    try:
        return list(islice(stream, batches))
    finally:
        stream.close()


def keys(loadeds):
    return [key for loaded in loadeds for key in loaded.keys]


def number_of(key):
    return int(key.rpartition("s")[2])


def test_samples_are_what_was_written_whatever_they_are_called(tiles):
    manifest, train, held_out = open_samples(tiles, SOURCES)
    assert isinstance(train.samples, TarSet)
    assert (len(train), len(held_out)) == (28, 7)
    names = sorted(column.name for column in manifest.columns)
    assert names == sorted(["cls", "jpg", "json", "label.npy", "occurrence.npy", "occurrence64.npy", "png", "txt"])
    for loaded in read(train, 7):
        pictures, labels, texts = loaded.columns.values()
        assert (pictures.dtype, pictures.shape) == (torch.uint8, (4, 64, 64))
        for key, pixels, label, text in zip(loaded.keys, pictures, labels, texts, strict=True):
            number = number_of(key)
            expected = np.random.default_rng(number).integers(0, 101, (64, 64))
            assert pixels.tolist() == expected.tolist()
            assert label == number % 3
            assert text == f"tile {number}\n".encode()


def test_an_epoch_has_every_sample_once_and_the_next_another_order(tiles):
    _, train, held_out = open_samples(tiles, SOURCES)
    found = keys(read(train, 14))
    epochs = [found[:28], found[28:]]
    assert all(len(set(epoch)) == 28 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert not {number_of(key) for key in found} & {number_of(key) for key in range_of(held_out)}
    assert keys(read(train, 14)) == found
    assert keys(read(train, 14, seed=4)) != found
    assert keys(read(train, 14, start=4)) != found
    (first, *_) = read(train, 2, start=8)
    assert (first.position, first.numbers.tolist()) == (8, [8, 9, 10, 11])


def range_of(held_out):
    return [f"s{int(held_out.read(place)['txt'].split()[1]):05d}" for place in range(len(held_out))]


@pytest.mark.parametrize("world", [2, 3, 4, 7])
def test_ranks_share_the_tars_and_none_starves(tmp_path, world):
    """Four tars to train on: whole tars to each of 2, 3 or 4 ranks, single samples to each of 7."""
    _, train, _ = open_samples(write_foreign(tmp_path / "tiles", samples=35, tars=5, only=("txt",)))
    shares = [read(train, 30, ["txt"], batch=9, rank=rank, world=world) for rank in range(world)]
    for parts in zip(*shares, strict=True):
        numbers = torch.cat([part.numbers for part in parts]).tolist()
        assert numbers == list(range(parts[0].position, parts[0].position + 9))
    sizes = [7 * len(range(rank, 4, world)) if world <= 4 else len(range(rank, 28, world)) for rank in range(world)]
    firsts = [keys(share)[:size] for share, size in zip(shares, sizes, strict=True)]
    assert len({key for first in firsts for key in first}) == sum(sizes) == 28
    if world <= 4:
        tars = [name for first in firsts for name in {key.partition("/")[0] for key in first}]
        assert len(tars) == len(set(tars)) == 4


def test_a_batch_smaller_than_the_world_leaves_no_tar_unread(tmp_path):
    _, train, _ = open_samples(write_foreign(tmp_path / "tiles", samples=35, tars=5, only=("txt",)))
    shares = [read(train, 14, ["txt"], batch=2, rank=rank, world=3) for rank in range(3)]
    assert [[loaded.stands_in for loaded in share] for share in shares] == [[False] * 14, [False] * 14, [True] * 14]
    assert len({key for share in shares[:2] for key in keys(share)}) == 28
    assert keys(shares[2]) == keys(shares[0])


def test_the_same_tars_indexed_give_the_same_samples_under_the_same_names(tmp_path):
    tiles = write_foreign(tmp_path / "tiles", samples=35, tars=5)
    columns = ["occurrence.npy", "occurrence64.npy", "label.npy"]
    _, streamed, streamed_apart = open_samples(tiles, SOURCES)
    index_foreign(tiles, facts={})
    manifest, indexed, indexed_apart = open_samples(tiles, SOURCES)
    assert {"occurrence.npy", "label.npy", "png", "cls"} <= {column.name for column in manifest.columns}
    assert manifest.sha256 == Manifest.load(tiles).sha256
    one, other = (read_stacked(samples, [6, 0, 3], columns, {}) for samples in (streamed_apart, indexed_apart))
    assert all(torch.equal(one[column], other[column]) for column in columns)
    for place in range(7):
        ours, theirs = indexed_apart.read(place), streamed_apart.read(place)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    found = {}
    for name, samples in (("streamed", streamed), ("indexed", indexed)):
        found[name] = {
            key: [loaded.columns[column][at].tolist() for column in columns]
            for loaded in read(samples, 7, columns)
            for at, key in enumerate(loaded.keys)
        }
    assert found["streamed"] == found["indexed"]
    assert len(found["indexed"]) == 28
    train = ShardSet(tiles, "train")
    with Batches(train, ["occurrence64.npy"], batch=4, order=Order(train.counts, 3)) as planned:
        assert [next(planned).keys for _ in range(7)] == [loaded.keys for loaded in read(indexed, 7)]


@pytest.mark.parametrize(
    ("odd", "told"),
    [(tiny_picture, "its shape is|shapes"), (lambda: picture(1)[:60] + bytes(900), "the picture cannot be decoded")],
)
@pytest.mark.parametrize("way", ["streamed", "indexed"])
def test_a_picture_that_is_another_or_broken_names_its_sample(tmp_path, odd, told, way):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for name in ("a-train", "b-valid"):
        with webdataset.TarWriter(str(tiles / f"{name}.tar"), encoder=False) as writer:
            for number in range(4):
                content = odd() if (number, name) == (2, "a-train") else picture(number)
                writer.write({"__key__": f"{name}{number}", "png": content})
    if way == "indexed":
        assert index_foreign(tiles, facts={}).hindrances == []
    _, train, _ = open_samples(tiles, ["a.npy=png", "b.npy=png"])
    with pytest.raises(ShardError, match=rf"a-train\d.*({told})"):
        read(train, 2, ["a.npy"])
    assert set(read(train, 1, ["png"])[0].columns) == {"png"}


@pytest.mark.parametrize(
    ("names", "held_out"),
    [
        (["a", "b", "c"], ["a"]),
        (["a", "b-val", "c-test"], ["b-val"]),
        (["a", "b", "c-test"], ["c-test"]),
        (["a-train", "b-valid-0", "c-valid-1"], ["b-valid-0", "c-valid-1"]),
    ],
)
def test_what_is_held_out_is_never_trained_on(tmp_path, names, held_out):
    tiles = write_foreign(tmp_path / "tiles", samples=6, only=("txt",))
    for path, name in zip(sorted(tiles.glob("*.tar")), names, strict=True):
        path.rename(tiles / f"{name}.tar")
    manifest, train, apart = open_samples(tiles)
    assert [tar.name for tar in apart.tars] == held_out
    assert not any(tar.name in held_out or "test" in tar.name for tar in train.tars)
    assert {shard.name for shard in manifest.split("valid")} == set(held_out)


def test_a_pickle_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Canary:
        def __reduce__(self):
            return os.mkdir, ("canary",)

    tiles = write_foreign(tmp_path / "tiles", samples=6, only=("txt",))
    for path in tiles.glob("*.tar"):
        with tarfile.open(path, "a") as tar:
            for name in ("zz.pyd", "zz.pkl", "zz.pth"):
                (tmp_path / name).write_bytes(pickle.dumps(Canary()))
                tar.add(tmp_path / name, name)
    manifest, train, _ = open_samples(tiles)
    assert [column.name for column in manifest.columns] == ["txt"]
    assert len(set(keys(read(train, 4, ["txt"])))) == 4
    assert not (tmp_path / "canary").exists()


def test_wrong_requests_are_told_at_the_start(tmp_path):
    tiles = write_foreign(tmp_path / "tiles", samples=6, only=("png", "txt"))
    with pytest.raises(UserError, match=r"--columns a\.npy=jpg: there is no column jpg, there are png, txt"):
        open_samples(tiles, ["a.npy=jpg"])
    with pytest.raises(UserError, match="--columns png is not MODEL'S=STORED"):
        open_samples(tiles, ["png"])
    _, train, _ = open_samples(tiles)
    with pytest.raises(UserError, match="4 samples cannot feed 9 processes"):
        Streamed(train, ["txt"], batch=9, seed=0, world=9)
    with pytest.raises(UserError, match="skip-damaged needs an index"):
        batches_of(train, ["txt"], batch=2, seed=0, rank=0, world=1, start=0, skip_damaged=1)
    lacking = write_foreign(tmp_path / "lacking", samples=6, only=("txt",))
    (lacking / "tiles-train-0000.tar").replace(tiles / "tiles-train-0009.tar")
    with pytest.raises(UserError, match=r"tiles-train-0009\.tar: 2 of 2 samples have no 'png'"):
        Streamed(open_samples(tiles)[1], ["png"], batch=2, seed=0)
    one = write_foreign(tmp_path / "one", samples=2, tars=1)
    with pytest.raises(UserError, match="one tar to train on and one to hold out"):
        open_samples(one)


def test_a_tar_that_would_silently_end_early_is_told(tiles):
    """webdataset gives half of it without an error; the count of headers tells."""
    path = tiles / "tiles-train-0001.tar"
    whole = path.read_bytes()
    _, train, _ = open_samples(tiles, SOURCES)
    with tarfile.open(path) as tar:
        middle = tar.getmembers()[20].offset
    damaged = bytearray(whole)
    damaged[middle + 150] ^= 1  # in a header's checksum
    for content in (bytes(damaged), whole[:middle], whole[: middle + 700]):
        path.write_bytes(content)
        began = time.monotonic()
        with pytest.raises(ShardError, match=r"tiles-train-0001\.tar"):
            read(train, 50)
        assert time.monotonic() - began < 10
        with pytest.raises(ShardError, match=r"tiles-train-0001\.tar"):
            look_into(path)
    path.write_bytes(whole)
    assert look_into(path).samples == 7


def test_a_value_that_is_none_names_its_sample(tmp_path):
    tiles = write_foreign(tmp_path / "tiles", samples=6, only=("png",))
    path = tiles / "tiles-train-0000.tar"
    raw = path.read_bytes()
    spoiled = picture(3)
    path.write_bytes(raw.replace(spoiled, spoiled[:60] + bytes(len(spoiled) - 60)))
    _, train, _ = open_samples(tiles, ["a.npy=png"])
    with pytest.raises(ShardError, match=r"tiles-train-0000/s00003, column a\.npy: the picture cannot be decoded"):
        read(train, 4, ["a.npy"])


def test_counts_are_those_of_the_headers(tiles):
    tar = look_into(tiles / "tiles-train-0000.tar", places=True)
    assert (tar.samples, tar.columns) == (7, Counter(dict.fromkeys(members(0), 7)))
    assert [number_of(key) for key in tar.keys] == list(range(0, 35, 5))
