"""Fetching by several programs at once: each writes tiles into a ledger of its own, which are joined at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger, Request

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from waterscape.sources.satellite.source import TileSource
    from waterscape.sources.satellite.work import Work

NAME, JOINED = (re.compile(rf"\.satellite-{done}part-(\d{{4}})-of-(\d{{4}})\.db") for done in ("", "joined-"))


def part_path(ledger: Path, part: int, parts: int) -> Path:
    """Where a part's ledger lies: beside the whole one, so that the names of files mean the same."""
    return ledger.with_name(f"{ledger.name}.satellite-part-{part:04d}-of-{parts:04d}.db")


def begin_part(ledger: Ledger, own: Ledger, source: TileSource, work: Work) -> None:
    """Tell a part's ledger of the photos whose tiles it will fetch, and that it is not complete before `end_part`."""
    own.answered(Request(_of(source), "", counted=1, facts={"plan": dict(source.plan)}))
    wanted = {photo for spot in work.spots for photo in spot.photos}
    own.add(photo for photo in ledger.photos(state="fetched") if photo.key in wanted)


def end_part(own: Ledger, source: TileSource) -> None:
    """Note that a part has asked for all that it had to ask for, and was answered."""
    own.answered(Request(_of(source), "", counted=1, got=1, facts={"plan": dict(source.plan)}))


def join(ledger: Ledger, source: TileSource) -> tuple[int, int]:
    """Take over the tiles of all parts, all or none, and remove the parts' ledgers. May be killed, and run again.

    No part is at work meanwhile (`claiming.claimed`). Returns how many parts and tiles. Raises `UserError` where a part
    is missing or not complete, or there is none.
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
        lacking = [
            f"{part}/{parts}" for (part, _), path in sorted(found.items()) if not _complete(ledger, path, source)
        ]
        if lacking:
            raise UserError(
                f"{ledger.path}: not all parts are complete with these options: run --part {', '.join(lacking)}, "
                "then --join"
            )
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


def _of(source: TileSource) -> str:
    return f"part of the tiles of {source.name}"


def _complete(ledger: Ledger, path: Path, source: TileSource) -> bool:
    with Ledger(path) as own:
        if own.identity != ledger.identity:
            raise UserError(f"{path} is no part of {ledger.path}: remove it, or name the ledger that it is a part of")
        noted = own.request(_of(source))
    return noted is not None and noted.got == noted.counted and noted.facts["plan"] == dict(source.plan)


def _take_over(ledger: Ledger, paths: Iterable[Path]) -> int:
    tiles, left = 0, []
    with ledger.transaction():
        for path in paths:
            with Ledger(path) as own:
                for tile in own.tiles():
                    if ledger.photo(tile.photo) is not None:  # whoever asked to be forgotten meanwhile stays so
                        ledger.put_tile(tile)
                        tiles += 1
                    elif tile.file:
                        left.append(own.path_of(tile.file))
    for file in left:
        file.unlink(missing_ok=True)
    return tiles
