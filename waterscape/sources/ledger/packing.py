"""What packing asks of a ledger: what stands in the way of each photo, and the pairs that may be packed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from waterscape.sources.ledger.rows import HAND, Photo, Tile

if TYPE_CHECKING:
    from collections.abc import Collection

    from waterscape.sources.ledger.ledger import Ledger


class Standing(NamedTuple):
    """Where a photo stands on its way into a set of shards."""

    key: str
    state: str
    reason: str
    """Why it could not be fetched."""
    placed: int
    """Whether its coordinates are known."""
    rejected_by: str | None
    """By hand, or, where no hand decided, the first filter that rejects it."""
    rejected_for: str | None
    tile: str | None
    """State of its tile; None: there is none."""
    tile_reason: str | None


def standings(ledger: Ledger, source: str) -> list[Standing]:
    """Every photo but those of people who are forgotten, in the order of their keys; `source`: of the tiles."""
    forgotten = _forgotten(ledger)
    photos = "SELECT key, state, reason, latitude IS NOT NULL AND longitude IS NOT NULL FROM photos ORDER BY key"
    against: dict[str, tuple[str | None, str | None]] = {}
    decided = "SELECT photo, by, verdict, reason FROM decisions WHERE verdict = 'reject' OR by = ? ORDER BY photo, by"
    for photo, by, verdict, reason in ledger._all(decided, (HAND,)):
        if by == HAND:
            against[photo] = (by, reason) if verdict == "reject" else (None, None)
        elif against.get(photo, (by,))[0] == by:
            against[photo] = (by, reason)
    of_source = ledger._all("SELECT photo, state, reason FROM tiles WHERE source = ?", (source,))
    tiles = {photo: (state, reason) for photo, state, reason in of_source}
    nothing = (None, None)
    return [
        Standing(key, state, reason, placed, *against.get(key, nothing), *tiles.get(key, nothing))
        for key, state, reason, placed in ledger._all(photos)
        if key not in forgotten
    ]


def pairs(ledger: Ledger, source: str, keys: Collection[str]) -> list[tuple[Photo, Tile]]:
    """Some photos and their tiles, in the order of their keys."""
    tiles = {tile.photo: tile for tile in ledger.tiles(source) if tile.photo in keys}
    return [(photo, tiles[photo.key]) for photo in ledger.photos(state="fetched") if photo.key in tiles]


def verdicts(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Filter → verdict → photos."""
    counted: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for by, verdict, count in ledger._all("SELECT by, verdict, count(*) FROM decisions GROUP BY 1, 2 ORDER BY 1, 2"):
        counted[by][verdict] = count
    return dict(counted)


def tiles_by_source(ledger: Ledger) -> dict[str, int]:
    """Source of tiles → how many."""
    return dict(ledger._all("SELECT source, count(*) FROM tiles GROUP BY 1 ORDER BY 1"))


def tile_files(ledger: Ledger) -> list[tuple[str, str]]:
    """Photo and file of every tile that was fetched."""
    return ledger._all("SELECT photo, file FROM tiles WHERE file != ''")


def _forgotten(ledger: Ledger) -> set[str]:
    """Photos of people whose tombstone stands, though their rows are still there."""
    if not ledger._one("SELECT count(*) FROM tombstones"):
        return set()
    owners = ledger._all("SELECT DISTINCT source, owner FROM photos")
    return {photo.key for owner in owners if ledger.is_forgotten(*owner) for photo in ledger.photos_of(*owner)}
