"""Water occurrence tiles: reading what Earth Engine exports (or PNG in percent), and the rules that tell unfit ones.

Occurrence is the share of a pixel's observations in which it was water, 0–100 percent (Pekel 2016,
doi:10.1038/nature20584; Earth Engine `JRC/GSW1_4/GlobalSurfaceWater`, band `occurrence`, masked where water was never
seen). Masked pixels are read as 0.
"""

from __future__ import annotations

import json
import re
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.sources.place import Place, locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SUFFIXES = (".tif", ".tiff", ".png")
EXPORT_NAME = re.compile(r"(?P<region>.+)-(?P<row>\d{10})-(?P<column>\d{10})")
SYNTHETIC_MARK = "world.json"  # stands in the folder of a synthetic world's tiles


@dataclass(frozen=True)
class Tile:
    """One tile as it was read."""

    bands: int
    width: int
    height: int
    occurrence: NDArray[np.uint8] | None
    """H W, 0–100 percent, masked pixels 0. None where the size was not the one asked for: not decoded then."""
    observed: NDArray[np.bool_] | None
    """H W, False where masked. None where the file knows of no mask."""
    place: Place | None
    crc: int = 0
    """Of the pixels as the files hold them, by which a second reading is known to have found the same."""
    covered: NDArray[np.bool_] | None = None
    """H W, False where the files that the tile was cut from have no pixel. None: they cover all of it."""
    exported: NDArray[np.uint8] | None = None
    """The same ground in the pixels of the files, where these are not the tile's own: artefacts run along them."""


def find(sources: list[Path]) -> dict[str, Path]:
    """All tiles of folders (searched recursively) and files, sorted: name below the sources' common folder → path.

    Raises:
        UserError: a source that does not exist or holds no tile, or a file that is no tile by its ending; no source.
    """
    if not sources:
        raise UserError(f"no tiles were named: give folders of them, or tiles ({', '.join(SUFFIXES)})")
    found: set[Path] = set()
    for source in sources:
        if not source.exists():
            raise UserError(f"{source} does not exist: give a folder of tiles, or tiles ({', '.join(SUFFIXES)})")
        if source.is_dir():
            inside = (path for path in source.resolve().rglob("*") if path.suffix.lower() in SUFFIXES)
            tiles = {path for path in inside if not path.name.startswith(".") and path.is_file()}
            if not tiles:
                raise UserError(f"{source} holds no tile ({', '.join(SUFFIXES)}): give the folder of an export")
            found |= tiles
        elif source.suffix.lower() in SUFFIXES:
            found.add(source.resolve())
        else:
            raise UserError(f"{source} is no tile by its ending: give GeoTIFF (.tif, .tiff) or PNG in percent (.png)")
    root = _common_folder([source.resolve() for source in sources])
    named = {path.relative_to(root).as_posix(): path for path in found}
    return dict(sorted(named.items()))


def _common_folder(paths: list[Path]) -> Path:
    folders = [path if path.is_dir() else path.parent for path in paths]
    return next(
        folder for folder in (folders[0], *folders[0].parents) if all(path.is_relative_to(folder) for path in folders)
    )


@cache
def is_synthetic(folder: Path) -> bool:
    """Whether the folder, or one above it, is marked as a synthetic world's: a `world.json` that says so."""
    return any(_says_synthetic(above) for above in (folder, *folder.parents))


@cache
def _says_synthetic(folder: Path) -> bool:
    mark = folder / SYNTHETIC_MARK
    if not mark.is_file():
        return False
    try:
        facts = json.loads(mark.read_bytes())
    except ValueError as error:
        raise UserError(f"{mark} is damaged ({error}): make the world again, or take the file out") from error
    return isinstance(facts, dict) and facts.get("synthetic") is True


def region_and_offsets(path: Path) -> tuple[str, tuple[int, int] | None]:
    """Region and (row, column) in pixels from an export's name `{region}-{row:010d}-{column:010d}`; else the folder."""
    match = EXPORT_NAME.fullmatch(path.stem)
    if match is None:
        return path.parent.name, None
    return match["region"], (int(match["row"]), int(match["column"]))


def read(path: Path, size: int | None = None) -> Tile:
    """Read a tile; where `size` is given, a picture that is not `size` × `size` pixels is not decoded.

    Raises:
        UserError: the file cannot be read, or it is neither one band of whole percent, nor three equal 8-bit bands
            (0–255, the visualised form), nor an 8-bit grey PNG in percent.
    """
    return _read_png(path, size) if path.suffix.lower() == ".png" else _read_geotiff(path, size)


