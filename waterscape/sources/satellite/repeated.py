"""Pictures that came for several places: what a server sends where it has none, and no tile of any of them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from waterscape.sources.satellite.source import METRES_IN_DEGREE, NO_IMAGERY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from waterscape.sources.ledger import Ledger, Tile

PIXELS_APART = 20  # places further apart have no picture in common


def refuse_repeated(ledger: Ledger, tiles: Iterable[Tile]) -> list[Tile]:
    """Make failures of those of a source's tiles whose picture is that of another place too; their files go.

    Returns the tiles that are left.
    """
    pictures: defaultdict[str, list[Tile]] = defaultdict(list)
    for tile in tiles:
        if tile.state == "fetched":
            pictures[tile.sha256].append(tile)
    refused = [tile for same in pictures.values() if _apart(same) for tile in same]
    with ledger.transaction():
        for tile in refused:
            if ledger.photo(tile.photo) is None:  # forgotten meanwhile
                continue
            words = f"{NO_IMAGERY}: the same picture as at another place"
            ledger.put_tile(replace(tile, state="failed", reason=words, file="", sha256=""))
    for tile in refused:
        ledger.path_of(tile.file).unlink(missing_ok=True)
    return [tile for same in pictures.values() if not _apart(same) for tile in same]


def _apart(tiles: list[Tile]) -> bool:
    """Whether any two lie at different places: the first and another one, since all the same."""
    latitude, longitude = tiles[0].facts["asked"]
    for tile in tiles[1:]:
        north, east = tile.facts["asked"]
        across = abs((east - longitude + 180) % 360 - 180) * math.cos(math.radians(latitude))
        if math.hypot(north - latitude, across) * METRES_IN_DEGREE > PIXELS_APART * (tile.metres_per_pixel or 1):
            return True
    return False
