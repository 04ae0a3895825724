"""Which photo and which satellite tile belong together: by the names of their files, or by their places."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.leakage import EARTH_KM, unit_vectors
from waterscape.sources.photo_tally import Dropped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.sources.pair_files import Side

NO_PLACE, NO_PARTNER, TWICE = "no coordinates", "without a partner", "a key that stands twice"


@dataclass(frozen=True)
class Joined:
    """A photo and its tile."""

    photo: Side
    tile: Side
    metres: float | None
    """Between their places; None where one is not known."""


def unique(sides: Sequence[Side]) -> tuple[list[Side], list[Dropped]]:
    """Those whose keys stand once: of two files of one key, nobody knows which is meant."""
    of_key: defaultdict[str, list[Side]] = defaultdict(list)
    for side in sides:
        of_key[side.file.key].append(side)
    dropped = [
        Dropped(side.file.name, TWICE, f"{side.file.key}, in {len(same)} files")
        for same in of_key.values()
        if len(same) > 1
        for side in same
    ]
    return [side for side in sides if len(of_key[side.file.key]) == 1], dropped


def by_key(photos: Sequence[Side], tiles: Sequence[Side]) -> tuple[list[Joined], list[Dropped], list[Dropped]]:
    """Pairs of one key; the photos and the tiles that are in none."""
    photos, twice = unique(photos)
    tiles, tiles_twice = unique(tiles)
    photo_of, tile_of = ({side.file.key: side for side in sides} for sides in (photos, tiles))
    pairs = [
        Joined(one, tile_of[key], metres_between(one, tile_of[key])) for key, one in photo_of.items() if key in tile_of
    ]
    lone = [
        Dropped(one.file.name, NO_PARTNER, f"no tile is called {key}")
        for key, one in photo_of.items()
        if key not in tile_of
    ]
    lone_tiles = [
        Dropped(one.file.name, NO_PARTNER, f"no photo is called {key}")
        for key, one in tile_of.items()
        if key not in photo_of
    ]
    return pairs, [*twice, *lone], [*tiles_twice, *lone_tiles]


def by_place(
    photos: Sequence[Side], tiles: Sequence[Side], within_metres: float
) -> tuple[list[Joined], list[Dropped], list[Dropped]]:
    """Each photo with the nearest tile, where one is near enough; the photos and the tiles that are in no pair.

    Several photos may have one tile.
    """
    from scipy.spatial import cKDTree

    lost, lost_tiles = (
        [
            Dropped(side.file.name, NO_PLACE, "neither in its name, its .json nor its EXIF")
            for side in sides
            if not side.place
        ]
        for sides in (photos, tiles)
    )
    placed, placed_tiles = ([side for side in sides if side.place] for sides in (photos, tiles))
    pairs, lone = [], []
    if placed and placed_tiles:
        _, nearest = cKDTree(_vectors(placed_tiles)).query(_vectors(placed))
        for photo, number in zip(placed, np.asarray(nearest).tolist(), strict=True):
            tile = placed_tiles[number]
            metres = metres_between(photo, tile)
            if metres is not None and metres <= within_metres:
                pairs.append(Joined(photo, tile, metres))
            else:
                lone.append(
                    Dropped(photo.file.name, NO_PARTNER, f"the nearest tile, {tile.file.name}, is {metres:.0f} m off")
                )
    else:
        lone = [Dropped(photo.file.name, NO_PARTNER, "there is no tile with coordinates") for photo in placed]
    used = {pair.tile.file.name for pair in pairs}
    lone_tiles = [
        Dropped(tile.file.name, NO_PARTNER, "nearest to no photo")
        for tile in placed_tiles
        if tile.file.name not in used
    ]
    return pairs, [*lost, *lone], [*lost_tiles, *lone_tiles]


def metres_between(one: Side, other: Side) -> float | None:
    """Great-circle distance on a sphere of the Earth's mean radius; None where a place is not known."""
    if one.place is None or other.place is None:
        return None
    first, second = _vectors([one, other])
    chord = min(float(np.linalg.norm(first - second)) / 2, 1.0)
    return round(2000 * EARTH_KM * math.asin(chord), 2)


def _vectors(sides: Sequence[Side]) -> Any:
    places = np.array([side.place for side in sides], np.float64)
    return unit_vectors(places[:, 0], places[:, 1])
