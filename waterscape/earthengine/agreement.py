"""How far a deployment's water agrees with the water occurrence of JRC's Global Surface Water (Pekel et al. 2016).

They need not agree: occurrence is the share of the months of 1984 to 2021 in which a pixel was water, ours the share of
the summers that were deployed. What differs much in many places is worth a look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from waterscape.durable import replacing
from waterscape.earthengine.comparison import computed_pixels
from waterscape.earthengine.deploy import WATER, Region
from waterscape.earthengine.pixels import METRES_PER_DEGREE, Pixels
from waterscape.errors import UserError
from waterscape.metrics.segmentation import confusion
from waterscape.sources.earthengine import explained

if TYPE_CHECKING:
    import ee

OCCURRENCE = "JRC/GSW1_4/GlobalSurfaceWater"
LONGEST = 512  # pixels that are asked for along a side
USUAL = 0.5  # a share of the time above which a pixel is called water
BLUE, PAPER, UNKNOWN = "#2668ab", "#fcfbf8", "#8c8c8c"


@dataclass(frozen=True)
class Agreement:
    """Shares of water at the same pixels (H W, NaN where not known), and how many of the lattice's pixels lie apart."""

    ours: NDArray[np.float64]
    occurrence: NDArray[np.float64]
    step: int
    square_metres: float
    """That one of these pixels stands for, about."""

    def facts(self) -> Mapping[str, Any]:
        """Figures: shares of pixels, areas in km², differences in 0..1. Raises `UserError` where nothing is known."""
        known = np.isfinite(self.ours) & np.isfinite(self.occurrence)
        if not known.any():
            raise UserError("none of the deployed pixels lies where the occurrence is known")
        ours, theirs = self.ours[known], self.occurrence[known]
        counts = confusion(self.ours > USUAL, self.occurrence > USUAL, known)
        varied = ours.std() > 0 and theirs.std() > 0
        return {
            "pixels": int(known.sum()),
            "every nth pixel": self.step,
            "agreement": counts.accuracy,
            "iou": counts.iou,
            "ours km2": float((ours > USUAL).sum() * self.square_metres / 1e6),
            "occurrence km2": float((theirs > USUAL).sum() * self.square_metres / 1e6),
            "mean absolute difference": float(np.abs(ours - theirs).mean()),
            "correlation": float(np.corrcoef(ours, theirs)[0, 1]) if varied else None,
        }


def has_water(asset: str) -> bool:
    """Whether an asset has a band `water`, as any that was deployed has. Raises `EarthEngineError`."""
    import ee

    with explained(f"looking at {asset}"):
        return any(band["id"] == WATER for band in ee.data.getAsset(asset).get("bands", []))


def measure(region: Region, assets: Sequence[str], lattice: Pixels) -> Agreement:
    """Every nth pixel of a region's assets (a year each) and of the occurrence, as the servers have them.

    Raises `EarthEngineError`.
    """
    import ee

    transform, shape, step = _grid(region, lattice)
    years: ee.ImageCollection = ee.ImageCollection([ee.Image(asset).select([WATER]) for asset in assets])
    share = years.mean().clip(region.geometry())
    known = ee.Image(OCCURRENCE).select(["occurrence"]).divide(100).unmask(0, False)  # masked: never seen as water
    with explained(f"comparing {region.name} with {OCCURRENCE}"):
        pixels = computed_pixels(share.addBands(known), lattice.crs, transform, shape).astype(np.float64)
    width = lattice.lattice[0] * (METRES_PER_DEGREE if CRS(lattice.crs).is_geographic else 1.0)
    narrowed = math.cos(math.radians(region.area.shape.centroid.y)) if CRS(lattice.crs).is_geographic else 1.0
    return Agreement(pixels[..., 0], pixels[..., 1], step, (width * step) ** 2 * narrowed)


def _grid(region: Region, lattice: Pixels) -> tuple[tuple[float, ...], tuple[int, int], int]:
    """Every nth pixel of the lattice over a region: transform, rows and columns, n."""
    import shapely

    x, y = shapely.get_coordinates(shapely.segmentize(region.area.shape, 0.1)).T
    if CRS(lattice.crs) != CRS("EPSG:4326"):
        x, y = Transformer.from_crs("EPSG:4326", lattice.crs, always_xy=True).transform(x, y)
    width, _, left, _, height, top = lattice.lattice
    columns, rows = (x - left) / width, (y - top) / height
    first, last = (math.floor(columns.min()), math.floor(rows.min())), (math.ceil(columns.max()), math.ceil(rows.max()))
    step = max(1, math.ceil(max(last[0] - first[0], last[1] - first[1]) / LONGEST))
    shape = (math.ceil((last[1] - first[1]) / step), math.ceil((last[0] - first[0]) / step))
    return (step * width, 0.0, left + width * first[0], 0.0, step * height, top + height * first[1]), shape, step


def draw(path: Path, agreement: Agreement, title: str) -> None:
    """Ours, the occurrence and their difference as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    height, width = agreement.ours.shape
    size = 4.2
    figure, axes = plt.subplots(
        1, 3, figsize=(3 * size, size * max(min(height / width, 1.5), 0.4) + 1.3), layout="constrained"
    )
    blues = mpl.colors.LinearSegmentedColormap.from_list("water", [PAPER, BLUE])
    water, apart = (colours.with_extremes(bad=UNKNOWN) for colours in (blues, mpl.colormaps["RdBu"]))
    known = np.isfinite(agreement.ours)
    theirs = np.where(known, agreement.occurrence, np.nan)
    shown = (
        ("share of summers with water, deployed", agreement.ours, water, 0, 1),
        ("water occurrence, JRC 1984–2021", theirs, water, 0, 1),
        ("deployed − JRC", agreement.ours - theirs, apart, -1, 1),
    )
    for axis, (label, values, colours, low, high) in zip(axes, shown, strict=True):
        drawn = axis.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(label, fontsize=10)
        axis.set_axis_off()
        figure.colorbar(drawn, ax=axis, shrink=0.8, location="bottom")
    figure.suptitle(title, fontsize=11)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, facecolor=PAPER)
    plt.close(figure)
