"""Zip bombs and pixel bombs in shards: small files that grow without end where somebody unpacks them.

Each is met by every verb that looks into sets, in a process that may not have the memory of what it would become.
"""

import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.shard import index_dtype, tar_header

UNPACKED = 1 << 29  # bytes
ROOM = 192 << 20  # bytes beyond what the process has when it starts

ZEROS = bytes(1 << 20)


def npz():
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as one,
    ):
        np.lib.format.write_array_header_1_0(one, {"descr": "|u1", "fortran_order": False, "shape": (UNPACKED,)})
        for _ in range(UNPACKED // len(ZEROS)):
            one.write(ZEROS)
    return file.getvalue()


def gz():
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="w", compresslevel=1) as packed:
        for _ in range(UNPACKED // len(ZEROS)):
            packed.write(ZEROS)
    return file.getvalue()


def png(kind=None, body=b"", side=4):
    """A PNG with one more chunk, or with a header that promises more pixels than there are."""
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG", pnginfo=PngInfo())
    whole = file.getvalue()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    more = chunk(kind, body) if kind else b""
    return whole[:8] + chunk(b"IHDR", header) + more + whole[33:]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture(scope="module")
def bombs():
    """Name of a member → its bytes."""
    packed = gz()
    stream = b"\x78\x01" + packed[10:-8] + struct.pack(">I", 1 + (UNPACKED % 65521 << 16))  # zlib's form of the same
    assert len(packed) < UNPACKED // 200
    zipped = npz()
    return {
        "a.npz": zipped,
        "a.npy.gz": packed,
        "zip.npy": zipped,
        "gzip.npy": packed,
        "gzip.txt": packed,
        "text.png": png(b"zTXt", b"comment\0\0" + stream),
        "itxt.png": png(b"iTXt", b"comment\0\1\0\0\0" + stream),
        "profile.png": png(b"iCCP", b"profile\0\0" + stream),
        "pixels.png": png(side=60_000),
    }


def vouched(directory, payloads):
    """A set of one sample that holds these, with an index and a manifest that swear to it."""
    directory.mkdir()
    raw, index = b"", np.zeros(1, index_dtype(1, list(payloads)))
    index["key"] = b"1"
    for column, payload in payloads.items():
        record = tar_header(f"1.{column}", len(payload)) + payload + bytes(-len(payload) % 512)
        index[column] = (len(raw), len(payload), zlib.crc32(record))
        raw += record
    name = f"{directory.name}-train-000000"
    (directory / f"{name}.tar").write_bytes(raw + bytes(1024))
    np.save(directory / f"{name}.index.npy", index)
    sums = [
        hashlib.sha256((directory / f"{name}.{ending}").read_bytes()).hexdigest() for ending in ("tar", "index.npy")
    ]
    columns = tuple(Column(column, None, None) for column in payloads)
    Manifest(directory.name, columns, (Shard(name, "train", 1, len(raw) + 1024, *sums),), {}).save(directory)
    return directory


LIMITED = f"""
import contextlib, io, json, resource, sys
import waterscape.data.foreign, waterscape.data.repair, waterscape.pages.shards
from waterscape.data.renamed import Renamed
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch

def told(work):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            print(work())
        except UserError as error:
            print("refused:", error)
    return out.getvalue()

def limit():
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + {ROOM},) * 2)
"""


def limited(script, *words):
    """What a script tells, as JSON; it limits its own memory once everything is imported."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED + script, *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_limit_is_one_that_unpacking_breaks(bombs, tmp_path):
    (tmp_path / "a.npz").write_bytes(bombs["a.npz"])
    (tmp_path / "a.gz").write_bytes(bombs["a.npy.gz"])
    script = """
import gzip, numpy
limit()
found = []
for unpack in (lambda: numpy.load(sys.argv[1])["a"].size, lambda: len(gzip.open(sys.argv[2]).read())):
    try:
        found.append(unpack())
    except MemoryError:
        found.append("no memory")
print(json.dumps(found))
"""
    assert limited(script, tmp_path / "a.npz", tmp_path / "a.gz") == ["no memory"] * 2


LOOKED_AT = """
limit()

def read(place, as_picture=False):
    shards = ShardSet(place, "train")
    (column,) = (column.name for column in shards.columns)
    if as_picture:
        return Renamed(shards, {"picture.npy": column}).value(0, 0, "picture.npy").shape
    return len(shards.value(0, 0, column))

print(json.dumps({place.rpartition("/")[2]: {
    "check": told(lambda: dispatch(["check", place, "--threads", "1"])),
    "info": told(lambda: dispatch(["info", place, "--out", place + "-look"])),
    "repair": told(lambda: dispatch(["repair", place, "--out", place + "-repaired"])),
    "read": told(lambda: read(place)),
    "decoded": told(lambda: read(place, as_picture=True)),
} for place in sys.argv[1:]}))
"""
KEPT = "whole: 1 shards"
FORBIDDEN = "a forbidden extension"
NO_ARRAY = "the magic string is not correct"
TOO_LARGE = "Decompressed data too large"
PIXELS = "a photo of 60000 × 60000 pixels: more than 134217728 are not decoded"
TOLD = {  # by `check`, and by who wants an array of it
    "a.npz": (FORBIDDEN, "cannot be stored"),
    "a.npy.gz": (FORBIDDEN, "cannot be stored"),
    "zip.npy": (NO_ARRAY, NO_ARRAY),
    "gzip.npy": (NO_ARRAY, NO_ARRAY),
    "gzip.txt": (KEPT, "invalid literal for int()"),
    "text.png": (KEPT, TOO_LARGE),
    "itxt.png": (KEPT, TOO_LARGE),
    "profile.png": (KEPT, TOO_LARGE),
    "pixels.png": (PIXELS, PIXELS),
}


def test_a_bomb_in_a_shard_is_refused_or_kept_as_it_is_by_whoever_looks_into_the_set(bombs, tmp_path):
    places = {name: vouched(tmp_path / name.replace(".", "-"), {name: bombs[name]}) for name in TOLD}
    found = limited(LOOKED_AT, *places.values())
    for name, (checked, decoded) in TOLD.items():
        told = found[places[name].name]
        assert checked in told["check"], (name, told)
        assert told["check"].endswith("0\n" if checked == KEPT else "1\n")
        assert "refused" in told["decoded"], (name, told)
        assert decoded in told["decoded"], (name, told)
        if checked == FORBIDDEN:  # no manifest may have such a column
            assert all("cannot be stored" in told[verb] for verb in ("info", "repair", "read")), (name, told)
            continue
        assert "1 samples in 1 shards" in told["info"], (name, told)
        assert told["info"].endswith("0\n")
        assert ("1 train kept" if checked == KEPT else "nothing was left of the input") in told["repair"], (name, told)
        whole = f"{len(bombs[name])}\n"  # the file's bytes as they are
        assert whole == told["read"] if checked != NO_ARRAY else NO_ARRAY in told["read"], (name, told)


def sparse(name, size):
    """A record of 1024 bytes whose header promises any size, the rest of it zeros (GNU tar's sparse files)."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    return summed(header) + bytes(512)


def huge_note(size):
    """A PAX header that claims any size."""
    info = tarfile.TarInfo("note")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.GNU_FORMAT)


def summed(header):
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


STREAMED = """
from pathlib import Path
from waterscape.data.stream import Streamed
from waterscape.data.tars import open_tars
limit()

def stream(place):
    train, held_out = open_tars(place)[1:]
    held_out.value(0, 0, "txt")
    with contextlib.closing(Streamed(train, ["txt"], batch=1, seed=0)) as batches:
        return len(next(batches).columns["txt"][0])

print(json.dumps({place.rpartition("/")[2]: {
    "stream": told(lambda: stream(Path(place))),
    "index": told(lambda: dispatch(["index", place])),
} for place in sys.argv[1:]}))
"""


def test_a_bomb_in_tars_without_index_is_refused_before_anything_is_read(bombs, tmp_path):
    plain = tar_header("2.txt", 2) + b"ab" + bytes(510)
    tars = {
        "plain": plain + bytes(1024),
        "sparse": sparse("1.txt", UNPACKED) + plain + bytes(1024),
        "vast": sparse("1.txt", 1 << 50) + plain + bytes(1024),
        "note": huge_note(1 << 30) + plain + bytes(1024),
        "gzip": bombs["a.npy.gz"],
    }
    for name, content in tars.items():
        (tmp_path / name).mkdir()
        for split in ("train", "valid"):
            (tmp_path / name / f"{split}.tar").write_bytes(content)
    found = limited(STREAMED, *(tmp_path / name for name in tars))
    assert found["plain"] == {"stream": "2\n", "index": found["plain"]["index"]}
    for name in ("sparse", "vast"):
        assert "train.tar cannot be read to its end (offset 0: a sparse member" in found[name]["stream"]
        assert "1, column txt, offset 0: is a GNU sparse file" in found[name]["index"]
    for name in ("note", "gzip"):
        assert "train.tar cannot be read to its end" in found[name]["stream"]
    for name in tars.keys() - {"plain"}:
        assert "nothing written" in found[name]["index"], found[name]
        assert not (tmp_path / name / "manifest.json").exists()
