"""What the filters ask of a ledger: which photos they have judged, by which settings, and how many for what reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from waterscape.sources.ledger.rows import HAND, Photo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from waterscape.sources.ledger.ledger import Ledger


class Tally(NamedTuple):
    """How many photos a filter decides in one way for one reason."""

    by: str
    verdict: str
    reason: str
    photos: int


def judged(ledger: Ledger, settings: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every fetched photo's key, and the verdicts of those filters that judged this file by these settings.

    `settings`: filter → the digest of its settings, which stands in its decisions' `facts`, as does the file's hash.
    """
    rows = ledger._all(
        """
        WITH wanted AS MATERIALIZED (SELECT key AS name, value AS settings FROM json_each(?))
        SELECT key, (
          SELECT group_concat(by || ' ' || verdict) FROM wanted CROSS JOIN decisions
          WHERE photo = photos.key AND by = name AND instr(decisions.facts, settings) AND instr(decisions.facts, sha256)
        ) FROM photos WHERE state = 'fetched' ORDER BY key
        """,
        (json.dumps(settings),),
    )
    for key, told in rows:
        yield key, dict(one.split(" ") for one in told.split(",")) if told else {}


def photos_named(ledger: Ledger, keys: Sequence[str]) -> list[Photo]:
    """The photos of some keys that are still there, in the order of the keys."""
    statement = "SELECT * FROM photos WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key"
    return list(ledger._rows(Photo, statement, (json.dumps(list(keys)),)))


def tally(ledger: Ledger) -> list[Tally]:
    """How many fetched photos each filter keeps and rejects, by reason."""
    rows = ledger._all(
        "SELECT by, verdict, decisions.reason, count(*) FROM decisions JOIN photos ON key = photo "
        "WHERE state = 'fetched' AND by != ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3",
        (HAND,),
    )
    return [Tally(*row) for row in rows]


def kept(ledger: Ledger) -> int:
    """How many fetched photos are kept in the end, by hand or by all filters."""
    return int(
        ledger._one(
            "SELECT count(*) FROM photos JOIN standing ON photo = key WHERE state = 'fetched' AND verdict = 'keep'"
        )
    )


def rejected(ledger: Ledger, by: str, reason: str) -> list[tuple[str, float | None]]:
    """The fetched photos that a filter rejects for a reason, and their scores, the lowest first."""
    return ledger._all(
        "SELECT photo, score FROM decisions JOIN photos ON key = photo "
        "WHERE state = 'fetched' AND by = ? AND verdict = 'reject' AND decisions.reason = ? ORDER BY score, photo",
        (by, reason),
    )


def nearest_kept(ledger: Ledger, by: str, score: float, most: int) -> list[tuple[str, float]]:
    """So many fetched photos that a filter keeps, and their scores, the one nearest to a score first."""
    return ledger._all(
        "SELECT photo, score FROM decisions JOIN photos ON key = photo WHERE state = 'fetched' AND by = ? "
        "AND verdict = 'keep' AND score IS NOT NULL ORDER BY abs(score - ?), photo LIMIT ?",
        (by, score, most),
    )
