import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest
from small_set import sample, write_set

from waterscape.data.manifest import Column, Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.shard import ShardWriter
from waterscape.errors import UserError


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_tars_hold_whole_samples_in_plain_ustar(water):
    seen = []
    for shard in Manifest.load(water).shards:
        with tarfile.open(water / f"{shard.name}.tar", "r:") as tar:
            members = tar.getmembers()
        keys = [member.name.split(".")[0] for member in members]
        assert keys == sorted(keys)  # members of a sample are adjacent
        assert len(set(keys)) == shard.samples <= 6
        assert not any(member.pax_headers for member in members)
        assert {(m.mode, m.uid, m.gid, m.mtime, m.type) for m in members} == {(0o644, 0, 0, 0, tarfile.REGTYPE)}
        assert all(shard.split == ("test" if int(key) % 5 == 4 else "train") for key in keys)
        seen += set(keys)
    assert sorted(seen) == [f"{number:09d}" for number in range(41)]


def test_index_and_manifest_describe_the_bytes(water):
    for shard in Manifest.load(water).shards:
        tar, index = (water / f"{shard.name}.{ending}" for ending in ("tar", "index.npy"))
        raw = tar.read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (shard.bytes, shard.sha256)
        assert hashlib.sha256(index.read_bytes()).hexdigest() == shard.index_sha256
        with tarfile.open(tar, "r:") as members:
            inside = {member.name: member for member in members}
        for row in np.load(index, allow_pickle=False):
            for column in row.dtype.names[1:]:
                offset, size, crc = row[column].tolist()
                member = inside.pop(f"{row['key'].decode()}.{column}", None)
                if member is None:
                    assert (offset, size, crc) == (-1, -1, 0)
                    continue
                assert (member.offset, member.size) == (offset, size)
                assert zlib.crc32(raw[offset : offset + 512 + -(-size // 512) * 512]) == crc
        assert not inside


def test_manifest_knows_which_columns_are_of_one_shape(water):
    assert Manifest.load(water).columns == (
        Column("bodies.npy", None, None),
        Column("jpg", None, None),
        Column("json", None, None),
        Column("label.npy", "<i8", ()),
        Column("occurrence.npy", "|u1", (5, 7)),
        Column("rare.npy", "<i2", (1,)),
    )


def test_packed_again_is_byte_identical_whatever_the_order_of_columns(water, tmp_path, monkeypatch):
    monkeypatch.setattr("small_set.sample", lambda number: dict(reversed(sample(number).items())))
    write_set(tmp_path / "again" / "water")
    assert contents(tmp_path / "again" / "water") == contents(water)


def test_stock_webdataset_reads_the_tars(water):
    script = """
import json, sys, webdataset
out = [[s["__key__"], s["occurrence.npy"].tolist(), s["json"], s["jpg"].decode("latin-1")]
       for s in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode()]
print(json.dumps(out))
"""
    tars = [str(water / f"{shard.name}.tar") for shard in Manifest.load(water).split("train")]
    environment = {**os.environ, "WDS_SECURE": "1"}
    done = subprocess.run([sys.executable, "-c", script, *tars], env=environment, capture_output=True, check=True)
    numbers = [number for number in range(41) if number % 5 != 4]
    expected = [
        [
            f"{n:09d}",
            sample(n)["occurrence.npy"].tolist(),
            sample(n)["json"],
            sample(n)["jpg"].decode("latin-1"),
        ]
        for n in numbers
    ]
    assert json.loads(done.stdout) == expected


def test_existing_directories_are_kept_unless_told_otherwise(water, tmp_path):
    before = contents(water)
    with pytest.raises(UserError, match="exists"):
        write_set(water)
    assert contents(water) == before
    write_set(water, samples=7, replace=True)
    assert sum(shard.samples for shard in Manifest.load(water).shards) == 7
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("dear")
    with pytest.raises(UserError, match="no set of shards"):
        write_set(mine, replace=True)
    assert contents(mine) == {"thesis.txt": b"dear"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "water"]


def test_an_error_leaves_nothing_and_the_old_set_as_it_was(water, tmp_path, monkeypatch):
    before = contents(water)
    finish = ShardWriter.finish

    def disk_full(writer):
        if writer.tar.stem.endswith("000001"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return finish(writer)

    monkeypatch.setattr(ShardWriter, "finish", disk_full)
    for out in (water, tmp_path / "other"):
        with pytest.raises(OSError, match="No space left"):
            write_set(out, replace=True)
    assert contents(water) == before
    assert [path.name for path in tmp_path.iterdir()] == ["water"]


def test_what_a_killed_writer_left_is_swept_up_but_not_a_living_one(tmp_path):
    out = tmp_path / "water"
    script = f"""
import os, numpy as np
from waterscape.data.pack import SetWriter
writer = SetWriter({str(out)!r}, facts={{}})
writer.add("train", {{"x.npy": np.zeros(9)}})
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == [".water.partial"]
    with SetWriter(out, facts={}) as writer:
        with pytest.raises(UserError, match="another process"):
            SetWriter(out, facts={})
        writer.add("train", {"x.npy": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["water"]
    assert Manifest.load(out).columns == (Column("x.npy", "<f8", (3,)),)


def test_an_empty_set_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no samples"), SetWriter(tmp_path / "water", facts={}):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".hidden", "white space", "ü"])
def test_names_that_would_not_do_as_file_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="name"):
        SetWriter(tmp_path / name, facts={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("split", "values"), [("../up", {"x.npy": np.zeros(1)}), ("train", {}), ("train", {"pkl": b""})]
)
def test_bad_samples_are_refused(tmp_path, split, values):
    with pytest.raises(UserError), SetWriter(tmp_path / "water", facts={}) as writer:  # noqa: PT012
        writer.add("train", sample(0))
        writer.add(split, values)
    assert not list(tmp_path.iterdir())


def test_npy_members_are_readable_by_numpy(water):
    shard = Manifest.load(water).split("train")[0]
    with tarfile.open(water / f"{shard.name}.tar", "r:") as tar:
        raw = tar.extractfile("000000000.occurrence.npy").read()
    np.testing.assert_array_equal(np.load(io.BytesIO(raw), allow_pickle=False), sample(0)["occurrence.npy"])
