"""Tiles from a source into a folder, and what became of each into the ledger: a tile is whole or absent, and once.

A photo's tile is written before its row, so what is killed in between is asked for again, and the ledger never tells of
a file that is not there. Photos of one place have the same tile, which is asked for once.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from waterscape.durable import write_bytes
from waterscape.errors import UserError
from waterscape.sources.ledger import Tile
from waterscape.sources.requests_at_once import in_any_order
from waterscape.sources.satellite.source import (
    NO_PICTURE,
    OTHER_SIZE,
    REFUSED,
    DeniedError,
    NoTileError,
    SatelliteTile,
    TileSource,
    UnansweredError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from waterscape.sources.ledger import Ledger
    from waterscape.sources.satellite.work import Spot

FAILURES_IN_A_ROW = 5  # to get an answer of the right kind, after which the source is at fault, and not the places
PARTIAL = ".partial-"


@dataclass(frozen=True)
class Brought:
    """A place's tile on the disk."""

    files: dict[str, Path]
    """Of each photo."""
    row: Tile
    """What the ledger will say of them."""
    size: int
    """Bytes."""


@dataclass
class Outcome:
    """What became of what was asked for."""

    requests: int = 0
    fetched: int = 0
    """Photos that have a tile now."""
    megabytes: float = 0.0
    """Of the requests' tiles."""
    failed: Counter[str] = field(default_factory=Counter)
    """Photos without, by the reason; noted in the ledger."""
    unanswered: int = 0
    """Photos of requests without an answer; the same command asks again."""
    examples: dict[str, str] = field(default_factory=dict)
    """The words of one for each reason."""


def fetch(spots: Sequence[Spot], source: TileSource, ledger: Ledger, out: Path) -> Iterator[Outcome]:
    """Ask for the tiles of spots; the source is entered. Yields the same `Outcome` after each.

    Args:
        spots: to ask for.
        source: of the tiles.
        ledger: with their photos.
        out: the folder to write into, which is there.

    Raises:
        UserError: nobody would be answered, or several in a row were not; a file or the ledger cannot be written.
    """
    plan = dict(source.plan)

    def bring(spot: Spot) -> Brought:
        tile = source.tile_at(spot.latitude, spot.longitude)
        files = {photo: out / f"{photo}{tile.suffix}" for photo in spot.photos}
        for path in files.values():
            _write(path, tile.content)
        return Brought(files, _row(source, plan, tile), len(tile.content))

    def fail(spot: Spot, error: NoTileError) -> None:
        row = Tile("", source.name, "failed", str(error), facts={"plan": plan})
        outcome.failed[error.reason] += _note(ledger, dict.fromkeys(spot.photos), row)
        _sweep(ledger, spot, ())
        outcome.examples[error.reason] = str(error)

    outcome, in_a_row = Outcome(), 0
    odd: list[tuple[Spot, NoTileError]] = []  # noted when another answer shows that the source answers
    with closing(in_any_order(spots, bring, source.demand.at_once, UserError)) as results:
        for spot, result in results:
            outcome.requests += 1
            if isinstance(result, Brought):
                outcome.fetched += _note(ledger, result.files, result.row)
                _sweep(ledger, spot, result.files.values())
                outcome.megabytes += result.size / 1e6
            elif isinstance(result, NoTileError):
                odd.append((spot, result))
            elif isinstance(result, UnansweredError):
                outcome.unanswered += len(spot.photos)
                outcome.examples["no answer"] = str(result)
            else:
                raise _denied(result, outcome)
            in_a_row = in_a_row + 1 if _odd(result) else 0
            if not in_a_row or (outcome.requests == len(spots) and in_a_row < FAILURES_IN_A_ROW):
                while odd:
                    fail(*odd.pop(0))
            if in_a_row >= FAILURES_IN_A_ROW:
                raise UserError(
                    f"{in_a_row} requests in a row came to nothing, the last: {result}. {outcome.fetched} photos got "
                    "their tile; the same command goes on later"
                )
            yield outcome


def _odd(result: Brought | UserError) -> bool:
    """Whether something else than the place seems to be at fault."""
    return isinstance(result, UnansweredError) or (
        isinstance(result, NoTileError) and result.reason in (NO_PICTURE, OTHER_SIZE, REFUSED)
    )


def _denied(error: UserError, outcome: Outcome) -> UserError:
    if isinstance(error, DeniedError):
        return UserError(f"{error}. {outcome.fetched} photos got their tile; the same command goes on then")
    return error


def _write(path: Path, content: bytes) -> None:
    try:
        write_bytes(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): make room; the same command goes on") from error


def _row(source: TileSource, plan: Mapping[str, Any], tile: SatelliteTile) -> Tile:
    """What the ledger says of a tile; whose it is comes with `_note`."""
    return Tile(
        "",
        source.name,
        sha256=tile.sha256,
        width=tile.width,
        height=tile.height,
        metres_per_pixel=tile.metres_per_pixel,
        licence=source.licence,
        facts={**tile.facts, "plan": dict(plan)},
    )


def _note(ledger: Ledger, files: Mapping[str, Path | None], row: Tile) -> int:
    """Put a place's tile into the ledger for each of its photos, all or none. Returns for how many.

    A photo whose owner asked to be forgotten meanwhile is not there any more: its file goes again.
    """
    noted = 0
    with ledger.transaction():
        for photo, path in files.items():
            if ledger.photo(photo) is not None:
                ledger.put_tile(replace(row, photo=photo, file=ledger.name_of(path) if path else ""))
                noted += 1
            elif path:
                path.unlink(missing_ok=True)
    return noted


def _sweep(ledger: Ledger, spot: Spot, files: Iterable[Path]) -> None:
    """Remove what a place's photos had before, by other options, under other names."""
    new = {ledger.name_of(path) for path in files}
    for file in spot.before:
        if file not in new:
            ledger.path_of(file).unlink(missing_ok=True)


def ready(out: Path, *, alone: bool) -> None:
    """Make the folder where it is not; what a killed program left there is swept up, where no part may be at work.

    Raises `UserError` where nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for left in out.glob(f"{PARTIAL}*") if alone else ():
            left.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written to ({error.strerror}): give --out a folder that can") from error
