"""What a page that shows all photos of a ledger reads of each: a few columns of many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterscape.sources.ledger.rows import HAND, Tile

if TYPE_CHECKING:
    from waterscape.sources.ledger.ledger import Ledger


def places(ledger: Ledger) -> list[tuple[str, float | None, float | None]]:
    """Key, latitude and longitude of every fetched photo, in the order of their keys."""
    return ledger._all("SELECT key, latitude, longitude FROM photos WHERE state = 'fetched' ORDER BY key")


def rejections(ledger: Ledger) -> list[tuple[str, str, str]]:
    """Photo, filter and reason wherever a filter rejects, in the order of photos and filters."""
    return ledger._all(
        "SELECT photo, by, reason FROM decisions WHERE verdict = 'reject' AND by != ? ORDER BY photo, by", (HAND,)
    )


def by_hand(ledger: Ledger) -> list[tuple[str, str, str, float]]:
    """Photo, verdict, reason and time (seconds since 1970) of every decision by hand that stands."""
    return ledger._all("SELECT photo, verdict, reason, at FROM decisions WHERE by = ? ORDER BY photo", (HAND,))


def tiles_of(ledger: Ledger, photo: str) -> list[Tile]:
    """The tiles of a photo's place that were fetched, in the order of their sources."""
    rows = ledger._rows(Tile, "SELECT * FROM tiles WHERE photo = ? AND state = 'fetched' ORDER BY source", (photo,))
    return list(rows)