def _read_png(path: Path, size: int | None) -> Tile:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode != "L":
                    raise UserError(f"{path} is a PNG of mode {image.mode}: give 8-bit grey, in percent")
                width, height = image.size
                fits = size is None or (width, height) == (size, size)
                percent = np.asarray(image) if fits else None
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} claims to be a gigantic picture: take it out of the folder") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's, for all that can be wrong with a file
        raise UserError(f"{path} cannot be read ({error}): take it out of the folder, or get it again") from error
    if percent is not None and percent.max() > 100:
        raise UserError(f"{path} holds {percent.max()}, above 100: give occurrence in percent")
    return Tile(1, width, height, percent, None, None, 0 if percent is None else _crc(percent, None))


def _crc(percent: NDArray[np.uint8], observed: NDArray[np.bool_] | None) -> int:
    return zlib.crc32(b"" if observed is None else observed.tobytes(), zlib.crc32(percent.tobytes()))


def _read_geotiff(path: Path, size: int | None) -> Tile:
    with open_geotiff(path) as dataset:
        place = _place(path, dataset)
        if size is not None and (dataset.width, dataset.height) != (size, size):
            return Tile(dataset.count, dataset.width, dataset.height, None, None, place)
        percent, observed = read_percent(path, dataset)
        return Tile(dataset.count, dataset.width, dataset.height, percent, observed, place, _crc(percent, observed))


@contextmanager
def open_geotiff(path: Path, **options: str) -> Iterator[Any]:
    """A GeoTIFF, open (with GDAL's options), that can be occurrence by its header. Raises `UserError` where not."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    # GDAL would list the whole folder for every tile, and take other files there for parts of it.
    with warnings.catch_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path, driver="GTiff", **options)
        except RasterioError as error:
            raise UserError(f"{path} is not a GeoTIFF that can be read: export it again, or take it out") from error
        with dataset:
            _check_bands(path, dataset)
            yield dataset


def read_percent(path: Path, dataset: Any, window: Any = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Pixels of an open GeoTIFF (H W, 0–100 percent, masked 0) and, where it knows of a mask, which were observed.

    Args:
        path: of the file, for messages.
        dataset: as `open_geotiff` gives it.
        window: the part to read (`rasterio.windows.Window`); None: all of it.
    """
    from rasterio.errors import RasterioError

    try:
        bands = dataset.read(window=window)
        all_valid = all("all_valid" in {flag.name for flag in flags} for flags in dataset.mask_flag_enums)
        observed = None if all_valid else dataset.dataset_mask(window=window) > 0
    except RasterioError as error:
        raise UserError(f"{path} is damaged or cut off: export it again, or take it out") from error
    return _percent(path, bands, observed), observed


def _check_bands(path: Path, dataset: Any) -> None:
    """Refuse by the header alone what cannot be an occurrence tile."""
    kinds = {str(kind) for kind in dataset.dtypes}
    if dataset.count not in (1, 3):
        raise UserError(f"{path} has {dataset.count} bands: give one band of percent, or three equal ones of 0–255")
    if any(kind.startswith(("float", "complex")) for kind in kinds):
        nan = ", NaN among them" if dataset.count == 1 and _holds_nan(dataset) else ""
        raise UserError(f"{path} holds {kinds.pop()} values{nan}: export whole percent, .unmask(0).toByte()")
    if dataset.count == 3 and kinds != {"uint8"}:
        raise UserError(f"{path} has three bands of {kinds.pop()}: the visualised form has 8 bits, 0–255")


def _holds_nan(dataset: Any) -> bool:
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    try:
        part = dataset.read(1, window=Window(0, 0, min(dataset.width, 1024), min(dataset.height, 1024)))
    except RasterioError:
        return False
    return bool(np.isnan(part).any())


def _percent(path: Path, bands: NDArray[Any], observed: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Bands as read (B H W) → H W in whole percent, masked pixels 0."""
    if len(bands) == 3:
        if (bands[0] != bands[1]).any() or (bands[0] != bands[2]).any():
            raise UserError(f"{path} has three unequal bands: that is a colour picture, not occurrence made visible")
        percent = (bands[0].astype(np.uint16) * 200 + 255) // 510
    else:
        percent = bands[0]
    if observed is not None:
        percent = np.where(observed, percent, 0)
    low, high = percent.min(), percent.max()
    if low < 0 or high > 100:
        raise UserError(f"{path} holds {low if low < 0 else high}, outside 0–100: give occurrence in percent")
    whole: NDArray[np.uint8] = percent.astype(np.uint8)
    return whole


def _place(path: Path, dataset: Any) -> Place | None:
    """From CRS and transform; None where the file has not both."""
    if dataset.crs is None or dataset.transform.is_identity:
        return None
    try:
        return locate(dataset.crs.to_string(), dataset.transform, dataset.width, dataset.height)
    except (ValueError, RuntimeError) as error:  # pyproj's errors are RuntimeErrors
        raise UserError(f"{path} cannot be placed on the Earth ({error}): export it again, or take it out") from error
