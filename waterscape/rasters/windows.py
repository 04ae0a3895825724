"""The parts that a raster of any size is taken in: large ones to read, small ones to compute."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from waterscape.sources.landsat.raster_file import Window, opened

if TYPE_CHECKING:
    from waterscape.sources.landsat.scene import Scene

SIDE = 1024
"""Pixels a side of a part that is read at once: whole blocks of the files that are usual."""
LEAST_ROWS = 64
"""Of a part of a file in strips, which each cross all of the raster."""
TILE = 205
"""Pixels a side, about, that go through a network at once: five of them cover a part. Measured with 192, a little less:
twice as fast as 512, whose activations leave the cache and are given back to the system after each layer."""


def parts_of(scene: Scene, reach: int) -> list[Window]:
    """The parts of a scene, row by row: `SIDE` × `SIDE` pixels, or as many in whole rows of a file in strips.

    With the `reach` pixels around it that are read too, a part ends where the file's blocks do: else a row and a column
    of blocks more would be decoded for it, of 36 in blocks of 256.
    """
    layer = scene.layers["B2"]
    with opened(layer.path) as dataset:
        _, block_width = dataset.block_shapes[layer.band - 1]
    height, width = scene.shape
    if block_width >= width > SIDE:
        return split(height, width, max(LEAST_ROWS, SIDE * SIDE // width), width)
    rows, columns = (spans(length, reach) for length in scene.shape)
    return [(row, column, tall, wide) for row, tall in rows for column, wide in columns]


def spans(length: int, reach: int) -> list[tuple[int, int]]:
    """Where along an axis each part begins, and its length."""
    edges = [0, *range(SIDE - reach, length - reach, SIDE), length]
    return [(begin, end - begin) for begin, end in pairwise(edges)]


def evenly(length: int, about: int) -> int:
    """Into how many pixels each, about so many, a length is divided so that no narrow rest is left."""
    return -(-length // max(1, round(length / about)))


def split(height: int, width: int, tall: int, wide: int) -> list[Window]:
    """Windows of `tall` × `wide` pixels that cover height × width, row by row; the last of each row are smaller."""
    return [
        (row, column, min(tall, height - row), min(wide, width - column))
        for row in range(0, height, tall)
        for column in range(0, width, wide)
    ]
