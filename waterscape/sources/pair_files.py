"""Photos and satellite tiles as files: those of a folder, and what each says of its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError
from waterscape.sources import photo_facts
from waterscape.sources.photo_facts import sidecars_among
from waterscape.sources.photo_file import DAMAGED, NOT_BY_NAME, Limits, PhotoError, files_below, is_hidden
from waterscape.sources.photo_tally import Dropped, plain
from waterscape.sources.place import locate
from waterscape.sources.quiet import no_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PLACE = re.compile(r"(?P<latitude>[-+]?\d{1,2}(\.\d+)?),\s*(?P<longitude>[-+]?\d{1,3}(\.\d+)?)", re.ASCII)


@dataclass(frozen=True)
class PictureFile:
    """A file of one of the two folders."""

    name: str
    path: Path

    @property
    def key(self) -> str:
        """By which partners know one another: the file's name without its ending."""
        return self.path.stem


@dataclass(frozen=True)
class Side:
    """A sound picture of one of the two folders, and what its first reading found."""

    file: PictureFile
    sha256: str
    width: int
    height: int
    ways: tuple[str, ...]
    facts: dict[str, Any]
    """See `photo_facts`; coordinates from the name too."""
    synthetic: bool
    fingerprint: str

    @property
    def place(self) -> tuple[float, float] | None:
        """Longitude and latitude in degrees, where known."""
        return (self.facts["longitude"], self.facts["latitude"]) if "longitude" in self.facts else None


@dataclass(frozen=True)
class Folder:
    """One of the two folders."""

    name: str
    files: tuple[PictureFile, ...]
    hidden: tuple[Dropped, ...]

    @classmethod
    def find(cls, path: Path) -> Folder:
        """All files below it but sidecars. Raises `UserError` where there is none."""
        if not path.is_dir():
            raise UserError(f"{path} is no folder: give a folder of pictures")
        below = list(files_below(path))
        beside = sidecars_among(set(below))
        named = {plain(file.relative_to(path).as_posix()): file for file in below if file not in beside}
        if not named:
            raise UserError(f"{path} is empty: give a folder of pictures")
        hidden = [name for name, file in named.items() if is_hidden(file.relative_to(path).parts)]
        files = tuple(PictureFile(name, file) for name, file in sorted(named.items()) if name not in set(hidden))
        return cls(
            plain(path.resolve().name), files, tuple(Dropped(name, NOT_BY_NAME, "hidden") for name in sorted(hidden))
        )

    @property
    def count(self) -> int:
        """Of all its files."""
        return len(self.files) + len(self.hidden)

    def sides(self, looked: Sequence[Mapping[str, Any]]) -> tuple[list[Side], list[Dropped]]:
        """The sound pictures, and the others, by what the first reading found of each file."""
        sound, dropped = [], list(self.hidden)
        for file, facts in zip(self.files, looked, strict=True):
            if "reason" in facts:
                dropped.append(Dropped(file.name, facts["reason"], facts["detail"]))
            else:
                sound.append(Side(file, **{**facts, "ways": tuple(facts["ways"])}))
        return sound, dropped


def place_in_name(stem: str) -> dict[str, float]:
    """Coordinates of a name such as `55.1234,37.5678`, latitude first; nothing where it is another kind of name."""
    match = PLACE.fullmatch(stem.strip())
    if match is None:
        return {}
    latitude, longitude = float(match["latitude"]), float(match["longitude"])
    return {"longitude": longitude, "latitude": latitude} if abs(latitude) <= 90 and abs(longitude) <= 180 else {}


def place_in_geotiff(path: Path) -> dict[str, Any]:
    """Coordinates of the centre and metres per pixel of a GeoTIFF, as Earth Engine exports it; nothing of others."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return {}
    import rasterio
    from rasterio.errors import RasterioError

    with no_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        try:
            with rasterio.open(path, driver="GTiff") as dataset:
                if dataset.crs is None or dataset.transform.is_identity:
                    return {}
                place = locate(dataset.crs.to_string(), dataset.transform, dataset.width, dataset.height)
        except (RasterioError, ValueError, RuntimeError) as error:  # pyproj's errors are RuntimeErrors
            raise PhotoError(DAMAGED, f"cannot be placed on the Earth ({error})") from error
    metres = [round(length, 6) for length in place.metres_per_pixel]
    return {"longitude": place.longitude, "latitude": place.latitude, "metres_per_pixel": metres}


def look(file: PictureFile, limits: Limits) -> dict[str, Any]:
    """What a picture's first reading finds (see `photo_facts.look`), its place by its name or as a GeoTIFF too."""
    return photo_facts.look(file.path, limits, more=_place_of)


def _place_of(path: Path) -> dict[str, Any]:
    return place_in_name(path.stem) | place_in_geotiff(path)
