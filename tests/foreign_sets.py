"""Small synthetic sets as other programs write them: webdataset's writers, GNU tar, Python's tarfile."""

import io
import json
import subprocess
import tarfile

import numpy as np
import webdataset
from PIL import Image

WRITERS = ("webdataset", "gnu", "pax", "ustar")


def picture(number, ending="png"):
    """A file of 64 × 64 grey pixels."""
    pixels = np.random.default_rng(number).integers(0, 101, (64, 64)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format={"jpg": "JPEG"}.get(ending, ending))
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def members(number):
    """Column → bytes of one sample."""
    return {
        "cls": str(number % 3).encode(),
        "jpg": picture(number, "jpg"),
        "json": json.dumps({"number": number, "name": "ö"}, indent=1).encode(),
        "occurrence64.npy": npy((np.arange(64 * 64).reshape(64, 64) + number).astype(np.uint8) % 101),
        "png": picture(number),
        "txt": f"tile {number}\n".encode(),
    }


def write_foreign(directory, writer="webdataset", samples=12, tars=3, folder="", only=None):
    """`tars` tars of `samples` samples in all, the last one called valid."""
    directory.mkdir(parents=True, exist_ok=True)
    for tar in range(tars):
        name = f"tiles-{'valid' if tar == tars - 1 else 'train'}-{tar:04d}.tar"
        mine = {
            f"{folder}s{number:05d}": {k: v for k, v in members(number).items() if only is None or k in only}
            for number in range(tar, samples, tars)
        }
        {"webdataset": _webdataset, "gnu": _gnu, "pax": _tarfile, "ustar": _tarfile}[writer](
            directory / name, mine, writer
        )
    return directory


def _webdataset(path, samples, _writer):
    with webdataset.TarWriter(str(path), encoder=False) as stock:
        for key, columns in samples.items():
            stock.write({"__key__": key, **columns})


def _tarfile(path, samples, writer):
    kind = tarfile.PAX_FORMAT if writer == "pax" else tarfile.USTAR_FORMAT
    with tarfile.open(path, "w", format=kind) as tar:
        for key, columns in samples.items():
            for column, payload in columns.items():
                info = tarfile.TarInfo(f"{key}.{column}")
                info.size, info.mtime, info.uname, info.uid = len(payload), 1.7e9 + 0.25, "somebody", 1000
                if writer == "pax":
                    info.pax_headers = {"comment": "synthetic", "SCHILY.xattr.user.note": "x"}
                tar.addfile(info, io.BytesIO(payload))


def _gnu(path, samples, _writer):
    """`tar -cf X .`: directories, ./ before the names, blanks at the end."""
    folder = path.with_suffix("")
    for key, columns in samples.items():
        for column, payload in columns.items():
            file = folder / f"{key}.{column}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(payload)
    subprocess.run(["tar", "--sort=name", "-cf", path, "-C", folder, "."], check=True)
    subprocess.run(["rm", "-r", folder], check=True)
