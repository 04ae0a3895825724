"""What people see of fetched tiles: photos beside their tiles, and a map of where tiles are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.durable import replacing
from waterscape.randomness import hash64
from waterscape.sheet import save_png, sheet
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
PAPER, ASKED, STANDING = "#fcfbf8", "#c8553d", "#519fc9"


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
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LogNorm

    places = np.array(work.places or [(0.0, 0.0)])
    left = np.array([(spot.latitude, spot.longitude) for spot in work.spots]).reshape(-1, 2)
    middle = float(np.degrees(np.angle(np.exp(1j * np.radians(places[:, 1])).mean())))
    places[:, 1], left[:, 1] = near(places[:, 1], middle), near(left[:, 1], middle)
    figure, axis = plt.subplots(figsize=(8, 6.5), layout="constrained")
    if exact:
        axis.scatter(places[:, 1], places[:, 0], s=14, color=STANDING, linewidths=0, label="photos")
        axis.scatter(left[:, 1], left[:, 0], s=4, color=ASKED, linewidths=0, label="places to ask for")
        axis.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, frameon=False)
    else:
        cells, counts = _cells(places)
        wanted = {tuple(cell) for cell in _cells(left)[0].tolist()}
        edges = [ASKED if tuple(cell) in wanted else "none" for cell in cells.tolist()]
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        squares = [(cell[::-1] + corners) * COARSE for cell in cells]
        drawn = PolyCollection(squares, edgecolors=edges, linewidths=1.2 if len(cells) < MANY else 0.3, cmap="YlGnBu")
        drawn.set(array=counts, norm=LogNorm(1, max(10, counts.max())))
        axis.add_collection(drawn)
        figure.colorbar(drawn, label="photos in a cell of 0.1°; framed where tiles are to be asked for")
        axis.autoscale()
    latitude = np.clip(np.abs(places[:, 0]).mean(), 0, 80)
    axis.set(aspect=1 / np.cos(np.radians(latitude)), title=title, xlabel="longitude", ylabel="latitude")
    axis.xaxis.set_major_formatter(lambda x, _: f"{(x + 180) % 360 - 180:g}°")
    axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}°")
    axis.margins(0.08)
    axis.grid(alpha=0.3)
    axis.set_facecolor(PAPER)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)


def _cells(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the cells that points lie in, and how many in each."""
    cells, counts = np.unique(np.floor(points / COARSE).astype(int), axis=0, return_counts=True)
    return cells, counts
