"""The command line that all packers share: at once or in parts, and what is told at the end."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from waterscape.data.pack import check_target
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.photo_tally import LIST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterscape.sources.making import Item, Origin


class Told(Protocol):
    """What came in and where it went."""

    @property
    def came_in(self) -> int:
        """Items that were looked at."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Reason → items."""

    def table(self) -> str:
        """The counts as text."""


@dataclass(frozen=True)
class Way:
    """How a set is made."""

    replace: bool = False
    """Replace the set of shards that stands there."""
    part: str | None = None
    """I/N, as in 3/8: make only this part, in the directory OUT.parts. Parts may run at once, on machines that share
    it, and in any order; one that failed is run again alone, and goes on where it was."""
    join: bool = False
    """Make the set of all parts, given the same sources and options. It is the one that is packed without parts."""
    processes: int = os.cpu_count() or 1
    """How many processes share the work. What is written does not depend on it."""
    scratch: Path | None = None
    """Where a set for an --out behind a URL is made before it is sent there: a folder that all machines share where it
    is made in parts. Left out: a temporary one."""
    dry_run: bool = False
    """Tell what would be packed, and write nothing."""

    def check(self) -> None:
        """Raise `UserError` for what excludes another."""
        if self.part is not None and self.join:
            raise UserError("--part and --join exclude each other: join when all parts are complete")


USUAL_WAY = Way()


def make(origin: Origin[Item, Told], out: Path, way: Way) -> int:
    """Pack as told, and print what came of it; returns the exit code. Raises `UserError`."""
    way.check()
    if way.dry_run:
        check_target(out, replace=way.replace or way.join)  # what was joined before may stand
        print(making.outlook(origin, processes=way.processes))
        return 0
    began = time.monotonic()
    if way.part is not None:
        part, parts = part_of(way.part)
        done = making.pack_part(origin, out, part=part, parts=parts, replace=way.replace, processes=way.processes)
        stood = f"{done.made} made now, {done.shards - done.made} stood"
        print(
            f"{out}: part {part}/{parts} is complete: {done.shards} shards ({stood}), {time.monotonic() - began:.1f} s"
        )
        return 0
    if way.join:
        summary = making.join(origin, out, replace=way.replace)
    else:
        summary = making.pack(origin, out, replace=way.replace, processes=way.processes)
    seconds = time.monotonic() - began
    print(summary.table())
    print(f"{out}: {summary.came_in} {origin.unit}s in {seconds:.1f} s, {summary.came_in / seconds:.0f}/s")
    print(f"{out / 'contact.png'}: look at what came of it")
    if summary.dropped and (out / LIST).is_file():
        print(f"{out / LIST}: everything that was dropped, and why")
    return 0


def part_of(word: str) -> tuple[int, int]:
    """I and N of I/N. Raises `UserError` for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", word)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 9999:
        raise UserError(f"--part {word}: give I/N with I from 1 to N, and N up to 9999, as in 3/8")
    return int(match[1]), int(match[2])
