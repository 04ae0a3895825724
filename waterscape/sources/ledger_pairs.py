"""A ledger's kept photos and the satellite tiles of their places → shards: `photo.jpg`, `satellite.jpg`, `json`.

Each sample's JSON says whose the photo is, where it comes from and under which licence: by that, a person's photos are
found when they want to be forgotten (`sources/forgetting.py`). Photos of people who were forgotten are passed over.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources import photo_facts
from waterscape.sources.ledger import Ledger
from waterscape.sources.ledger.packing import Standing, pairs, standings, tiles_by_source, verdicts
from waterscape.sources.making import SHOWN
from waterscape.sources.near_duplicates import NEAR, near_pairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_alike import Alike
from waterscape.sources.photo_file import Limits
from waterscape.sources.photo_set import (
    Collection,
    Picture,
    block_of,
    face,
    libraries,
    made,
    nothing_left,
    stored,
)
from waterscape.sources.photo_tally import Dropped, Tally, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.ledger import Photo, Tile
    from waterscape.sources.parallel import Each

UNFETCHED, FAILED = "not fetched yet", "could not be fetched"
NO_TILE, TILE_FAILED = "no satellite tile yet", "its tile could not be fetched"
CHANGED = "not the file that was fetched"
NO_PLACE = "no coordinates"


@dataclass(frozen=True)
class Found:
    """A kept photo and its tile, as the ledger knows them."""

    photo: Photo
    tile: Tile
    photo_path: Path
    tile_path: Path


@dataclass(frozen=True)
class LedgerPairs:
    """A ledger's pairs as an origin of samples (see `making`)."""

    ledger: Path
    identity: str
    beside: str
    """The ledger's file as seen from the set's folder, for who wants to forget somebody."""
    tiles: str
    """Of which source."""
    came_in: int
    keys: frozenset[str]
    """Of the photos that nothing stands in the way of."""
    dropped: tuple[Dropped, ...]
    options: Joining
    shown = "photo.jpg"
    unit = "photo"

    @classmethod
    def find(cls, path: Path, out: Path | None, source: str | None, options: Joining) -> LedgerPairs:
        """What the ledger holds.

        Args:
            path: of the ledger.
            out: the set to be; None where it goes elsewhere.
            source: of the tiles; None: the only one that the ledger has.
            options: how pairs become shards; those that join files count for nothing.

        Raises:
            UserError: no ledger, or it is not said which tiles to take.
        """
        options.check()
        with Ledger(path) as ledger:
            source = source or _only_source(ledger)
            rows = standings(ledger, source)
            identity = ledger.identity
        reasons = {row.key: _reason(row, options) for row in rows}
        dropped = tuple(Dropped(key, *reason) for key, reason in reasons.items() if reason)
        keys = frozenset(key for key, reason in reasons.items() if not reason)
        beside = Path(os.path.relpath(path.absolute(), out.absolute())).as_posix() if out else path.name
        return cls(path, identity, beside, source, len(rows), keys, dropped, options)

    @cached_property
    def decisions(self) -> dict[str, dict[str, int]]:
        """Filter → verdict → photos."""
        with Ledger(self.ledger) as ledger:
            return verdicts(ledger)

    @cached_property
    def found(self) -> tuple[Found, ...]:
        """The pairs, in the order of their photos' names."""
        with Ledger(self.ledger) as ledger:
            folder, rows = ledger.path_of(""), pairs(ledger, self.tiles, self.keys)
        return tuple(Found(photo, tile, folder / photo.file, folder / tile.file) for photo, tile in rows)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.options.sharing.samples_per_shard

    def outlook(self) -> str:
        """What the ledger says would be packed, before any picture is read."""
        tally = Tally(self.came_in, self.dropped)
        rows = {"photos": self.came_in, **{f"  {why}": n for why, n in tally.reasons().items()}}
        rows[f"would be packed, with tiles of {self.tiles}"] = len(self.keys)
        return "\n".join(f"{name:<56}{count:>9,}" for name, count in rows.items())

    def announcement(self) -> str:
        """What is about to be done."""
        return f"{len(self.keys):,} of {self.came_in:,} photos are to be packed, with tiles of {self.tiles}"

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        told: list[Any] = [[vars(one.photo), vars(one.tile)] for one in self.found]
        told += [[drop.name, drop.reason] for drop in self.dropped]
        return {
            "ledger": self.identity,
            "rows_sha256": sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
            "tiles": self.tiles,
            "options": asdict(self.options),
            "libraries": libraries(),
        }

    def judge(self, each: Each) -> Collection:
        """Read all pictures, and share out the pairs. Raises `UserError` where none is left."""
        looked = each(
            "survey", partial(look, limits=self.options.limits), self.found, threads=photo_facts.SURVEY_THREADS
        )
        bad = [
            Dropped(one.photo.key, facts["reason"], facts["detail"])
            for one, facts in zip(self.found, looked, strict=True)
            if "reason" in facts
        ]
        tally = Tally(self.came_in, [*self.dropped, *bad])
        sound = [(one, facts) for one, facts in zip(self.found, looked, strict=True) if "reason" not in facts]
        if not sound:
            raise nothing_left(tally, self.unit)
        groups = [self._group(one.photo) for one, _ in sound]
        split_of = self.options.sharing.split_of(Counter(groups))
        kept = [
            self._picture(one, facts, group, split_of[group]) for (one, facts), group in zip(sound, groups, strict=True)
        ]
        seed = self.options.sharing.seed
        alike = Alike(
            [(one.photo.key, "", one.photo_path) for one, _ in sound],
            [picture.split for picture in kept],
            near_pairs([facts["photo"]["fingerprint"] for _, facts in sound], NEAR),
        )
        kept.sort(key=lambda one: hash64(seed, "order of writing", one.name))
        shown = [picture.source[0].tile_path for picture in kept[:SHOWN]]
        return LedgerCollection(
            unit=self.unit,
            kept=kept,
            tally=tally,
            classes=(),
            make=make,
            threads=None,
            described={
                "content": "photos from the ground and satellite tiles of their places, both as JPEG",
                "source": sorted({one.photo.source for one, _ in sound}),
                "licence": self.options.sharing.licence,
                "made": made("tools/pack_pairs.py", **asdict(self.options)),
                "ledger": {"path": self.beside, "identity": self.identity},
                "split": f"by {self.options.split}",
                "decisions": self.decisions,
                **counted_again([picture.json() for picture in sorted(kept, key=lambda one: one.name)]),
            },
            notes=[*alike.notes(), *_equal_tiles(sound)],
            rows=partial(_tiles_shown, shown, alike),
            ledger=self.ledger,
            owners=frozenset((one.photo.source, one.photo.owner) for one, _ in sound),
        )

    def _group(self, photo: Photo) -> str:
        """What is not torn: a block of ground, or each photo by itself."""
        if self.options.split == "tile":
            return photo.key
        block = block_of({"longitude": photo.longitude, "latitude": photo.latitude}, self.options.block_km)
        assert block is not None, "photos without coordinates are dropped"
        return block

    def _picture(self, one: Found, looked: Mapping[str, Any], group: str, split: str) -> Picture:
        photo, tile = one.photo, one.tile
        seen, tile_seen = looked["photo"], looked["tile"]
        metres = tile.metres_per_pixel
        told = {
            "photo": photo.key,
            "source": photo.source,
            "owner": photo.owner,
            "number": photo.number,
            "source_url": photo.url,
            "licence": photo.licence,
            "longitude": photo.longitude,
            "latitude": photo.latitude,
            "taken": photo.taken,
            "date": _date(photo.taken),
            "region": photo.source,
            "width": seen["width"],
            "height": seen["height"],
            "stored": seen["ways"],
            "fingerprint": seen["fingerprint"],
            "synthetic": seen["synthetic"] or tile_seen["synthetic"],
            "metres_between": 0.0 if photo.longitude is not None else None,
            "metres_per_pixel": [metres, metres] if metres else None,
            "satellite": {
                **{name: value for name, value in tile.facts.items() if isinstance(value, str | int | float | list)},
                "source": tile.source,
                "licence": tile.licence,
                "width": tile_seen["width"],
                "height": tile_seen["height"],
                "stored": tile_seen["ways"],
            },
        }
        ways = (*(f"photo {way}" for way in seen["ways"]), *(f"tile {way}" for way in tile_seen["ways"]))
        source = (one, seen, tile_seen, self.options.limits)
        return Picture(photo.key, source, -1, told, ways, group, split)


