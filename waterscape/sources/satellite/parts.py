"""Fetching by several programs at once: each writes tiles into a ledger of its own, which are joined at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from waterscape.sources.satellite.work import Work

NAME, JOINED = (re.compile(rf"\.satellite-{done}part-(\d{{4}})-of-(\d{{4}})\.db") for done in ("", "joined-"))


def part_path(ledger: Path, part: int, parts: int) -> Path:
    """Where a part's ledger lies: beside the whole one, so that the names of files mean the same."""
    return ledger.with_name(f"{ledger.name}.satellite-part-{part:04d}-of-{parts:04d}.db")


def begin_part(ledger: Ledger, own: Ledger, work: Work) -> None:
    """Tell a part's ledger of the photos whose tiles it will fetch."""
    wanted = {photo for spot in work.spots for photo in spot.photos}
    own.add(photo for photo in ledger.photos(state="fetched") if photo.key in wanted)


def join(ledger: Ledger) -> tuple[int, int]:
    """Take over the tiles of all parts, all or none, and remove the parts' ledgers. May be killed, and run again.

    Returns how many parts and tiles. Raises `UserError` where a part is missing, or there is none.
    """
    joined = _ledgers(ledger, JOINED)
    found = joined | _ledgers(ledger, NAME)
    if not found:
        raise UserError(f"{ledger.path} has no parts to join: fetch them with --part 1/N … N/N")
    counts = {parts for _, parts in found}
    if len(counts) > 1:
        raise UserError(f"{ledger.path} has parts of {' and of '.join(map(str, sorted(counts)))}: remove those of one")
    (parts,), tiles = counts, 0
    if found != joined:
        missing = [part for part in range(1, parts + 1) if (part, parts) not in found]
        if missing:
            raise UserError(f"{ledger.path}: part {missing[0]}/{parts} is not there yet: run it with --part")
        tiles = _take_over(ledger, found.values())
        for place, path in found.items():
            found[place] = path.rename(path.with_name(path.name.replace("-part-", "-joined-part-")))
    for path in found.values():
        path.unlink()
    return parts, tiles


def _ledgers(ledger: Ledger, name: re.Pattern[str]) -> dict[tuple[int, int], Path]:
    """Those of parts I of N, beside the whole one."""
    beside = sorted(ledger.path.absolute().parent.glob(f"{ledger.path.name}.satellite-*part-*.db"))
    matches = {path: name.fullmatch(path.name.removeprefix(ledger.path.name)) for path in beside}
    return {(int(match[1]), int(match[2])): path for path, match in matches.items() if match}


def _take_over(ledger: Ledger, paths: Iterable[Path]) -> int:
    tiles = 0
    with ledger.transaction():
        for path in paths:
            with Ledger(path) as own:
                for tile in own.tiles():
                    if ledger.photo(tile.photo) is not None:  # whoever asked to be forgotten meanwhile stays so
                        ledger.put_tile(tile)
                        tiles += 1
    return tiles
