"""Which tiles there are to fetch: the places of the kept photos in a ledger, less what is done."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.satellite.source import decimals

if TYPE_CHECKING:
    from pathlib import Path

    from waterscape.sources.ledger import Ledger
    from waterscape.sources.satellite.source import TileSource


@dataclass(frozen=True)
class Spot:
    """A place whose tile is asked for once, and the photos (keys) of it."""

    latitude: float
    longitude: float
    photos: tuple[str, ...]


@dataclass
class Work:
    """What is done, and what is left."""

    spots: list[Spot] = field(default_factory=list)
    """To ask for, in the order of their first photo."""
    places: list[tuple[float, float]] = field(default_factory=list)
    """Latitude and longitude of all photos that have some, rounded as tiles are asked for."""
    kept: int = 0
    without_place: int = 0
    done: int = 0
    """Photos that have their tile."""
    lost: int = 0
    """Photos whose tile was fetched, and is gone from the disk."""
    failed: Counter[str] = field(default_factory=Counter)
    """Photos that had none before, by the reason; left alone unless they are to be tried again."""

    @property
    def photos(self) -> int:
        """As many as the spots have."""
        return sum(len(spot.photos) for spot in self.spots)


def work_of(
    ledger: Ledger,
    source: TileSource,
    out: Path,
    *,
    retry: bool = False,
    replace: bool = False,
    part: tuple[int, int] = (1, 1),
    known: Ledger | None = None,
) -> Work:
    """What there is to do for the photos that are fetched and kept.

    Args:
        ledger: with the photos.
        source: of the tiles.
        out: the folder that they lie in.
        retry: those that failed too.
        replace: those that were made with other options too.
        part: I of N: places are shared out by their coordinates.
        known: a ledger of the part, with the tiles that it has already.

    Raises:
        UserError: tiles of other options stand, or those of another source lie in the folder.
    """
    stand: dict[str, tuple[str, str, str]] = {}
    for one in filter(None, (ledger, known)):
        stand |= _standing(one, source, out, replace=replace)
    work, groups = Work(), defaultdict[tuple[float, float], list[str]](list)
    digits, present = decimals(source.finest_metres), _files_below(out)
    for key, latitude, longitude in ledger.kept_places():
        work.kept += 1
        if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
            work.without_place += 1
            continue
        place = round(latitude, digits), round(longitude, digits)
        if part[1] > 1 and hash64(0, "part", f"{place[0]:.7f},{place[1]:.7f}") % part[1] != part[0] - 1:
            continue
        work.places.append(place)
        state, reason, file = stand.get(key, ("", "", ""))
        if state == "failed" and not retry:
            work.failed[reason.partition(":")[0]] += 1
        elif state == "fetched" and file.rpartition("/")[2] in present:
            work.done += 1
        else:
            work.lost += state == "fetched"
            groups[place].append(key)
    work.spots = [Spot(*place, tuple(keys)) for place, keys in groups.items()]
    return work


def _standing(ledger: Ledger, source: TileSource, out: Path, *, replace: bool) -> dict[str, tuple[str, str, str]]:
    """Photo → state, reason and file of its tile, where it is of this source and these options."""
    plan, folder, stand, same = dict(source.plan), ledger.name_of(out), {}, set[str]()
    for photo, of, state, reason, file, told in ledger.tile_states():
        if of != source.name:
            if file.rpartition("/")[0] == folder:
                raise UserError(f"{out} holds tiles of {of}: give --out another folder for those of {source.name}")
            continue
        if told is not None and told not in same:
            before = json.loads(told)
            differ = ", ".join(name for name, value in plan.items() if before.get(name) != value)
            if differ and not replace:
                raise UserError(
                    f"{ledger.path} has tiles of {source.name} with other options ({differ}): give the same, or "
                    "--replace to fetch all anew"
                )
            if differ:
                continue
            same.add(told)
        stand[photo] = (state, reason, file)
    return stand


def _files_below(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} if out.is_dir() else set()
