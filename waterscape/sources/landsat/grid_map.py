"""A map of the tiles of an export over its study area: what would be asked for, seen before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.area import middle_longitude
from waterscape.sources.degrees_map import PAPER, degrees_map, draw_area, legend_below, rings_of
from waterscape.sources.landsat.grid import outline
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from waterscape.sources.area import Area
    from waterscape.sources.landsat.grid import GridTile

WATER, STANDING, ASKED = "#2668ab", "#9ccbd3", "#e9c46a"


def draw_grid(path: Path, area: Area, tiles: Sequence[GridTile], left: Collection[GridTile], title: str) -> None:
    """Draw the area's outline and its tiles as a PNG: those that are `left` to ask for, and those that stand."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    middle = middle_longitude(area.shape)
    corners = [np.array([(near(x, middle), y) for x, y in outline(tile)]) for tile in tiles]
    keys = {tile.key for tile in left}
    colours = [ASKED if tile.key in keys else STANDING for tile in tiles]
    everything = np.concatenate([*corners, *rings_of(area, middle)])
    shown = [Patch(color=ASKED, label=f"{len(keys)} to ask for")]
    if len(keys) < len(tiles):
        shown.append(Patch(color=STANDING, label=f"{len(tiles) - len(keys)} done"))
    with degrees_map(path, everything.min(0), everything.max(0), title) as axis:
        edge = 0.6 if len(tiles) < 2000 else 0.1
        axis.add_collection(PolyCollection(corners, facecolors=colours, edgecolors=PAPER, linewidths=edge))
        draw_area(axis, area, middle, WATER)
        legend_below(axis, [*shown, Patch(facecolor="none", edgecolor=WATER, label="area")])
