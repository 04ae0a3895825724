"""Whether a member of a tar may stand in a shard, judged by its name and the first bytes of its payload."""

from __future__ import annotations

import json
import math
import re

import numpy as np

from waterscape.data.manifest import Column
from waterscape.data.npy import npy_header, read_npy_header
from waterscape.data.shard import BEGINNINGS, COLUMN, EXTENSIONS, KEY, KINDS, split_member

FOREIGN_KEY = re.compile(r"([ -~]+/)*[ -.0-~]+")  # printable ASCII; a path belongs to it
MOST_PIXELS = 1 << 27  # of a photo: 400 MB once it is decoded
SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers of a frame's size (ITU T.81, table B.1)
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def name_faults(name: str, *, foreign: bool = False) -> list[str]:
    """What forbids a member of this name: a path that leads out, an extension that is not data, a key that is none.

    The keys of a `foreign` tar may be paths, and of any printable ASCII characters.
    """
    if name.startswith(("/", "\\")) or ":" in name or (foreign and "\\" in name):
        return ["an absolute path: nothing outside of the tar may be named"]
    if ".." in name.replace("\\", "/").split("/"):
        return ["a path that leads out with '..'"]
    key, column = split_member(name)
    if not COLUMN.fullmatch(column):
        return [f"a forbidden extension: only {', '.join('.' + ending for ending in EXTENSIONS)} are data"]
    if foreign:
        return [] if FOREIGN_KEY.fullmatch(key) else ["its key is not of printable ASCII characters"]
    return [] if KEY.fullmatch(key) else ["its key is not of letters, digits, '-' and '_'"]


def payload_faults(name: str, size: int, head: bytes, column: Column | None) -> list[str]:
    """What is wrong with a payload of `size` bytes that begins with `head`; `column`: what the manifest promises."""
    ending = name.rpartition(".")[2]
    if ending == "npy" and column is not None and column.dtype is not None and column.shape is not None:
        expected = npy_header(column.dtype, column.shape)
        if not head.startswith(expected):
            return _array(size, head) or [f"its array is not {column.dtype} {column.shape}, as the manifest says"]
        return _length(size, len(expected), column.dtype, column.shape)
    if ending == "npy":
        return _array(size, head)
    if ending == "json":
        return _json(size, head)
    if not head.startswith(BEGINNINGS.get(ending, b"")):
        return [f"it is no {'JPEG' if ending in ('jpg', 'jpeg') else ending.upper()}"]
    if ending == "png" and head[12:16] == b"IHDR":
        return _pixels(*(int.from_bytes(head[at : at + 4], "big") for at in (16, 20)))
    if ending == "webp":
        return _webp(head)
    return _jpeg(head) if ending in ("jpg", "jpeg") else []


def _webp(head: bytes) -> list[str]:
    """Its size stands in the first chunk: extended, lossless or lossy (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return _pixels(*(1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27)))
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return _pixels(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        return _pixels(*(int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28)))
    return []


def _array(size: int, head: bytes) -> list[str]:
    try:
        header = read_npy_header(head)
    except ValueError as error:
        return [str(error)]
    if header.fortran_order or header.dtype.kind not in KINDS or header.dtype.itemsize > 8:
        return [f"an array of dtype {header.dtype} in {'Fortran' if header.fortran_order else 'C'} order is not read"]
    return _length(size, header.bytes, header.dtype.str, header.shape)


def _length(size: int, start: int, dtype: str, shape: tuple[int, ...]) -> list[str]:
    expected = start + math.prod(shape) * np.dtype(dtype).itemsize
    return [] if size == expected else [f"{size} bytes, where its .npy header asks for {expected}"]


def _json(size: int, head: bytes) -> list[str]:
    if len(head) < size:
        return [f"a JSON of {size} bytes: more than {len(head)} are not read"]
    try:
        value = json.loads(str(head, "utf-8"))
    except (ValueError, RecursionError) as error:
        return [f"its JSON is unreadable ({str(error)[:80]})"]
    return [] if isinstance(value, dict) else ["its JSON is no object"]


def _jpeg(head: bytes) -> list[str]:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in SIZES:
            height, width = (int.from_bytes(head[place + at : place + at + 2], "big") for at in (5, 7))
            return _pixels(width, height)
        length = 0 if marker in WITHOUT_LENGTH else int.from_bytes(head[place + 2 : place + 4], "big")
        place += 2 + length
    return []


def _pixels(width: int, height: int) -> list[str]:
    if width * height <= MOST_PIXELS:
        return []
    return [f"a photo of {width} × {height} pixels: more than {MOST_PIXELS} are not decoded"]
