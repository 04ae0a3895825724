"""Maps in degrees, stretched as the ground is there: what a tool would ask for, seen before it does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from waterscape.sources.area import Area

PAPER, INK = "#fcfbf8", "#2a2f36"
INCHES, DOTS = 9.0, 130
HIGHEST = 85.0  # degrees, up to which a map is stretched as it is on the ground


@contextmanager
def degrees_map(
    path: Path, corner: ArrayLike, opposite: ArrayLike, title: str, *, margin: float = 0.03
) -> Iterator[Any]:
    """An axis for a box of degrees, which becomes a PNG, whole or not at all, once the block ends without error.

    Args:
        path: of the PNG.
        corner: longitude and latitude in the south-west.
        opposite: in the north-east; longitudes may lie beyond ±180.
        title: above the map.
        margin: around the box, as a share of its longer side.
    """
    from matplotlib.figure import Figure  # without pyplot, which takes longer to import and keeps what it drew

    shape = _stretched(corner, opposite)
    size = (INCHES, INCHES * shape) if shape < 1 else (INCHES / shape, INCHES)
    figure = Figure(figsize=(max(size[0], 5), max(size[1], 4)), layout="constrained", facecolor=PAPER)
    axis = figure.subplots()
    yield axis
    in_degrees(axis, corner, opposite, margin)
    axis.set_title(title, color=INK)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=DOTS, format="png")


def in_degrees(axis: Any, corner: ArrayLike, opposite: ArrayLike, margin: float = 0.03) -> None:
    """Let an axis show a box of degrees (see `degrees_map`) as long and wide as it is on the ground."""
    (west, south), (east, north) = np.asarray(corner), np.asarray(opposite)
    stretch = stretch_of(south, north)
    pad = margin * max(east - west, (north - south) * stretch)
    axis.set(xlim=(west - pad, east + pad), ylim=(south - pad / stretch, north + pad / stretch), aspect=stretch)
    axis.xaxis.set_major_formatter(lambda x, _: _degrees((x + 180) % 360 - 180, "EW"))
    axis.yaxis.set_major_formatter(lambda y, _: _degrees(y, "NS"))
    axis.set_facecolor(PAPER)
    axis.grid(alpha=0.3)


def stretch_of(south: float, north: float) -> float:
    """How many times longer a degree is from south to north than from west to east."""
    return float(1 / np.cos(np.radians(min(abs(south + north) / 2, HIGHEST))))


def draw_area(axis: Any, area: Area, middle: float, colour: str) -> None:
    """Draw an area's outlines."""
    for ring in rings_of(area, middle):
        axis.plot(*ring.T, color=colour, linewidth=1.5)


def rings_of(area: Area, middle: float) -> list[NDArray[np.float64]]:
    """An area's outlines (N of longitude, latitude), each moved as a whole to where it lies nearest to a longitude."""
    rings = [np.array(ring.coords) for part in area.shape.geoms for ring in (part.exterior, *part.interiors)]
    for ring in rings:
        own = (ring[:, 0].min() + ring[:, 0].max()) / 2
        ring[:, 0] += near(own, middle) - own
    return rings


def legend_below(axis: Any, shown: Sequence[Any]) -> None:
    """What the colours mean, below the map."""
    axis.legend(handles=shown, loc="upper left", bbox_to_anchor=(0, -0.07), ncols=3, frameon=False)


def _stretched(corner: ArrayLike, opposite: ArrayLike) -> float:
    """Height of a box on the ground for its width."""
    (west, south), (east, north) = np.asarray(corner), np.asarray(opposite)
    return float((north - south) * stretch_of(south, north) / (east - west))


def _degrees(value: float, letters: str) -> str:
    return f"{abs(value):g}° {letters[int(value < 0)]}"
