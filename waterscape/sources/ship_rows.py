"""The JSON form of ship chips: an object whose `data` are rows of whole numbers, all reds, all greens, all blues.

Beside `data` stand lists with an entry a row, each of which may be missing: `labels` (0: no ship, 1: ship), `locations`
(longitude and latitude) and `scene_ids`. Published files have hundreds of megabytes: the rows are found by their
brackets and read one at a time, so that memory does not grow with the file.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.photo_file import PhotoError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NO_ROWS = "no rows of chips in it"
WRONG_LENGTH, WRONG_VALUES = "a row of another length", "a row of other values than 0 to 255"
DATA = re.compile(rb'"data"\s*:\s*\[')
OPENING, AFTER = re.compile(rb"\s*\["), re.compile(rb"\s*([,\]])")
ROW = re.compile(rb"[\s\d,.eE+-]*\]")
EMPTY = re.compile(rb"\s*\]")
PLAIN = b"0123456789, \t\r\n[]"
BESIDE = ("labels", "locations", "scene_ids")
MOST_BESIDE = 1 << 28  # bytes of everything but the rows


@dataclass(frozen=True)
class Rows:
    """Where the rows of a file lie, and what stands beside them."""

    places: list[tuple[int, int]]
    """First byte of each row, and the one after its last."""
    beside: dict[str, list[Any]]
    """Those of `BESIDE` that the file has."""


def find_rows(path: Path) -> Rows:
    """Find all rows of a file.

    Raises:
        PhotoError: it has no `data`.
        UserError: it is damaged, or a list beside the rows has another length.
    """
    if not path.stat().st_size:
        raise PhotoError(NO_ROWS, "0 bytes")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = DATA.search(content)
        if start is None:
            raise PhotoError(NO_ROWS, 'no "data"')
        places, end = _rows(path, content, start.end())
        if start.start() + len(content) - end > MOST_BESIDE:
            raise UserError(f"{path}: more than {MOST_BESIDE} bytes stand beside its rows: it is no file of chips")
        rest = content[: start.end()] + content[end - 1 :]
    try:
        found = json.loads(rest)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged beside its rows ({error}): get it again") from error
    if not isinstance(found, dict) or found.get("data") != []:
        raise PhotoError(NO_ROWS, '"data" is not at its top')
    beside = {name: found[name] for name in BESIDE if found.get(name) is not None}
    for name, values in beside.items():
        if not isinstance(values, list) or len(values) != len(places):
            count = len(values) if isinstance(values, list) else "no list of"
            raise UserError(f"{path}: {count} {name} for {len(places)} rows: get the file again, or take {name} out")
    return Rows(places, beside)


def _rows(path: Path, content: mmap.mmap, position: int) -> tuple[list[tuple[int, int]], int]:
    """The places of all rows, and where their list ends, given where it begins."""
    places: list[tuple[int, int]] = []
    if empty := EMPTY.match(content, position):
        return places, empty.end()
    while True:
        opening = OPENING.match(content, position)
        closing = ROW.match(content, opening.end()) if opening else None
        after = AFTER.match(content, closing.end()) if closing else None
        if opening is None or closing is None or after is None:
            raise UserError(f"{path} is damaged or cut short in row {len(places)}, byte {position}: get it again")
        places.append((opening.end() - 1, closing.end()))
        position = after.end()
        if after[1] == b"]":
            return places, position


def read_row(path: Path, place: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """A row as H W 3. Raises `PhotoError` where it is none of that side."""
    start, stop = place
    descriptor = os.open(path, os.O_RDONLY)
    try:
        text = os.pread(descriptor, stop - start, start)
    finally:
        os.close(descriptor)
    try:
        values = _numbers(text)
    except ValueError as error:
        raise PhotoError(WRONG_VALUES, str(error)) from error
    if values.shape != (3 * side * side,):
        raise PhotoError(WRONG_LENGTH, f"{values.size} numbers, where {side} × {side} × 3 are {3 * side * side}")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise PhotoError(WRONG_VALUES, f"{values.min()} to {values.max()}, {values.dtype}")
    return np.ascontiguousarray(values.astype(np.uint8).reshape(3, side, side).transpose(1, 2, 0))


def _numbers(text: bytes) -> NDArray[Any]:
    """The numbers of a JSON array. Raises `ValueError`. Whole ones are read four times as fast as by a JSON parser."""
    if text.translate(None, PLAIN) or text[:-1].rstrip().endswith(b","):
        return np.array(json.loads(text))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # so old releases of NumPy tell of what they cannot read
        try:
            return np.fromstring(text[1:-1].decode(), np.int64, sep=",")
        except DeprecationWarning as error:
            raise ValueError(str(error)) from error
