"""Sheets of water occurrence as exports to Drive or Cloud Storage: tasks that write a file for each tile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from waterscape.errors import UserError
from waterscape.sources.occurrence_export.download import occurrence
from waterscape.sources.occurrence_export.sheets import MOST_PIXELS
from waterscape.sources.occurrence_export.tile_file import MASKED
from waterscape.sources.place import in_service_words

if TYPE_CHECKING:
    import ee

    from waterscape.sources.occurrence_export.sheets import Sheet

BUCKET = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(?P<folder>[\w./=-]*[\w=-]))?/?")
TASK_PIXELS_PER_SECOND = (1e5, 1e6)
RUNNING = 2
"""How fast a task may be, an assumption for lack of figures; and how many of a project usually run at a time."""


@dataclass(frozen=True)
class Destination:
    """Where tasks write to."""

    kind: Literal["drive", "bucket"]
    place: str
    """What Drive's folders begin with, or the bucket."""
    folder: str = ""
    """In the bucket."""

    @classmethod
    def read(cls, words: str, out: str) -> Destination:
        """`drive`, or `gs://BUCKET/FOLDER`. Raises `UserError`."""
        if words == "drive":
            return cls("drive", out)
        match = BUCKET.fullmatch(words)
        if match is None:
            raise UserError(f"--to {words}: give download, drive, or gs://BUCKET/FOLDER")
        return cls("bucket", match["bucket"], match["folder"] or "")

    def of(self, sheet: Sheet) -> str:
        """Where a sheet's files are put, up to the beginning of their names."""
        if self.kind == "drive":
            return f"drive:{self.place}_{sheet.part}/{sheet.name}"
        return "gs://" + "/".join(filter(None, (self.place, self.folder, sheet.part, sheet.name)))


@dataclass(frozen=True)
class FileExport:
    """A sheet as one task (see `Wanted`)."""

    sheet: Sheet
    image: str
    destination: Destination
    overwrite: bool = False

    @property
    def name(self) -> str:
        """The sheet's."""
        return self.sheet.name

    @property
    def asset(self) -> str:
        """Where its files are put."""
        return self.destination.of(self.sheet)

    @property
    def to_look_after(self) -> str:
        """What to do where the service has forgotten the task."""
        return f"see whether {self.asset}-*.tif are there; if not, --again {self.name} starts another"

    def made(self) -> None:
        """Nobody here can look into somebody's Drive: unknown."""

    def task(self, description: str) -> ee.batch.Task:
        """The task, not started: the sheet's exact rectangle, a file a tile, none where all is masked."""
        import ee

        rows, columns = self.sheet.shape
        size = self.sheet.tile_size
        words: dict[str, Any] = {
            "image": occurrence(self.image).clip(_ground(self.sheet)),
            "description": description,
            "dimensions": [columns * size, rows * size],
            "crs": in_service_words(self.sheet.crs),
            "crsTransform": list(self.sheet.transform()),
            "maxPixels": MOST_PIXELS,
            "fileDimensions": size,
            "shardSize": size,
            "skipEmptyTiles": True,
            "fileFormat": "GeoTIFF",
            "formatOptions": {"noData": MASKED},
        }
        if self.destination.kind == "drive":
            folder, _, prefix = self.asset.removeprefix("drive:").partition("/")
            made: ee.batch.Task = ee.batch.Export.image.toDrive(folder=folder, fileNamePrefix=prefix, **words)
            return made
        bucket, _, prefix = self.asset.removeprefix("gs://").partition("/")
        to_bucket: ee.batch.Task = ee.batch.Export.image.toCloudStorage(bucket=bucket, fileNamePrefix=prefix, **words)
        return to_bucket


def _ground(sheet: Sheet) -> ee.Geometry:
    """The sheet's tiles as one outline in its own coordinate system: what lies beside them is masked."""
    import ee
    import shapely
    from shapely.geometry import mapping

    left, top, side = sheet.left, sheet.top, sheet.side
    boxes = [
        shapely.box(left + column * side, top - (row + 1) * side, left + (column + 1) * side, top - row * side)
        for row, column in sheet.tiles
    ]
    union = shapely.union_all(boxes, grid_size=side * 1e-6)
    shape: ee.Geometry = ee.Geometry(mapping(union), in_service_words(sheet.crs), False)
    return shape