@dataclass(frozen=True)
class LedgerCollection(Collection):
    """What the first reading came to; looked through once more before it is published."""

    ledger: Path | None = None
    owners: frozenset[tuple[str, str]] = frozenset()

    def illustrate(self, directory: Path, facts: Mapping[str, Any], pictures: Mapping[int, Sequence[Value]]) -> None:
        """As any collection; but raise `UserError` where somebody asked to be forgotten while this was packed."""
        assert self.ledger is not None
        with Ledger(self.ledger) as ledger:
            if any(ledger.is_forgotten(*owner) for owner in self.owners):
                raise UserError("somebody was forgotten while their photos were being packed: pack again")
        super().illustrate(directory, facts, pictures)


def look(one: Found, limits: Limits) -> dict[str, Any]:
    """What the first reading finds of a photo and of its tile; `reason` and `detail` where the pair is dropped."""
    looked: dict[str, Any] = {}
    for name, path, digest in (
        ("photo", one.photo_path, one.photo.sha256),
        ("tile", one.tile_path, one.tile.sha256),
    ):
        found = photo_facts.look(path, limits)
        if "reason" not in found and digest and found["sha256"] != digest:
            found = {"reason": CHANGED, "detail": f"its sha256 is {found['sha256'][:12]}…, not {digest[:12]}…"}
        if "reason" in found:
            return {"reason": f"{'tile: ' * (name == 'tile')}{found['reason']}", "detail": found["detail"]}
        looked[name] = {field: value for field, value in found.items() if field != "facts"}
    return looked


