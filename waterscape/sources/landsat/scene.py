"""A Landsat scene as reflectances and elevation, read by windows: the same for packing and for prediction.

`open_scene(path).bands((0, 0, 512, 512))` are the eight bands of its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.sources.landsat.bands import BANDS, ELEVATION_METRES, MARGIN, OFFSET, REFLECTANCES, SCALE, band_stack
from waterscape.sources.landsat.layers import MEASURED, NO_BANDS, Layer, SceneError, beside, layers_in, layers_of
from waterscape.sources.landsat.raster_file import NO_FILE, Grid, Opening, Window, header_of, opened, part_of, same_grid
from waterscape.sources.landsat.scaling import LANDSAT, Scaling, scaling_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from rasterio import Affine

APART, ALL_NODATA, UNLIKE = "bands on different grids", "all nodata", "bands of different scales"
IN_CACHE = 1 << 15  # pixels that are scaled at once: of more, eight bytes each leave the cache between two steps
FILL = -9999  # of HLS, in reflectances
LOWEST, HIGHEST = -500.0, 9000.0  # metres: what lies beyond is a void of SRTM (−32768), or another value for nodata
LOOKED_AT = 600  # pixels a side up to which numbers are judged by all of a scene,
PATCH, ACROSS = 64, 4  # else by patches of so many pixels a side, so many along an axis


@dataclass(frozen=True)
class Scene:
    """A raster of any size; nothing of it is in memory. May be pickled, and read by any number of threads."""

    path: Path
    layers: Mapping[str, Layer]
    grid: Grid
    scaling: Scaling
    tags: Mapping[str, str]
    metres: float = 1.0
    """What 1 in the elevation stands for."""
    hidden: tuple[int, ...] = ()
    """Bits of the layer `qa` that make nodata of a pixel."""

    @property
    def crs(self) -> str | None:
        """As WKT or EPSG code; None where the file has none."""
        return self.grid.crs

    @property
    def transform(self) -> Affine:
        """Pixel → coordinates of the CRS; the identity where there is none."""
        return self.grid.transform

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.grid.height, self.grid.width

    @property
    def metres_per_pixel(self) -> float | None:
        """Side of a pixel; None where the file does not tell."""
        return self.grid.metres_per_pixel

    @property
    def whole(self) -> Window:
        """All of it."""
        return 0, 0, self.grid.height, self.grid.width

    def read(self, window: Window, opening: Opening = opened) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Reflectances (H W 5, B2 … B6) and elevation (H W, metres) of a window; NaN is nodata, and beyond the edges.

        Args:
            window: row and column of its upper left pixel, height and width.
            opening: what opens its files.

        Raises:
            SceneError: the file is damaged, or was removed.
        """
        *measured, heights = _pixels(self, MEASURED, window, opening)
        scale, offset = self.scaling.scale, self.scaling.offset
        filled = bool(np.isclose(scale, SCALE) and np.isclose(offset, OFFSET))  # however that is known
        _, _, height, width = window
        elevation = np.empty((height, width), np.float32)
        reflectances = np.empty((len(measured), height, width), np.float32)
        for rows in _strips(height, width):
            for number, (pixels, known) in enumerate(measured):
                band = _valid(pixels[rows], known[rows])
                if filled:
                    band[band == 0] = np.nan  # the fill value of the product, whether the file says so or not
                band *= scale
                band += offset
                reflectances[number, rows] = band
            band = _valid(heights[0][rows], heights[1][rows])
            band *= self.metres
            band[(band < LOWEST) | (band > HIGHEST)] = np.nan
            elevation[rows] = band
        if self.hidden:
            [(quality, known)] = _pixels(self, ("qa",), window, opening)
            bits = sum(1 << bit for bit in self.hidden)
            reflectances[:, ~known | (quality.astype(np.int64) & bits != 0)] = np.nan
        return reflectances.transpose(1, 2, 0), elevation

    def bands(self, window: Window) -> NDArray[np.float32]:
        """The eight bands (H W 8) of a window, exactly as `band_stack` of the whole raster gives them there."""
        row, column, height, width = window
        wider = (row - MARGIN, column - MARGIN, height + 2 * MARGIN, width + 2 * MARGIN)
        return band_stack(*self.read(wider))[MARGIN:-MARGIN, MARGIN:-MARGIN]

    def layer(self, name: str, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The numbers of a layer (H W, as stored), and where they are no nodata; 0 beyond the edges."""
        pixels = _pixels(self, (name,), window)
        return pixels[0]


def open_scene(
    path: Path,
    band_map: Mapping[str, int] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    files: Mapping[str, Path] | None = None,
    hidden: tuple[int, ...] = (),
) -> Scene:
    """Look at a scene without reading it.

    Args:
        path: a GeoTIFF with a band for each layer, or one of several files of a band each (`scene_B2.tif`).
        band_map: layer → band, counted from 1; None: by the bands' descriptions.
        scale: reflectance = number · scale + offset; None: as the file says, or as its numbers show.
        offset: see `scale`.
        files: layer → file of one band each, where they are known; `path` then is only a name.
        hidden: bits of the layer `qa` (of clouds, say) that make nodata of a pixel.

    Raises:
        SceneError: bands missing, on different grids, rotated, south up, or with pixels that are no squares; numbers
            that would not be reflectances; nothing but nodata.
    """
    path = Path(path)
    if files is None and not path.is_file():
        raise SceneError(path, NO_FILE, "it does not exist" if not path.exists() else "it is no file")
    if files is None and not band_map:
        path, files = beside(path)
    stack = False
    if files:
        layers = layers_of(path, files)
    else:
        with opened(path) as dataset:
            layers = layers_in(path, dataset.descriptions, band_map)
            elevation = dataset.descriptions[layers["elevation"].band - 1]
            stack = set(BANDS) <= set(dataset.descriptions) and elevation == "elevation"
    if hidden and "qa" not in layers:
        raise SceneError(path, NO_BANDS, "it has no qa, whose bits say what to hide")
    headers = {file: header_of(file) for file in dict.fromkeys(layer.path for layer in layers.values())}
    first = layers["B2"].path
    for name, layer in layers.items():
        if not same_grid(headers[layer.path].grid, headers[first].grid):
            raise SceneError(path, APART, f"{layer.path.name} ({name}) does not fit {first.name}")
    told = {headers[layers[name].path].scalings[layers[name].band - 1] for name in REFLECTANCES}
    if len(told) > 1 and scale is None:
        raise SceneError(path, UNLIKE, "write all bands at one scale, or say --scale and --offset")
    tags = {key: value for header in headers.values() for key, value in header.tags.items()}
    metres = ELEVATION_METRES if stack else 1.0  # a file of all eight bands has them as a network sees them
    scene = Scene(path, layers, headers[first].grid, LANDSAT, tags, metres, hidden)
    dtype = np.result_type(*(headers[layers[name].path].dtypes[layers[name].band - 1] for name in REFLECTANCES)).name
    scaling = scaling_of(path, _some_numbers(scene), dtype=dtype, told=told.pop(), scale=scale, offset=offset)
    return replace(scene, scaling=scaling)


def _strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a raster, so many at a time that what is computed of them stays in the processor's cache."""
    tall = max(1, IN_CACHE // max(1, width))
    return (slice(row, row + tall) for row in range(0, height, tall))


def _valid(pixels: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The numbers of a layer before scaling; NaN is nodata."""
    numbers = pixels.astype(np.float64)
    missing = ~known
    missing |= pixels == FILL
    if pixels.dtype.kind == "f":
        missing |= ~np.isfinite(numbers)
    if missing.any():  # most parts have none
        numbers[missing] = np.nan
    return numbers


def _pixels(
    scene: Scene, names: Sequence[str], window: Window, opening: Opening = opened
) -> list[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Numbers of layers as stored, and where they are no nodata. Each file is opened once."""
    found: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
    for path in {scene.layers[name].path for name in names}:
        mine = [name for name in names if scene.layers[name].path == path]
        with opening(path) as dataset:
            pixels, known = part_of(dataset, [scene.layers[name].band for name in mine], scene.shape, window)
        found |= {name: (pixels[at], known[at]) for at, name in enumerate(mine)}
    return [found[name] for name in names]


def _some_numbers(scene: Scene) -> NDArray[np.float64]:
    """Numbers of the reflectances from all over the scene, without nodata; the first ones there are, where few are."""
    height, width = scene.shape
    if height * width <= LOOKED_AT**2:
        spread = [scene.whole]
    else:
        rows, columns = (np.linspace(0, max(side - PATCH, 0), ACROSS).astype(int).tolist() for side in scene.shape)
        spread = [(row, column, PATCH, PATCH) for row, column in product(rows, columns)]
    found = _numbers(scene, spread)
    if not found.size:
        strips = ((row, 0, min(PATCH, height - row), width) for row in range(0, height, PATCH))
        found = next((some for part in strips if (some := _numbers(scene, [part])).size), found)
    if not found.size:
        raise SceneError(scene.path, ALL_NODATA, "no pixel has a reflectance: take it out")
    return found


def _numbers(scene: Scene, windows: Sequence[Window]) -> NDArray[np.float64]:
    parts = [_valid(*layer) for window in windows for layer in _pixels(scene, REFLECTANCES, window)]
    found = np.concatenate([part[np.isfinite(part) & (part != 0)] for part in parts])
    return np.asarray(found)
