"""Maps of a search: its circles before anything is asked for, and where photos are afterwards, at 0.1°."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.sources.utm import near
from waterscape.sources.vk.cover import EARTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.area import Area
    from waterscape.sources.vk.cover import Circle

EDGE, PAPER, ASKED, DONE, INK = "#b03a2e", "#fcfbf8", "#c98a1b", "#7fb5c4", "#2a2f36"
INCHES, DOTS = 9.0, 130
HIGHEST = 85.0  # degrees, up to which a map is stretched as it is on the ground
MOST_OUTLINES = 20_000  # circles that are drawn one by one; of more, centres
CELL = 0.1  # degrees, as photos are counted


def draw_circles(path: Path, area: Area, circles: Sequence[Circle], left: set[Circle], title: str) -> None:
    """Draw an area and the circles over it as a PNG: those that are `left` to ask for, and those that are done."""
    from matplotlib.collections import EllipseCollection
    from matplotlib.lines import Line2D

    middle = _middle(area)
    centres = np.array([(near(circle.longitude, middle), circle.latitude) for circle in circles])
    colours = [ASKED if circle in left else DONE for circle in circles]
    high = np.degrees(circles[0].radius / EARTH)
    wide = high / np.cos(np.radians(np.clip(np.abs(centres[:, 1]), 0, 89)))
    edge = np.stack([wide, np.full(len(wide), high)], axis=1)
    with _map(path, area, middle, (centres - edge).min(0), (centres + edge).max(0), title) as axis:
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
        _legend(axis, [*shown, Line2D([], [], color=EDGE, label="area")])


def draw_photos(path: Path, area: Area, places: Sequence[tuple[float, float, int]], title: str) -> None:
    """Draw how many photos lie in each square of 0.1° (latitude, longitude, photos) as a PNG."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.lines import Line2D

    from waterscape.sheet import STOPS

    middle = _middle(area)
    corner, opposite = _bounds(area, middle)
    with _map(path, area, middle, corner, opposite, title) as axis:
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
        _legend(axis, [Line2D([], [], color=EDGE, label="area")])


@contextmanager
def _map(
    path: Path, area: Area, middle: float, corner: NDArray[Any], opposite: NDArray[Any], title: str
) -> Iterator[Any]:
    """An axis in degrees with the area's outline, which becomes a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    (west, south), (east, north) = corner, opposite
    stretch = 1 / np.cos(np.radians(min(abs(south + north) / 2, HIGHEST)))
    shape = (north - south) * stretch / (east - west)
    size = (INCHES, INCHES * shape) if shape < 1 else (INCHES / shape, INCHES)
    figure, axis = plt.subplots(figsize=(max(size[0], 5), max(size[1], 4)), layout="constrained", facecolor=PAPER)
    try:
        yield axis
        for ring in _rings(area, middle):
            axis.plot(*ring.T, color=EDGE, linewidth=1.6)
        margin = 0.03 * max(east - west, (north - south) * stretch)
        axis.set(xlim=(west - margin, east + margin), ylim=(south - margin / stretch, north + margin / stretch))
        axis.set_aspect(stretch)
        axis.set_title(title, color=INK)
        axis.xaxis.set_major_formatter(lambda x, _: _degrees((x + 180) % 360 - 180, "EW"))
        axis.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
        axis.grid(alpha=0.3)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=DOTS, format="png")
    finally:
        plt.close(figure)


def _legend(axis: Any, shown: Sequence[Any]) -> None:
    axis.legend(handles=shown, loc="upper left", bbox_to_anchor=(0, -0.07), ncols=3, frameon=False)


def _rings(area: Area, middle: float) -> list[NDArray[np.float64]]:
    """The area's outlines (N of longitude, latitude), each moved as a whole to where it lies nearest to the middle."""
    rings = [np.array(ring.coords) for part in area.shape.geoms for ring in (part.exterior, *part.interiors)]
    for ring in rings:
        own = (ring[:, 0].min() + ring[:, 0].max()) / 2
        ring[:, 0] += near(own, middle) - own
    return rings


def _bounds(area: Area, middle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    everything = np.concatenate(_rings(area, middle))
    return everything.min(0) - CELL / 2, everything.max(0) + CELL / 2


def _middle(area: Area) -> float:
    """A longitude that the map is around: by the mean direction of the area's parts, since −180 is 180."""
    weights = np.array([part.area for part in area.shape.geoms])
    angles = np.radians([(part.bounds[0] + part.bounds[2]) / 2 for part in area.shape.geoms])
    return float(np.degrees(np.arctan2(weights @ np.sin(angles), weights @ np.cos(angles))))


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):g}° {letters[int(value < 0)]}"