def make(picture: Picture) -> dict[str, Value]:
    """A pair's columns. Raises `UserError` where a file is no longer what the survey found."""
    one, seen, tile_seen, limits = picture.source
    return {
        "photo.jpg": stored(one.photo_path, seen["sha256"], seen["ways"], limits),
        "satellite.jpg": stored(one.tile_path, tile_seen["sha256"], tile_seen["ways"], limits),
    }


def counted_again(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a manifest says of its samples that follows from their JSONs, in the order of their names.

    Whoever takes samples away counts again by the same rule.
    """
    alike = Alike(
        [(one["photo"], "", Path()) for one in told],
        [one["split"] for one in told],
        near_pairs([one["fingerprint"] for one in told], NEAR),
    )
    sizes = Counter((one["satellite"]["width"], one["satellite"]["height"]) for one in told)
    metres = [np.mean(one["metres_per_pixel"]) for one in told if one["metres_per_pixel"]]
    scale = {"metres_per_pixel": round(float(np.median(metres)), 4)} if metres else {}
    pixels = min(sizes, key=lambda size: (-sizes[size], size), default=(0, 0))
    licences = Counter(one["licence"] for one in told)
    tile_licences = Counter(one["satellite"]["licence"] for one in told)
    return {
        "synthetic": any(one["synthetic"] for one in told),
        "licences": dict(sorted(licences.items())),
        "groups": len({one["group"] for one in told}),
        "tiles": {
            "source": dict(sorted(Counter(one["satellite"]["source"] for one in told).items())),
            "licences": dict(sorted(tile_licences.items())),
            "pixels": list(pixels),
            **scale,
        },
        "near_duplicates": alike.facts(),
    }


def _only_source(ledger: Ledger) -> str:
    counted = tiles_by_source(ledger)
    if not counted:
        raise UserError(f"{ledger.path} has no satellite tiles yet: tools/fetch_satellite.py fetches them")
    if len(counted) > 1:
        told = ", ".join(f"{source} ({count})" for source, count in counted.items())
        raise UserError(f"{ledger.path} has tiles of {told}: say which to take, as in --tiles {min(counted)}")
    return next(iter(counted))


def _reason(row: Standing, options: Joining) -> tuple[str, str] | None:
    """Why a photo is not packed, and more of it; None: it is."""
    if row.state == "failed":
        return FAILED, plain(row.reason)
    if row.rejected_by:
        return f"rejected: {row.rejected_by}", plain(row.rejected_for or "")
    if row.state == "found":
        return UNFETCHED, ""
    if options.split == "place" and not row.placed:
        return NO_PLACE, "--split tile packs it all the same"
    if row.tile is None:
        return NO_TILE, ""
    return (TILE_FAILED, plain(row.tile_reason or "")) if row.tile == "failed" else None


def _date(taken: float | None) -> str | None:
    """ISO 8601, UTC."""
    if taken is None:
        return None
    try:
        return datetime.fromtimestamp(taken, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return None


def _equal_tiles(sound: Sequence[tuple[Found, Mapping[str, Any]]]) -> list[str]:
    """A note where one picture stands for many places, as a server sends where it has none."""
    counted = Counter(facts["tile"]["sha256"] for _, facts in sound)
    digest, count = counted.most_common(1)[0]
    if count == 1:
        return []
    one = next(pair.tile.file for pair, facts in sound if facts["tile"]["sha256"] == digest)
    return [f"{count} tiles are the same file as {one}: is there no picture of these places?"]


def _tiles_shown(tiles: Sequence[Path], alike: Alike) -> dict[str, NDArray[np.uint8]]:
    """The tiles of the photos above them, and the photos that look the same."""
    return {"their tiles": np.stack([face(path) for path in tiles]), **alike.rows()}
