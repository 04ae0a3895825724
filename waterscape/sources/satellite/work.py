"""Which tiles there are to fetch: the places of the kept photos in a ledger, less what is done."""

from __future__ import annotations

import gc
import json
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.satellite.source import decimals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from waterscape.sources.ledger import Ledger
    from waterscape.sources.satellite.source import TileSource


class Spot(NamedTuple):
    """A place whose tile is asked for once, and the photos (keys) of it."""

    latitude: float
    longitude: float
    photos: tuple[str, ...]
    before: tuple[str, ...] = ()
    """Files of the tiles that they had before, which these take the place of; relative to the ledger's folder."""


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


@contextmanager
def _without_cycles() -> Iterator[None]:
    """Rows by the hundred thousand, none of which refers to itself: looking for what does takes a third of the time."""
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


@_without_cycles()
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
        UserError: tiles of other options stand, or lie in another folder; photos or those of another source lie in it.
    """
    folders = _Folders(ledger, out)
    refuse_photos_folder(ledger, out)
    stand, before = dict[str, tuple[str, str, str]](), defaultdict[str, set[str]](set)
    for one in dict.fromkeys((ledger, known or ledger)):
        stand |= _standing(one, source, folders, before, replace=replace)
    work, groups = Work(), defaultdict[tuple[float, float], list[str]](list)
    digits = decimals(source.finest_metres)
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
        elif state == "fetched" and folders.has(file):
            work.done += 1
        else:
            work.lost += state == "fetched"
            groups[place].append(key)
    for place, keys in groups.items():
        olds = before and sorted(file for key in keys for file in before.get(key, ()))
        work.spots.append(Spot(*place, tuple(keys), tuple(olds)))
    return work


def refuse_photos_folder(ledger: Ledger, out: Path) -> None:
    """Raise `UserError` where photos of a ledger lie in the folder for their tiles, which have the same names."""
    if any(map(_Folders(ledger, out).is_out, ledger.photo_folders())):
        raise UserError(f"{out} holds the photos of {ledger.path}: give --out another folder for their tiles")


def _standing(
    ledger: Ledger, source: TileSource, folders: _Folders, before: dict[str, set[str]], *, replace: bool
) -> dict[str, tuple[str, str, str]]:
    """Photo → state, reason and file of its tile, where it is of this source, these options, and in the folder.

    `before` takes the files of each photo's tiles of this source, whatever they are.
    """
    plan, out, stand, same = dict(source.plan), folders.out, {}, set[str]()
    for photo, of, state, reason, file, told in ledger.tile_states():
        folder = file.rpartition("/")[0]
        if of != source.name:
            if file and folders.is_out(folder):
                raise UserError(f"{out} holds tiles of {of}: give --out another folder for those of {source.name}")
            continue
        if file:
            before[photo].add(file)
            if not folders.is_out(folder) and folders.has(file):
                if not replace:
                    raise UserError(
                        f"{ledger.path} has tiles of {source.name} in {ledger.path_of(folder)}: give that as --out, or "
                        f"--replace to fetch them anew into {out}, which removes the old ones"
                    )
                continue
        if told is not None and told not in same:
            options = json.loads(told)
            differ = ", ".join(name for name, value in plan.items() if options.get(name) != value)
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


class _Folders:
    """The folders that a ledger's rows name, each looked into once."""

    def __init__(self, ledger: Ledger, out: Path) -> None:
        self.ledger, self.out = ledger, out
        self._resolved = out.resolve()
        self._is_out: dict[str, bool] = {}
        self._names: dict[str, set[str]] = {}

    def is_out(self, folder: str) -> bool:
        """Whether one is that of the tiles to fetch, by whatever way it is named."""
        if folder not in self._is_out:
            self._is_out[folder] = self.ledger.path_of(folder).resolve() == self._resolved
        return self._is_out[folder]

    def has(self, file: str) -> bool:
        """Whether a file is where its row says."""
        folder, _, name = file.rpartition("/")
        if folder not in self._names:
            path = self.ledger.path_of(folder)
            self._names[folder] = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        return name in self._names[folder]
