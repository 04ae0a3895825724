"""The fast reading of a shard says "whole" of just what the walk finds nothing wrong with."""

import dataclasses
import hashlib
import io
import zlib

import numpy as np
import pytest
from small_set import sample

from waterscape.data import fast_check, shard_check
from waterscape.data.doctor import check
from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.shard import BLOCK
from waterscape.data.shard_check import check_shard

NAME = "tiny-train-000000"


@pytest.fixture
def tiny(tmp_path):
    with SetWriter(tmp_path / "tiny", facts={"synthetic": True}) as writer:
        for number in range(5):
            writer.add("train", sample(number))
    return tmp_path / "tiny"


def vouched(directory, raw, index):
    """Store a tar and an index; a manifest's entry that swears to both."""
    (directory / f"{NAME}.tar").write_bytes(raw)
    table = io.BytesIO()
    np.save(table, index)
    (directory / f"{NAME}.index.npy").write_bytes(table.getvalue())
    sums = (hashlib.sha256(content).hexdigest() for content in (raw, table.getvalue()))
    (shard,) = Manifest.load(directory).shards
    return dataclasses.replace(shard, bytes=len(raw), **dict(zip(("sha256", "index_sha256"), sums, strict=True)))


def both_ways(directory, shard):
    """Whether the fast reading was content, and what the walk finds."""
    columns = {column.name: column for column in Manifest.load(directory).columns}
    answers = []

    def fast(*arguments):
        answers.append(fast_check.intact(*arguments))
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_check, "intact", fast)
        findings = check_shard(directory, shard.name, shard, columns).findings
    return answers == [True], findings


def test_a_whole_shard_needs_no_walk(water, monkeypatch):
    monkeypatch.setattr(shard_check, "Walk", None)
    read = []
    report = check(water, threads=2, advance=read.append)
    assert report.findings == ()
    assert sum(read) == report.bytes == sum(shard.bytes for shard in Manifest.load(water).shards)


@pytest.mark.parametrize("run", [1024, pytest.param(4096, marks=pytest.mark.long), fast_check.RUN])
@pytest.mark.parametrize("mended", [False, True])
def test_it_agrees_with_the_walk_on_any_bit_even_if_all_sums_fit(tiny, monkeypatch, mended, run):
    monkeypatch.setattr(fast_check, "RUN", run)
    whole = (tiny / f"{NAME}.tar").read_bytes()
    honest = np.load(tiny / f"{NAME}.index.npy")
    records = [
        (int(offset), BLOCK + -(-int(size) // BLOCK) * BLOCK, row, column)
        for column in honest.dtype.names[1:]
        for row, (offset, size, _) in enumerate(honest[column].tolist())
        if size >= 0
    ]
    largest = max(length for _, length, _, _ in records)
    random = np.random.default_rng(run)
    content = 0
    for _ in range(150):
        offset, length, row, column = records[random.integers(len(records))]
        place = offset + int(random.integers(length))
        raw, index = bytearray(whole), honest.copy()
        raw[place] ^= 1 << int(random.integers(8))
        if mended:  # by a writer who lies
            index[column]["crc32"][row] = zlib.crc32(raw[offset : offset + length])
        fast, findings = both_ways(tiny, vouched(tiny, bytes(raw), index))
        assert fast == (not findings and largest <= run), (place, findings)
        content += fast
    assert (content > 0) == (mended and largest <= run)  # bits of the pictures themselves, to which anybody may swear


@pytest.mark.parametrize("change", ["gap", "tail", "cut", "doubled", "hidden", "order", "key", "size", "crc32"])
def test_tars_and_indexes_that_do_not_belong_together_are_left_to_the_walk(tiny, change):
    raw, index = (tiny / f"{NAME}.tar").read_bytes(), np.load(tiny / f"{NAME}.index.npy")
    second = int(index["bodies.npy"]["offset"][1])
    if change == "gap":
        raw = raw[:second] + bytes(BLOCK) + raw[second:]
    elif change == "tail":
        raw += bytes(BLOCK)
    elif change == "cut":
        raw = raw[:-BLOCK]
    elif change == "doubled":
        raw = raw[:second] * 2 + raw[second:]
    elif change == "hidden":
        index = index[1:]
    elif change == "order":
        index[[0, 1]] = index[[1, 0]]
    elif change == "key":
        index["key"][2] = b"../000002"
    else:
        index["json"][change][3] += 1
    fast, findings = both_ways(tiny, vouched(tiny, raw, index))
    assert not fast
    assert findings


def test_records_longer_than_a_run_are_walked(tmp_path):
    with SetWriter(tmp_path / "long", facts={}) as writer:
        writer.add("train", {"x.npy": np.zeros(fast_check.RUN, np.uint8), "jpg": b"\xff\xd8"})
    report = check(tmp_path / "long")
    assert report.findings == ()
    assert report.bytes == Manifest.load(tmp_path / "long").shards[0].bytes
