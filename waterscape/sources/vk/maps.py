"""Maps of a search: its circles before anything is asked for, and where photos are afterwards, at 0.1°."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.sources.area import middle_longitude
from waterscape.sources.degrees_map import degrees_map, draw_area, legend_below, rings_of
from waterscape.sources.utm import near
from waterscape.sources.vk.cover import EARTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.area import Area
    from waterscape.sources.vk.cover import Circle

EDGE, ASKED, DONE = "#b03a2e", "#c98a1b", "#7fb5c4"
MOST_OUTLINES = 20_000  # circles that are drawn one by one; of more, centres
CELL = 0.1  # degrees, as photos are counted


def draw_circles(path: Path, area: Area, circles: Sequence[Circle], left: set[Circle], title: str) -> None:
    """Draw an area and the circles over it as a PNG: those that are `left` to ask for, and those that are done."""
    from matplotlib.collections import EllipseCollection
    from matplotlib.lines import Line2D

    middle = middle_longitude(area.shape)
    centres = np.array([(near(circle.longitude, middle), circle.latitude) for circle in circles])
    colours = [ASKED if circle in left else DONE for circle in circles]
    high = np.degrees(circles[0].radius / EARTH)
    wide = high / np.cos(np.radians(np.clip(np.abs(centres[:, 1]), 0, 89)))
    edge = np.stack([wide, np.full(len(wide), high)], axis=1)
    with degrees_map(path, (centres - edge).min(0), (centres + edge).max(0), title) as axis:
        if len(circles) <= MOST_OUTLINES:
            outlines = EllipseCollection(
                2 * wide,
                np.full(len(wide), 2 * high),
                np.zeros(len(wide)),
                units="xy",
                offsets=centres,
                offset_transform=axis.transData,
                facecolors="none",
                edgecolors=colours,
                linewidths=0.9 if len(circles) < 3000 else 0.3,
            )
            axis.add_collection(outlines)
        else:
            axis.scatter(*centres.T, s=0.5, c=colours, linewidths=0)
        shown = [Line2D([], [], color=ASKED, label=f"{len(left)} circles to ask for")]
        if len(left) < len(circles):
            shown.append(Line2D([], [], color=DONE, label=f"{len(circles) - len(left)} asked for"))
        draw_area(axis, area, middle, EDGE)
        legend_below(axis, [*shown, Line2D([], [], color=EDGE, label="area")])


def draw_photos(path: Path, area: Area, places: Sequence[tuple[float, float, int]], title: str) -> None:
    """Draw how many photos lie in each square of 0.1° (latitude, longitude, photos) as a PNG."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.lines import Line2D

    from waterscape.sheet import STOPS

    middle = middle_longitude(area.shape)
    corner, opposite = _bounds(area, middle)
    with degrees_map(path, corner, opposite, title) as axis:
        if places:
            counts = np.array([count for _, _, count in places])
            centres = np.array([(near(x, middle), y) for y, x, _ in places])
            square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * CELL / 2
            colours = LinearSegmentedColormap.from_list("water", STOPS[1:])
            corners: Any = centres[:, None] + square
            cells = PolyCollection(corners, array=counts, cmap=colours, norm=LogNorm(1, max(2, counts.max())))
            axis.add_collection(cells)
            bar = axis.figure.colorbar(cells, ax=axis, shrink=0.7, pad=0.02, label="photos in a square of 0.1°")
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        draw_area(axis, area, middle, EDGE)
        legend_below(axis, [Line2D([], [], color=EDGE, label="area")])


def _bounds(area: Area, middle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    everything = np.concatenate(rings_of(area, middle))
    return everything.min(0) - CELL / 2, everything.max(0) + CELL / 2
