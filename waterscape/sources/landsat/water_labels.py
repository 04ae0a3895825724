"""The label of water in each pixel: a mask in a file of its own, a band of the scene, or a bit of its quality band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER
from waterscape.sources.landsat.layers import NO_BANDS, SceneError
from waterscape.sources.landsat.scene import on_one_grid, opened, part_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.landsat.scene import Scene, Window

    Label = NDArray[np.uint8]

Labels: TypeAlias = Literal["masks", "qa", "water"]
MASK_SUFFIXES = (".png", ".tif", ".tiff")
NO_MASK, OTHER_SIZE, OTHER_PLACE = "no mask", "a mask of another size", "a mask of another place"
OTHER_VALUES, SEVERAL_BANDS = "a mask of other values", "a mask of several bands"
STRIP = 256  # rows read at once


@dataclass(frozen=True)
class Mask:
    """A file that says where water is: 0 land, 1 water, 255 not known; or 0 and 255, and then 255 is water."""

    path: Path
    water: int
    """The value that means water."""

    def read(self, scene: Scene, window: Window) -> Label:
        """`WATER`, `LAND` or `UNKNOWN` (H W), which it is beyond the edges too."""
        with opened(self.path) as dataset:
            pixels, known = part_of(dataset, [1], scene.shape, window)
            own = dataset.nodata is not None and dataset.nodata not in (LAND, WATER)
        inside = known[0] if own else _within(scene.shape, window)
        label = np.where(pixels[0] == self.water, WATER, LAND)
        unknown = ~inside | ((pixels[0] == UNKNOWN) & (self.water != UNKNOWN))
        return np.where(unknown, UNKNOWN, label).astype(np.uint8)


def open_mask(path: Path, scene: Scene) -> Mask:
    """Look at a mask of a scene.

    Raises:
        SceneError: it is of another size or place, has several bands, or other values.
    """
    height, width = scene.shape
    with opened(path) as dataset:
        if (dataset.height, dataset.width) != (height, width):
            raise SceneError(path, OTHER_SIZE, f"{dataset.width} × {dataset.height}, the scene {width} × {height}")
        if dataset.crs is not None and scene.crs is not None and not on_one_grid(path, dataset, scene.grid):
            raise SceneError(path, OTHER_PLACE, "its CRS or corner is not the scene's")
        if dataset.count != 1:
            raise SceneError(path, SEVERAL_BANDS, f"it has {dataset.count}, one is wanted")
        own = dataset.nodata if dataset.nodata not in (LAND, WATER) else None
        values: set[Any] = set()
        for top in range(0, height, STRIP):
            strip = dataset.read(1, window=((top, min(top + STRIP, height)), (0, width)))
            values |= set(np.unique(strip).tolist())
    values -= {own}
    if not values <= {LAND, WATER, UNKNOWN}:
        told = ", ".join(f"{value:g}" for value in sorted(values - {LAND, WATER, UNKNOWN})[:3])
        raise SceneError(path, OTHER_VALUES, f"0 and 1 or 255 are known, it has {told}")
    return Mask(path, UNKNOWN if UNKNOWN in values and WATER not in values else WATER)


@dataclass(frozen=True)
class Labelling:
    """From where a scene's labels come."""

    labels: Labels
    qa_bit: int | None = None
    """The bit of the layer `qa` that means water."""
    mask: Mask | None = None

    def check(self, scene: Scene) -> None:
        """Raise `SceneError` where the scene lacks what the labels are made of."""
        if self.labels == "masks" and self.mask is None:
            raise SceneError(scene.path, NO_MASK, "none of the same name among the masks: take it out, or add one")
        if self.labels != "masks" and self.labels not in scene.layers:
            raise SceneError(scene.path, NO_BANDS, f"it has no {self.labels}, of which labels are to be made")

    def read(self, scene: Scene, window: Window) -> Label:
        """`WATER`, `LAND` or `UNKNOWN` in each pixel (H W)."""
        if self.labels == "masks":
            assert self.mask is not None
            return self.mask.read(scene, window)
        values, known = scene.layer(self.labels, window)
        if self.labels == "qa":
            assert self.qa_bit is not None
            water = values.astype(np.int64) >> self.qa_bit & 1 == 1
        else:
            known &= np.isfinite(values)
            water = values >= 0.5  # a label, or the share of scenes that saw water
        return np.where(known, np.where(water, WATER, LAND), UNKNOWN).astype(np.uint8)

    def truth(self, scene: Scene, window: Window) -> Label | None:
        """A mask by which labels of another kind can be judged; None where there is none, or it is the label."""
        return None if self.labels == "masks" or self.mask is None else self.mask.read(scene, window)


def _within(shape: tuple[int, int], window: Window) -> NDArray[np.bool_]:
    row, column, height, width = window
    rows, columns = np.arange(row, row + height), np.arange(column, column + width)
    return ((rows >= 0) & (rows < shape[0]))[:, None] & ((columns >= 0) & (columns < shape[1]))
