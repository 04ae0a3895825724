"""Every damage that files can take is found by `check`, and told with shard, sample and offset."""

import dataclasses
import hashlib
import io
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from flipped_bits import assert_no_flip_is_missed
from small_set import sample, write_set

from waterscape.data.doctor import check
from waterscape.data.manifest import FILE, Column, Manifest, Shard
from waterscape.data.pack import SetWriter
from waterscape.data.shard import index_dtype, tar_header
from waterscape.errors import UserError

FIRST = "water-train-000000"


def told(directory):
    return [str(finding) for finding in check(directory, threads=2).findings]


@pytest.fixture
def tiny(tmp_path):
    """One shard of three samples: small, so that thousands of damages can be tried."""
    with SetWriter(tmp_path / "tiny", facts={"synthetic": True}) as writer:
        for number in range(3):
            writer.add("train", sample(number))
    return tmp_path / "tiny"


def test_a_whole_set_is_whole(water):
    report = check(water)
    assert report.findings == ()
    assert (report.shards, report.samples) == (8, 41)
    assert report.bytes == sum(shard.bytes for shard in Manifest.load(water).shards)


@pytest.mark.filterwarnings("ignore")  # NumPy's, of damaged headers
@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("file", ["tiny-train-000000.tar", "tiny-train-000000.index.npy", FILE])
def test_no_flipped_bit_is_missed(tiny, file, times):
    assert_no_flip_is_missed(tiny, file, times, seed=times)


def test_a_tar_cut_anywhere_is_told(tiny):
    path = tiny / "tiny-train-000000.tar"
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 512), *range(1, len(whole), 1111), len(whole) - 1]:
        path.write_bytes(whole[:length])
        findings = told(tiny)
        assert f"tiny-train-000000.tar, offset {length}: {length} bytes, the manifest says {len(whole)}" in findings
    path.write_bytes(whole + bytes(512))
    assert any("the tar ends in 3 blocks of zeros instead of 2" in line for line in told(tiny))


def test_a_flipped_bit_is_told_with_shard_sample_column_and_offset(water):
    row = np.load(water / f"{FIRST}.index.npy")[2]
    offset = int(row["json"]["offset"])
    raw = bytearray((water / f"{FIRST}.tar").read_bytes())
    raw[offset + 515] ^= 4
    raw[10] ^= 1  # the name in the very first header, which its own checksum then denies
    (water / f"{FIRST}.tar").write_bytes(raw)
    findings = told(water)
    where = f"{FIRST}.tar, sample {row['key'].decode()}, column json, offset {offset}: "
    assert any(line.startswith(where + "crc32") for line in findings)
    first = f"{FIRST}.tar, sample 000000000, column bodies.npy, offset 0: "
    assert {first + "its header is damaged"} <= set(findings)
    assert any(line.startswith(f"{FIRST}.tar: sha256") for line in findings)


def test_missing_doubled_and_swapped_shards_are_told_with_the_difference(water):
    names = [f"water-train-00000{number}" for number in range(3)]
    (water / f"{names[0]}.tar").rename(water / "kept")
    (line,) = told(water)
    assert f"{names[0]}.tar: missing: 6 samples of split train, 000000000 to 000000006" in line
    (water / f"{names[2]}.tar").rename(water / f"{names[0]}.tar")
    (water / "kept").rename(water / f"{names[2]}.tar")
    for one, other in ((0, 2), (2, 0)):
        swapped = [line for line in told(water) if line.startswith(f"{names[one]}.tar: sha256")]
        assert len(swapped) == 1
        assert f"this is {names[other]}.tar" in swapped[0]


def test_files_that_no_manifest_knows_are_told(water):
    shutil.copy(water / f"{FIRST}.tar", water / "water-train-000099.tar")
    (water / "more.tar.gz").write_bytes(b"x")
    assert told(water) == [
        "more.tar.gz: unknown: the manifest has no such shard",
        f"water-train-000099.tar: unknown: the manifest has no such shard; it is a copy of {FIRST}.tar, or that file "
        "under another name",
    ]
    (water / "water-train-000099.tar").unlink()
    (water / "more.tar.gz").unlink()
    manifest = Manifest.load(water)
    doubled = dataclasses.replace(manifest.shards[0], name="water-test-000099")
    dataclasses.replace(manifest, shards=(*manifest.shards, doubled), _bytes=None).save(water)
    for ending in ("tar", "index.npy"):
        shutil.copy(water / f"{manifest.shards[0].name}.{ending}", water / f"water-test-000099.{ending}")
    findings = told(water)
    assert any(
        "water-test-000099.tar: doubled: the manifest knows it as water-test-000000.tar too" in f for f in findings
    )
    assert any(
        "sample 000000004: its key is used 2 times, in water-test-000000, water-test-000099" in f for f in findings
    )


def vouch(directory, raw, index=None):
    """A set of one shard whose tar holds `raw`, with a manifest and an index that swear to it."""
    directory.mkdir(exist_ok=True)
    index = np.empty(0, index_dtype(3, ["json"])) if index is None else index
    (directory / "bad-train-000000.tar").write_bytes(raw)
    np.save(directory / "bad-train-000000.index.npy", index)
    sums = [
        hashlib.sha256((directory / f"bad-train-000000.{ending}").read_bytes()).hexdigest()
        for ending in ("tar", "index.npy")
    ]
    columns = tuple(Column(name, None, None) for name in index.dtype.names[1:])
    Manifest("bad", columns, (Shard("bad-train-000000", "train", len(index), len(raw), *sums),), {}).save(directory)
    return directory


