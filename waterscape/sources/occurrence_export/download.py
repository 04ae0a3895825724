"""Sheets of tiles straight from Earth Engine into a folder, some tiles a request: each tile whole or absent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterscape.sources.occurrence_export.folder import BAND, EMPTY, SOFTWARE
from waterscape.sources.occurrence_export.tile_file import MASKED, decoded, write_tile
from waterscape.sources.tile_requests import Done, Outcome, answered, computed, each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import ee

    from waterscape.sources.occurrence_export.sheets import Sheet

REQUEST_PIXELS = 1024
"""Side of what is asked for at once, where tiles are smaller: 1 MB, of 48 that are allowed."""
REQUEST_SECONDS = (2.0, 20.0)
"""What a request may take the servers: an assumption, for lack of figures in the documentation."""


@dataclass(frozen=True)
class Block:
    """Tiles of a sheet that are asked for together, by the smallest rectangle around them."""

    sheet: Sheet
    tiles: tuple[tuple[int, int], ...]

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the north-western tile of the rectangle."""
        return min(row for row, _ in self.tiles), min(column for _, column in self.tiles)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the rectangle in pixels."""
        top, left = self.corner
        size = self.sheet.tile_size
        down, across = max(row for row, _ in self.tiles), max(column for _, column in self.tiles)
        return (down - top + 1) * size, (across - left + 1) * size

    def __str__(self) -> str:
        return self.sheet.path(self.tiles[0]) + (f" and {len(self.tiles) - 1} more" if len(self.tiles) > 1 else "")


def blocks_of(sheet: Sheet, tiles: Sequence[tuple[int, int]], request_pixels: int = REQUEST_PIXELS) -> list[Block]:
    """Tiles of a sheet in blocks that do not depend on which of them are left."""
    side = max(1, request_pixels // sheet.tile_size)
    found: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for row, column in tiles:
        found[row // side, column // side].append((row, column))
    return [Block(sheet, tuple(inside)) for _, inside in sorted(found.items())]


def download(blocks: Sequence[Block], image: str, folder: Path, at_once: int) -> Iterator[Outcome]:
    """Ask for blocks and put their tiles into a folder that was begun; `waterscape.sources.earthengine` is connected.

    Yields the same `Outcome` after each block.

    Raises:
        EarthEngineError: access is refused, or the service is out of reach. What was written stays.
    """
    return each(blocks, lambda block: _download(block, image, folder), str, folder / EMPTY, at_once)


def _download(block: Block, image: str, folder: Path) -> Done:
    """Ask for a block and write its tiles, but those that hold nothing. Raises `EarthEngineError`."""
    sheet, (top, left), (height, width) = block.sheet, block.corner, block.shape
    transform = sheet.transform(block.corner)
    percent = answered(
        str(block),
        lambda: computed(_unmasked(image), [BAND], sheet.crs, transform, width, height),
        lambda content: decoded(content, sheet.crs, transform, width, height),
    )
    empty, size = [], sheet.tile_size
    for tile in block.tiles:
        row, column = (tile[0] - top) * size, (tile[1] - left) * size
        mine = percent[row : row + size, column : column + size]
        if (mine == MASKED).all():
            empty.append(sheet.path(tile))
        else:
            write_tile(folder / sheet.path(tile), mine, sheet.crs, sheet.transform(tile), _tags(sheet, image))
    return Done(len(block.tiles) - len(empty), empty)


def occurrence(image: str) -> ee.Image:
    """The band as whole percent, masked where water was never seen."""
    import ee

    band: ee.Image = ee.Image(image).select([BAND]).toByte()
    return band


def _unmasked(image: str) -> ee.Image:
    filled: ee.Image = occurrence(image).unmask(MASKED, False).toByte()
    return filled


def _tags(sheet: Sheet, image: str) -> Mapping[str, str]:
    return {"image": image, "part": sheet.part, "software": SOFTWARE}
