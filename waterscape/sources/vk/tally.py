"""What a ledger holds of VK's photos, counted by the database: places no finer than 0.1°, and nobody's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterscape.sources.vk.searching import SOURCE

if TYPE_CHECKING:
    from waterscape.sources.ledger import Ledger


def keys(ledger: Ledger, state: str) -> list[str]:
    """Of the photos in a state, in order."""
    rows = ledger._all("SELECT key FROM photos WHERE state = ? AND source = ? ORDER BY key", (state, SOURCE))
    return [key for (key,) in rows]


def files(ledger: Ledger) -> list[tuple[str, str]]:
    """Key and file of the photos that are fetched."""
    return ledger._all("SELECT key, file FROM photos WHERE state = 'fetched' AND source = ?", (SOURCE,))


def by_state(ledger: Ledger) -> dict[str, int]:
    """State → photos."""
    return dict(ledger._all("SELECT state, count(*) FROM photos WHERE source = ? GROUP BY state", (SOURCE,)))


def by_month(ledger: Ledger) -> list[tuple[str, int, int]]:
    """Month (2021-01), photos that were put there in it, and as many of them as are fetched."""
    return ledger._all(
        "SELECT strftime('%Y-%m', taken, 'unixepoch'), count(*), sum(state = 'fetched') FROM photos "
        "WHERE source = ? GROUP BY 1 ORDER BY 1",
        (SOURCE,),
    )


def by_place(ledger: Ledger) -> list[tuple[float, float, int]]:
    """Latitude and longitude rounded to 0.1°, and photos there."""
    return ledger._all(
        "SELECT round(latitude, 1), round(longitude, 1), count(*) FROM photos "
        "WHERE source = ? AND latitude IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2",
        (SOURCE,),
    )


def by_failure(ledger: Ledger) -> list[tuple[str, int]]:
    """Reason, and photos that cannot be had for it, most first."""
    return ledger._all(
        "SELECT reason, count(*) FROM photos WHERE source = ? AND state = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1",
        (SOURCE,),
    )
