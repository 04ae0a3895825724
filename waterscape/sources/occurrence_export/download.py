"""Sheets of tiles straight from Earth Engine into a folder, some tiles a request: each tile whole or absent."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waterscape.durable import Lines
from waterscape.sources.earthengine import EarthEngineError, RefusedError, UnreachableError, explained
from waterscape.sources.occurrence_export.folder import BAND, EMPTY, SOFTWARE
from waterscape.sources.occurrence_export.tile_file import MASKED, TileError, decoded, write_tile
from waterscape.sources.requests_at_once import in_any_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import ee

    from waterscape.sources.occurrence_export.sheets import Sheet

REQUEST_PIXELS = 1024
"""Side of what is asked for at once, where tiles are smaller: 1 MB, of 48 that are allowed."""
ATTEMPTS = 3  # at a block whose answer is none
FAILURES_IN_A_ROW = 5  # to reach the service, after which it is not asked again
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


@dataclass
class Outcome:
    """What became of the tiles that were asked for."""

    written: int = 0
    empty: int = 0
    """All of them masked: water was never seen there."""
    failed: dict[str, str] = field(default_factory=dict)
    """Block → reason. Its tiles are absent; the same command asks for them again."""


def download(blocks: Sequence[Block], image: str, folder: Path, at_once: int) -> Iterator[Outcome]:
    """Ask for blocks and put their tiles into a folder that was begun; `waterscape.sources.earthengine` is connected.

    Yields the same `Outcome` after each block.

    Raises:
        EarthEngineError: access is refused, or the service is out of reach. What was written stays.
    """
    outcome, in_a_row = Outcome(), 0
    results = in_any_order(blocks, lambda block: _download(block, image, folder), at_once, EarthEngineError)
    with closing(results), closing(Lines(folder / EMPTY)) as empty:
        for block, result in results:
            in_a_row = in_a_row + 1 if isinstance(result, UnreachableError) else 0  # others are the block's own
            if isinstance(result, EarthEngineError):
                outcome.failed[str(block)] = str(result)
                if isinstance(result, RefusedError):
                    raise result
                if in_a_row >= FAILURES_IN_A_ROW:
                    raise UnreachableError(
                        f"{in_a_row} requests in a row failed, the last: {result}. {outcome.written} tiles are "
                        "written; the same command goes on"
                    )
            else:
                outcome.written += len(block.tiles) - len(result)
                outcome.empty += len(result)
                if result:
                    empty.write("".join(f"{path}\n" for path in result))
                    empty.sync()
            yield outcome


def _download(block: Block, image: str, folder: Path) -> list[str]:
    """Ask for a block and write its tiles; returns the files of those that hold nothing. Raises `EarthEngineError`."""
    sheet, (top, left), (height, width) = block.sheet, block.corner, block.shape
    for attempt in range(1, ATTEMPTS + 1):
        with explained(str(block)):
            content = _computed(block, image)
        try:
            percent = decoded(content, sheet.crs, sheet.transform(block.corner), width, height)
            break
        except TileError as error:
            if attempt == ATTEMPTS:
                raise EarthEngineError(f"{block}: {error}, {ATTEMPTS} times") from error
    empty, size = [], sheet.tile_size
    for tile in block.tiles:
        row, column = (tile[0] - top) * size, (tile[1] - left) * size
        mine = percent[row : row + size, column : column + size]
        if (mine == MASKED).all():
            empty.append(sheet.path(tile))
        else:
            write_tile(folder / sheet.path(tile), mine, sheet.crs, sheet.transform(tile), _tags(sheet, image))
    return empty


def occurrence(image: str) -> ee.Image:
    """The band as whole percent, masked where water was never seen."""
    import ee

    band: ee.Image = ee.Image(image).select([BAND]).toByte()
    return band


def _computed(block: Block, image: str) -> bytes:
    """A GeoTIFF of the block's pixels, as the servers compute it."""
    import ee

    a, b, c, d, e, f = block.sheet.transform(block.corner)
    affine = {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f}
    height, width = block.shape
    content: bytes = ee.data.computePixels(
        {
            "expression": occurrence(image).unmask(MASKED, False).toByte(),
            "fileFormat": "GEO_TIFF",
            "bandIds": [BAND],
            "grid": {
                "dimensions": {"width": width, "height": height},
                "affineTransform": affine,
                "crsCode": block.sheet.crs,
            },
        }
    )
    return content


def _tags(sheet: Sheet, image: str) -> Mapping[str, str]:
    return {"image": image, "part": sheet.part, "software": SOFTWARE}
