"""Samples whose columns go by a model's names: `--columns occurrence64.npy=png`, the model's name and the stored one.

Where the model's column is an array (`.npy`) and the stored one a picture or a number, it is decoded: pictures to
uint8, H × W or H × W × 3, `.cls` and `.txt` to int64.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from waterscape.data.contents import payload_faults
from waterscape.data.manifest import Column
from waterscape.data.samples import Samples
from waterscape.data.shard import COLUMN, ShardError, Value, decode
from waterscape.errors import UserError

PICTURES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True)
class Renamed:
    """Other samples, whose columns have further names. `sources`: the model's name of a column → the stored one."""

    samples: Samples
    sources: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.samples)

    def close(self) -> None:
        """Let go of open files."""
        self.samples.close()

    def locate(self, number: int) -> tuple[int, int]:
        """Shard and row of a sample."""
        return self.samples.locate(number)

    def read(self, number: int) -> dict[str, Value]:
        """Every column of a sample, under all its names."""
        there, place = self.samples.read(number), self.locate(number)
        return there | {column: self.value(*place, column) for column, name in self.sources.items() if name in there}

    def value(self, shard: int, row: int, column: str) -> Value:
        """One value. Raises `ShardError`."""
        if column not in self.sources:
            return self.samples.value(shard, row, column)
        try:
            return decode_as(column, self.sources[column], bytes(self.payload(shard, row, column)))
        except ShardError:
            raise
        except ValueError as error:
            raise self.fault(shard, row, column, str(error)) from error

    def payload(self, shard: int, row: int, column: str) -> bytes | memoryview:
        """The bytes of one value. Raises `ShardError`."""
        return self.samples.payload(shard, row, self.sources.get(column, column))

    def fault(self, shard: int, row: int, column: str, what: str) -> ShardError:
        """An error that names the sample."""
        return self.samples.fault(shard, row, self.sources.get(column, column), what)


def decode_as(column: str, source: str, payload: bytes) -> Value:
    """What is stored as `source`, as the value that a model's `column` wants. Raises `ValueError`."""
    ending = source.rpartition(".")[2]
    if not column.endswith("npy") or ending == "npy":
        return decode(source, payload)
    if ending in PICTURES:
        for fault in payload_faults(source, len(payload), payload, None):
            raise ValueError(fault)
        try:
            with Image.open(io.BytesIO(payload), formats=("JPEG", "PNG", "WEBP")) as picture:
                return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"the picture cannot be decoded ({' '.join(str(error).split())[:80]})") from error
    if ending in ("cls", "txt"):
        return np.array(int(payload), np.int64)
    raise ValueError(f"{source} cannot be read as {column}")


def parse_sources(words: Iterable[str], stored: Iterable[Column]) -> dict[str, str]:
    """`occurrence64.npy=png` as {"occurrence64.npy": "png"}.

    Raises:
        UserError: another form, or no such column among those `stored`.
    """
    names = [column.name for column in stored]
    sources = {}
    for word in words:
        column, _, source = word.partition("=")
        if not (COLUMN.fullmatch(column) and COLUMN.fullmatch(source)):
            raise UserError(f"--columns {word} is not MODEL'S=STORED, such as --columns occurrence64.npy=png")
        if source not in names:
            raise UserError(f"--columns {word}: there is no column {source}, there are {', '.join(names)}")
        sources[column] = source
    return sources
