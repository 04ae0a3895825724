"""Maps of water judged window by window: a network's and those of thresholds that everyone uses, on equal pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from waterscape.metrics.segmentation import Confusion, boundary_confusion, confusion, otsu_threshold
from waterscape.nn.balanced_pixels import seen_whole
from waterscape.nn.pixel_network import MARGIN
from waterscape.sources.landsat.bands import BANDS, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.samples import Samples
    from waterscape.recipe import Networks, Recipe

Way: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.bool_]]"
"""A window's bands (H W 8, NaN is nodata) → where there is water (H W)."""

INDEX = BANDS.index("MNDWI")
LATITUDES = 10  # degrees in a row of the table
JACCARD = "Jaccard distance"
"""1 − IoU, of all pixels together: the lower the better."""
HIGHER_IS_BETTER = ("IoU", "accuracy", "F1", "boundary IoU")
NOTHING = Confusion(0, 0, 0, 0)


@dataclass(frozen=True)
class Window:
    """A window of a set: `bands` (H W 8), the mask that maps are judged by and where it is known (H W), and more.

    `cover` (H W) is the class of land cover, `latitude` in degrees that of its middle; None: not known.
    """

    bands: NDArray[np.float32]
    water: NDArray[np.bool_]
    known: NDArray[np.bool_]
    cover: NDArray[np.uint8] | None
    latitude: float | None


@dataclass
class Worth:
    """What a way to map water is worth: counts over all pixels of all windows."""

    whole: Confusion = NOTHING
    boundary: Confusion = NOTHING
    by_cover: dict[int, Confusion] = field(default_factory=dict)
    by_latitude: dict[int, Confusion] = field(default_factory=dict)

    def add(self, window: Window, called: NDArray[np.bool_]) -> None:
        """Count one more window."""
        found = confusion(called, window.water, window.known)
        self.whole += found
        self.boundary += boundary_confusion(called, window.water, window.known)
        if window.cover is not None:
            for kind in np.unique(window.cover):
                counts = confusion(called, window.water, window.known & (window.cover == kind))
                self.by_cover[int(kind)] = self.by_cover.get(int(kind), NOTHING) + counts
        if window.latitude is not None:
            south = int(window.latitude // LATITUDES) * LATITUDES
            self.by_latitude[south] = self.by_latitude.get(south, NOTHING) + found

    def figures(self) -> dict[str, float]:
        """By name; NaN where there was nothing to judge."""
        return {
            JACCARD: 1 - self.whole.iou,
            "IoU": self.whole.iou,
            "accuracy": self.whole.accuracy,
            "F1": self.whole.f1,
            "boundary IoU": self.boundary.iou,
            "absolute area error": abs(self.whole.area_error),
        }


def windows(samples: Samples) -> Iterator[Window]:
    """The windows of a split. Raises `ShardError` for a damaged one."""
    for number in range(len(samples)):
        yield window(samples, number)
    samples.close()  # held open, its tars could not be evicted from a cache


def window(samples: Samples, number: int) -> Window:
    """A window, to be judged by what people say of it, never by labels that a network has corrected.

    That is `truth.npy`, a mask by hand, where there is one, else the labels as they were given. Judged are the pixels
    of which nothing within the network's reach is nodata. Raises `ShardError` for a damaged one.
    """
    held = samples.read(number)
    given = next(held[name] for name in ("truth.npy", "given.npy", "water.npy") if name in held)
    bands, mask = np.asarray(held["bands.npy"]), np.asarray(given)
    seen = seen_whole(torch.from_numpy(bands.transpose(2, 0, 1)[None].copy()), MARGIN)[0, 0].numpy()
    told = held.get("json")
    latitude = told.get("latitude") if isinstance(told, dict) else None
    cover = held.get("cover.npy")
    return Window(
        bands,
        mask == 1,
        np.pad(seen, MARGIN) & (mask != UNKNOWN),
        None if cover is None else np.asarray(cover),
        None if latitude is None else float(latitude),
    )


def judge(way: Way, held: Iterable[Window]) -> Worth:
    """What a way is worth on windows."""
    worth = Worth()
    for window in held:
        worth.add(window, way(window.bands))
    return worth


def network_way(recipe: Recipe, networks: Networks) -> Way:
    """Water where networks in evaluation mode say that it is more probable than land."""

    def way(bands: NDArray[np.float32]) -> NDArray[np.bool_]:
        picture = torch.from_numpy(bands.transpose(2, 0, 1)[None].copy())
        with torch.no_grad():
            called: NDArray[np.bool_] = (recipe.segment(networks, {recipe.pictured(): picture})[0, 0] > 0.5).numpy()
        return called

    return way


def threshold_way(threshold: float = 0.0) -> Way:
    """Water where MNDWI is above a threshold: 0 (Xu 2006), or one that `otsu_of` found."""
    return lambda bands: bands[..., INDEX] > threshold


def otsu_way(bands: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Water where MNDWI is above the threshold that Otsu's method finds in the window; 0 where all is alike."""
    index = bands[..., INDEX]
    varied = np.nanmin(index, initial=1) < np.nanmax(index, initial=-1)
    return np.asarray(index > (otsu_threshold(index) if varied else 0.0))


def otsu_of(held: Iterable[Window]) -> float:
    """Otsu's threshold of MNDWI in all windows together."""
    return otsu_threshold(np.concatenate([window.bands[..., INDEX].ravel() for window in held]))
