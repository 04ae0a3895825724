"""The label of water in each pixel: a mask in a file of its own, a band of the scene, or a bit of its quality band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER
from waterscape.sources.landsat.layers import NO_BANDS, SceneError
from waterscape.sources.landsat.raster_file import on_one_grid, opened, part_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.landsat.raster_file import Window
    from waterscape.sources.landsat.scene import Scene

    Label = NDArray[np.uint8]

Labels: TypeAlias = Literal["masks", "qa", "water"]
MASK_SUFFIXES = (".png", ".tif", ".tiff")
NO_MASK, OTHER_SIZE, OTHER_PLACE = "no mask", "a mask of another size", "a mask of another place"
OTHER_VALUES, SEVERAL_BANDS = "a mask of other values", "a mask of several bands"
STRIP = 256  # rows read at once


@dataclass(frozen=True)
class Mask:
    """A file that says where water is: 0 land, 1 water, 255 not known; or 0 land, 255 water, and nothing else."""

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

    def check(self, scene: Scene) -> None:
        """Raise `SceneError` where it is of another size or place, has several bands, or other values."""
        path, (height, width) = self.path, scene.shape
        with opened(path) as dataset:
            if (dataset.height, dataset.width) != (height, width):
                raise SceneError(path, OTHER_SIZE, f"{dataset.width} × {dataset.height}, the scene {width} × {height}")
            if dataset.crs is not None and scene.crs is not None and not on_one_grid(path, dataset, scene.grid):
                raise SceneError(path, OTHER_PLACE, "its CRS or corner is not the scene's")
            if dataset.count != 1:
                raise SceneError(path, SEVERAL_BANDS, f"it has {dataset.count}, one is wanted")
            values = _values(dataset)
        meant = {LAND, self.water, UNKNOWN}
        if not values <= meant:
            told = ", ".join(f"{value:g}" for value in sorted(values - meant)[:3])
            wanted = "0 and 255 are" if self.water == UNKNOWN else "0, 1 and 255 are"
            raise SceneError(path, OTHER_VALUES, f"{wanted} known, it has {told}")


def values_in(path: Path) -> list[float]:
    """Which of `WATER` and `UNKNOWN` a mask holds; none of them where it will not do, which `Mask.check` tells."""
    try:
        with opened(path) as dataset:
            values = _values(dataset) if dataset.count == 1 else set()
    except SceneError:
        return []
    return sorted(values - {LAND}) if values <= {LAND, WATER, UNKNOWN} else []


def water_value(held: Mapping[Path, Collection[float]]) -> int:
    """The value that means water in a set of masks, given what each holds: 255 where none holds a 1.

    Raises:
        UserError: some hold 1, and another 255 without any 1, which then may be water or not known.
    """
    plain = next((path for path, values in held.items() if WATER in values), None)
    doubtful = next((path for path, values in held.items() if UNKNOWN in values and WATER not in values), None)
    if plain and doubtful:
        raise UserError(
            f"{plain} holds 1, but {doubtful} 255 and no 1: say which is water, --mask-water 1 (255 is not known then) "
            "or --mask-water 255"
        )
    return UNKNOWN if doubtful else WATER


@dataclass(frozen=True)
class Labelling:
    """From where a scene's labels come."""

    labels: Labels
    qa_bit: int | None = None
    """The bit of the layer `qa` that means water."""
    mask: Mask | None = None

    def check(self, scene: Scene) -> None:
        """Raise `SceneError` where the scene lacks what the labels are made of, or its mask will not do."""
        if self.labels == "masks" and self.mask is None:
            raise SceneError(scene.path, NO_MASK, "none of the same name among the masks: take it out, or add one")
        if self.labels != "masks" and self.labels not in scene.layers:
            raise SceneError(scene.path, NO_BANDS, f"it has no {self.labels}, of which labels are to be made")
        if self.mask is not None:
            self.mask.check(scene)

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
            known &= np.isfinite(values) & (values != UNKNOWN)  # declared as nodata or not
            water = values >= 0.5  # a label, or the share of scenes that saw water
        return np.where(known, np.where(water, WATER, LAND), UNKNOWN).astype(np.uint8)

    def truth(self, scene: Scene, window: Window) -> Label | None:
        """A mask by which labels of another kind can be judged; None where there is none, or it is the label."""
        return None if self.labels == "masks" or self.mask is None else self.mask.read(scene, window)


def _values(dataset: Any) -> set[float]:
    """What the first band of an open mask holds, but for a nodata value of its own."""
    values: set[float] = set()
    for top in range(0, dataset.height, STRIP):
        strip = dataset.read(1, window=((top, min(top + STRIP, dataset.height)), (0, dataset.width)))
        values |= set(np.unique(strip).tolist())
    return values - ({dataset.nodata} - {LAND, WATER})


def _within(shape: tuple[int, int], window: Window) -> NDArray[np.bool_]:
    row, column, height, width = window
    rows, columns = np.arange(row, row + height), np.arange(column, column + width)
    return ((rows >= 0) & (rows < shape[0]))[:, None] & ((columns >= 0) & (columns < shape[1]))
