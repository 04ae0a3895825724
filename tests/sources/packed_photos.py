"""What the tests of packers of photographs share: synthetic pictures, bad files, a set's samples."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image
from programs import run_program, run_tool

from waterscape.__main__ import dispatch
from waterscape.data.manifest import Manifest


def picture(number, height=60, width=80):
    """A smooth synthetic picture, unlike that of any other number, without symmetry."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3)).astype(np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **{"quality": 92, **options})
    return stream.getvalue()


def exif(orientation=None, place=None, **tags):
    """EXIF with an orientation, and degrees east and north."""
    made = Image.Exif()
    if orientation:
        made[0x0112] = orientation
    for tag, text in tags.items():
        made[{"copyright": 0x8298, "artist": 0x013B}[tag]] = text
    if place:
        east, north = place

        def sixtieths(value):
            return (int(value), int(value * 60 % 60), round(value * 3600 % 60, 4))

        made.get_ifd(0x8825).update(
            {
                1: "S" if north < 0 else "N",
                2: sixtieths(abs(north)),
                3: "W" if east < 0 else "E",
                4: sixtieths(abs(east)),
            }
        )
    return made.tobytes()


def png_bomb(width, height):
    """A PNG of some hundred bytes whose header promises any size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_bomb(width, height):
    photo = bytearray(jpeg(picture(0), progressive=True))
    frame = photo.index(b"\xff\xc2")
    photo[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(photo)


def samples(out):
    """Every sample of a set, read by tarfile alone: (split, key) → column → value."""
    found = {}
    for shard in Manifest.load(out).shards:
        with tarfile.open(out / f"{shard.name}.tar") as tar:
            for member in tar:
                key, _, column = member.name.partition(".")
                content = tar.extractfile(member).read()
                if column.endswith("json"):
                    content = json.loads(content)
                elif column.endswith("npy"):
                    content = np.load(io.BytesIO(content))
                found.setdefault((shard.split, key), {})[column] = content
    return found


def by_source(out):
    return {values["json"]["source"]: values for values in samples(out).values()}


def hashes(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def dropped(out):
    """Name → reason, as the list beside the shards has it."""
    lines = (out / "dropped.tsv").read_text().splitlines()
    assert lines[0] == "reason\tname\tdetail"
    return {line.split("\t")[1]: line.split("\t")[0] for line in lines[1:]}


def pack(tool, *words):
    """Run tools/pack_….py within this process: exit code, stdout, stderr."""
    return run_tool(f"pack_{tool}", *words, "--processes", 1)


def packed(tool, *words):
    code, told, error = pack(tool, *words)
    assert code == 0, error
    return told


def packed_by_program(tool, *words):
    """As `packed`, in a process of its own with two workers."""
    done = run_program(f"tools/pack_{tool}.py", *words, "--processes", 2)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(tool, *words):
    """The one line by which a mistake is told."""
    code, told, error = pack(tool, *words)
    lines = error.splitlines()
    assert code == 1, (told, lines)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def checked(out):
    """`waterscape shards check` finds the set whole, and `info` tells of it."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert dispatch(["shards", "check", str(out)]) == 0
        assert dispatch(["shards", "info", str(out), "--out", str(out.parent / "look")]) == 0
    return told.getvalue()
