"""A map of the tiles of an export over its study area: what would be asked for, seen before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.sources.landsat.grid import outline
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from waterscape.sources.area import Area
    from waterscape.sources.landsat.grid import GridTile

WATER, PAPER, STANDING, ASKED = "#2668ab", "#fcfbf8", "#9ccbd3", "#e9c46a"
INCHES = 9.0


def draw_grid(path: Path, area: Area, tiles: Sequence[GridTile], left: Collection[GridTile], title: str) -> None:
    """Draw the area's outline and its tiles as a PNG: those that are `left` to ask for, and those that stand."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    middle = _middle(area)
    corners = [np.array([(near(x, middle), y) for x, y in outline(tile)]) for tile in tiles]
    keys = {tile.key for tile in left}
    colours = [ASKED if tile.key in keys else STANDING for tile in tiles]
    everything = np.concatenate(corners)
    (west, south), (east, north) = everything.min(0), everything.max(0)
    stretch = 1 / np.cos(np.radians(min(abs(south + north) / 2, 85)))
    shape = (north - south) * stretch / (east - west)
    size = (INCHES, INCHES * shape) if shape < 1 else (INCHES / shape, INCHES)
    figure, axis = plt.subplots(figsize=(max(size[0], 5), max(size[1], 4)), layout="constrained")
    edge = 0.6 if len(tiles) < 2000 else 0.1
    axis.add_collection(PolyCollection(corners, facecolors=colours, edgecolors=PAPER, linewidths=edge))
    for part in area.shape.geoms:
        for ring in (part.exterior, *part.interiors):
            x, y = np.array(ring.coords).T
            axis.plot(_near_together(x, middle), y, color=WATER, linewidth=1.4)
    axis.set(xlim=(west, east), ylim=(south, north), aspect=stretch, title=title)
    axis.margins(0.03)
    axis.autoscale()
    axis.xaxis.set_major_formatter(lambda x, _: _degrees((x + 180) % 360 - 180, "EW"))
    axis.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
    axis.grid(alpha=0.3)
    shown = [Patch(color=ASKED, label=f"{len(keys)} to ask for")]
    if len(keys) < len(tiles):
        shown.append(Patch(color=STANDING, label=f"{len(tiles) - len(keys)} done"))
    shown.append(Patch(facecolor="none", edgecolor=WATER, label="area"))
    axis.legend(handles=shown, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=3, frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
    plt.close(figure)


def _middle(area: Area) -> float:
    """A longitude that the map is around: by the mean direction of the area's parts, since −180 is 180."""
    weights = np.array([part.area for part in area.shape.geoms])
    angles = np.radians([(part.bounds[0] + part.bounds[2]) / 2 for part in area.shape.geoms])
    return float(np.degrees(np.arctan2(weights @ np.sin(angles), weights @ np.cos(angles))))


def _near_together(longitudes: Any, middle: float) -> Any:
    """An outline moved as a whole, so that it is not torn at the map's far side."""
    own = (longitudes.min() + longitudes.max()) / 2
    return longitudes + near(own, middle) - own


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):g}° {letters[int(value < 0)]}"