def member(name, kind=tarfile.REGTYPE, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


@pytest.mark.parametrize(
    ("name", "kind", "fields", "message"),
    [
        ("1.pkl", tarfile.REGTYPE, {}, "forbidden extension"),
        ("1.weights.pth", tarfile.REGTYPE, {}, "forbidden extension"),
        ("1.pyd", tarfile.REGTYPE, {}, "forbidden extension"),
        ("pipe:touch canary", tarfile.REGTYPE, {}, "absolute path"),
        ("../1.json", tarfile.REGTYPE, {}, "leads out with '..'"),
        ("/1.json", tarfile.REGTYPE, {}, "absolute path"),
        ("1.json", tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "a symbolic link"),
        ("1.json", tarfile.LNKTYPE, {"linkname": "2.json"}, "a hard link"),
        ("1.json", tarfile.CHRTYPE, {"devmajor": 1}, "a character device"),
        ("1.json", tarfile.BLKTYPE, {}, "a block device"),
        ("1.json", tarfile.FIFOTYPE, {}, "a named pipe"),
        ("d", tarfile.DIRTYPE, {}, "a directory"),
        ("é" * 90 + ".json", tarfile.REGTYPE, {}, "a GNU header"),
    ],
)
def test_what_does_not_belong_into_a_shard_is_told_and_nothing_is_done_with_it(
    tmp_path, monkeypatch, name, kind, fields, message
):
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.GNU_FORMAT) as tar:
        info, data = member(
            name, kind, b"cos\nsystem\n(S'touch canary'\ntR." if kind == tarfile.REGTYPE else b"", **fields
        )
        tar.addfile(info, io.BytesIO(data))
    findings = told(vouch(tmp_path / "bad", buffer.getvalue()))
    assert any(message in line and "offset 0: " in line for line in findings)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_member_that_the_index_hides_is_told(tmp_path):
    record = tar_header("1.json", 2) + b"{}" + bytes(510)
    (line,) = told(vouch(tmp_path / "bad", record + bytes(1024)))
    assert line == "bad-train-000000.tar, sample 1, column json, offset 0: its index does not list it"


@pytest.mark.parametrize("hostile", ["size", "npy", "json", "jpg", "index"])
def test_memory_stays_bounded_whatever_sizes_are_claimed(tmp_path, hostile):
    payloads = {
        "npy": b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117)
        + b"\n",
        "json": b"[" * 100_000,
        "jpg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(30),
    }
    ending = hostile if hostile in payloads else "json"
    payload = payloads.get(hostile, b"{}")
    head = tar_header(f"1.{ending}", len(payload))
    if hostile == "size":
        info = tarfile.TarInfo("1.json")
        info.size = 2**40
        head = info.tobuf(tarfile.GNU_FORMAT)
    directory = vouch(tmp_path / "bad", head + payload + bytes(-len(payload) % 512) + bytes(1024))
    if hostile == "index":
        path = directory / "bad-train-000000.index.npy"
        path.write_bytes(path.read_bytes().replace(b"(0,), }        ", b"(99999999999,)}"))
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    script = f"""
import resource, sys
from waterscape.data.doctor import check
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 256 * 2**20, {limit}))
print(*check(sys.argv[1], threads=1).findings, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = {
        "size": "false size|no octal number",
        "npy": "bytes, where its .npy header asks for 1099511627904",
        "json": "JSON is unreadable",
        "jpg": "65535 × 65535 pixels",
        "index": "is no index",
    }[hostile]
    assert any(words in done.stdout for words in expected.split("|")), done.stdout


def test_records_that_are_not_adjacent_are_told(tmp_path):
    records = [tar_header(f"{key}.{column}.json", 2) + b"{}" + bytes(510) for column in "ab" for key in "12"]
    index = np.zeros(2, index_dtype(1, ["a.json", "b.json"]))
    index["key"] = [b"1", b"2"]
    from zlib import crc32

    for place, record in enumerate(records):
        index["ab"[place // 2] + ".json"][place % 2] = (place * 1024, 2, crc32(record))
    (line,) = [f for f in told(vouch(tmp_path / "bad", b"".join(records) + bytes(1024), index)) if ".tar" in f]
    assert "offset 2048" in line
    assert "not adjacent" in line


def test_what_is_no_set_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no set of shards"):
        check(tmp_path)


def test_the_command_tells_every_finding_and_leaves_with_1(tmp_path):
    write_set(tmp_path / "water")
    command = [sys.executable, "-m", "waterscape", "shards", "check", tmp_path / "water"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "whole: 8 shards, 41 samples" in done.stdout
    for number in (0, 3):
        (tmp_path / "water" / f"water-train-00000{number}.index.npy").unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"water-train-00000{number}.index.npy: missing" for number in (0, 3)]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no file that cannot be read")
def test_an_error_of_the_disk_is_a_finding_and_the_other_shards_are_read(water):
    (water / f"{FIRST}.tar").unlink()
    (water / f"{FIRST}.tar").symlink_to("/proc/self/mem")  # whose first page is nowhere: EIO
    (water / "water-train-000001.index.npy").unlink()
    findings = told(water)
    assert f"{FIRST}.tar: cannot be read: Input/output error" in findings
    assert findings[-1] == "water-train-000001.index.npy: missing"
