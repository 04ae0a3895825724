"""What people see of fetched tiles: photos beside their tiles, and a map of where tiles are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.randomness import hash64
from waterscape.sheet import save_png, sheet
from waterscape.sources.degrees_map import degrees_map
from waterscape.sources.photo_file import PhotoError
from waterscape.sources.photo_set import face
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.ledger import Ledger, Tile
    from waterscape.sources.satellite.work import Work

SHOWN = 24
MANY = 400
COARSE = 0.1  # degrees: as exactly as places are shown, unless more is asked for
AROUND = 10_000  # more than the cells of 0.1° from 360° W to 540° E
ASKED, STANDING = "#c8553d", "#519fc9"


def save_pairs(path: Path, ledger: Ledger, fetched: Sequence[Tile]) -> int:
    """Draw some photos beside their tiles, the same ones each time; returns how many, and writes no file of none."""
    drawn: list[NDArray[np.uint8]] = []
    keys = []
    for tile in sorted(fetched, key=lambda one: hash64(0, "shown", one.photo))[: 2 * SHOWN]:
        photo = ledger.photo(tile.photo)
        try:
            if photo is not None and len(drawn) < SHOWN:
                both = (face(ledger.path_of(photo.file)), face(ledger.path_of(tile.file)))
                drawn.append(np.concatenate(both, axis=1))
                keys.append(photo.key)
        except PhotoError:  # removed meanwhile
            continue
    if drawn:
        title = f"{len(drawn)} of {len(fetched)} photos and their tiles: {fetched[0].source}"
        rows = {"photo | tile\naround its\nplace, north\nis up": np.stack(drawn)}
        save_png(sheet(rows, title=title), path, photos=" ".join(keys), licence=fetched[0].licence)
    return len(drawn)


def save_map(path: Path, work: Work, title: str, *, exact: bool = False) -> None:
    """Draw where photos are, as a PNG: cells of 0.1° by their number, or the places themselves."""
    places = np.array(work.places or [(0.0, 0.0)])
    left = np.array([(spot.latitude, spot.longitude) for spot in work.spots]).reshape(-1, 2)
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(places[:, 1])).mean())))
    places[:, 1], left[:, 1] = near(places[:, 1], middle), near(left[:, 1], middle)
    low, high = places.min(0)[::-1] - COARSE, places.max(0)[::-1] + COARSE
    with degrees_map(path, low, high, title, margin=0.08) as axis:
        if exact:
            axis.scatter(places[:, 1], places[:, 0], s=14, color=STANDING, linewidths=0, label="photos")
            axis.scatter(left[:, 1], left[:, 0], s=4, color=ASKED, linewidths=0, label="places to ask for")
            axis.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False)
        else:
            _draw_cells(axis, places, left)


def _draw_cells(axis: Any, places: NDArray[np.float64], left: NDArray[np.float64]) -> None:
    """Cells by the number of photos in them, framed where some of the places (N of latitude, longitude) are left."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm, to_rgba

    cells, counts = np.unique(_cells(places), return_counts=True)
    framed = np.isin(cells, _cells(left))
    cells = np.stack(np.divmod(cells, AROUND), axis=1)
    frames = np.array([(0, 0, 0, 0), to_rgba(ASKED)])[framed.astype(int)]
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    squares: Any = (cells[:, None, ::-1] + corners) * COARSE - 360
    drawn = PolyCollection(squares, edgecolors=frames, linewidths=1.2 if len(cells) < MANY else 0.3, cmap="YlGnBu")
    drawn.set(array=counts, norm=LogNorm(1, max(10, counts.max())))
    drawn.set_in_layout(False)  # it lies within the axis: its thousands of corners need not be asked where they are
    axis.add_collection(drawn, autolim=False)
    axis.figure.colorbar(drawn, label="photos in a cell of 0.1°; framed where tiles are to be asked for")


def _cells(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell that each place (N of latitude, longitude) lies in, as one number: row · AROUND + column."""
    rows, columns = np.floor((points + 360) / COARSE).astype(np.int64).T
    cells: NDArray[np.int64] = rows * AROUND + columns
    return cells
