"""Photos from the ground and the satellite tiles of their places → shards: `photo.jpg`, `satellite.jpg`, `json`.

Neighbouring tiles show the same ground: whole blocks of it go to one split. A pair lies where its photo was taken.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.making import SHOWN, digest_of
from waterscape.sources.near_duplicates import NEAR, near_pairs
from waterscape.sources.pair_files import Folder, look
from waterscape.sources.pair_joining import Joined, by_key, by_place
from waterscape.sources.photo_alike import Alike
from waterscape.sources.photo_facts import SURVEY_THREADS
from waterscape.sources.photo_file import USUAL_LIMITS, Limits
from waterscape.sources.photo_set import (
    USUAL_SHARING,
    Collection,
    Picture,
    Sharing,
    block_of,
    face,
    libraries,
    made,
    sources_apart,
    stored,
)
from waterscape.sources.photo_tally import Dropped, Tally
from waterscape.sources.satellite.source import metres_per_pixel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.parallel import Each

OTHER_SIZE = "a tile of another size"


@dataclass(frozen=True)
class Joining:
    """How photos and tiles become pairs, and these become shards."""

    by: Literal["key", "coordinates"] | None = None
    """key: files of one name, but for the ending. coordinates: each photo and the nearest tile. Left out: key where
    any two files are called alike, else coordinates."""
    within_metres: float = 100.0
    """With --by coordinates: how far the middle of its tile may lie from a photo."""
    zoom: int | None = None
    """Of a web map whose tiles these are: their metres per pixel follow from it and the latitude."""
    tile_size: int | None = None
    """Side of a satellite tile in pixels; tiles of any other size are dropped. Left out: unlike sizes are only told."""
    split: Literal["place", "tile"] = "place"
    """What is not torn between splits: place (a block of ground) or tile (all photos of one: neighbours may leak)."""
    block_km: float = 10.0
    """Side of a block of ground in kilometres."""
    sharing: Sharing = USUAL_SHARING
    limits: Limits = USUAL_LIMITS

    def check(self) -> None:
        """Raise `UserError` for options that cannot be."""
        self.sharing.check()
        if not self.within_metres >= 0:
            raise UserError(f"--within-metres {self.within_metres}: give 0 or more")
        if self.zoom is not None and not 0 <= self.zoom <= 25:
            raise UserError(f"--zoom {self.zoom}: give 0 to 25")


USUAL_JOINING = Joining()


@dataclass(frozen=True)
class Pairs:
    """Photos and tiles as an origin of samples (see `making`)."""

    photos: Folder
    tiles: Folder
    options: Joining
    shown = "photo.jpg"
    unit = "photo"

    @classmethod
    def find(cls, photos: Path, satellite: Path, out: Path, options: Joining) -> Pairs:
        """All files of both folders. Raises `UserError`."""
        options.check()
        sources_apart([photos, satellite], out)
        return cls(Folder.find(photos), Folder.find(satellite), options)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.options.sharing.samples_per_shard

    def announcement(self) -> str:
        """What is about to be done."""
        return f"{self.photos.count:,} files of photos and {self.tiles.count:,} of tiles are to be read"

    def outlook(self) -> str:
        """What would be read."""
        return f"{self.photos.count} files of photos and {self.tiles.count} of tiles would be read, and joined"

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        both = {"photos": self.photos, "satellite": self.tiles}
        return {
            "sources": [folder.name for folder in both.values()],
            "files": sum(len(folder.files) for folder in both.values()),
            "files_sha256": digest_of({f"{of}/{file.name}": file.path for of in both for file in both[of].files}),
            "options": asdict(self.options),
            "libraries": libraries(),
        }

    def judge(self, each: Each) -> Collection:
        """Read all pictures, join photos and tiles, and share out the pairs. Raises `UserError`."""
        files = [*self.photos.files, *self.tiles.files]
        looked = each("survey", partial(look, limits=self.options.limits), files, threads=SURVEY_THREADS)
        by, joined, tally, tiles = self._join(looked)
        groups = self._groups(joined)
        split_of = self.options.sharing.split_of(Counter(groups))
        kept = [self._picture(pair, group, split_of[group]) for pair, group in zip(joined, groups, strict=True)]
        alike = Alike(
            [(pair.photo.file.name, "", pair.photo.file.path) for pair in joined],
            [picture.split for picture in kept],
            near_pairs([pair.photo.fingerprint for pair in joined], NEAR),
        )
        seed = self.options.sharing.seed
        kept.sort(key=lambda one: hash64(seed, "order of writing", one.name))
        used = tiles.came_in - len(tiles.dropped)
        return Collection(
            unit=self.unit,
            kept=kept,
            tally=tally,
            classes=(),
            make=make,
            threads=None,
            described={
                **self._facts(by, len(set(groups))),
                "tiles": {"read": tiles.came_in, "used": used, "dropped": tiles.reasons(), **_usual_tile(kept)},
                "near_duplicates": alike.facts(),
            },
            notes=[*alike.notes(), *_equal_tiles(joined), *_unlike_tiles(joined)],
            units={
                "tiles read": tiles.came_in,
                "  used": used,
                **{f"  {why}": n for why, n in tiles.reasons().items()},
            },
            rows=partial(_tiles_shown, [picture.source[1].file.path for picture in kept[:SHOWN]], alike),
            beside=tiles,
        )

    def _join(self, looked: Sequence[Mapping[str, Any]]) -> tuple[str, list[Joined], Tally, Tally]:
        """How they were joined, the pairs, and what came in of photos and of tiles. Raises `UserError`."""
        photos, bad = self.photos.sides(looked[: len(self.photos.files)])
        tiles, bad_tiles = self.tiles.sides(looked[len(self.photos.files) :])
        wanted = self.options.tile_size
        other = [tile for tile in tiles if wanted is not None and (tile.width, tile.height) != (wanted, wanted)]
        tiles = [tile for tile in tiles if wanted is None or (tile.width, tile.height) == (wanted, wanted)]
        bad_tiles += [Dropped(tile.file.name, OTHER_SIZE, f"{tile.width} × {tile.height} pixels") for tile in other]
        keys = {one.file.key for one in photos} & {one.file.key for one in tiles}
        by = self.options.by or ("key" if keys else "coordinates")
        if by == "key":
            joined, lone, lone_tiles = by_key(photos, tiles)
        else:
            joined, lone, lone_tiles = by_place(photos, tiles, self.options.within_metres)
        tally = Tally(self.photos.count, [*bad, *lone])
        tile_tally = Tally(self.tiles.count, [*bad_tiles, *lone_tiles])
        if not joined:
            raise UserError(
                f"no pair is left, joined by {by}: of {tally.came_in} photos {tally.told(1)}; of {tile_tally.came_in} "
                f"tiles {tile_tally.told(1)}"
            )
        if len({pair.tile.file.name for pair in joined}) + len(tile_tally.dropped) != tile_tally.came_in:
            raise RuntimeError(f"sums differ: {tile_tally.came_in} tiles, {tile_tally.reasons()} dropped")
        return by, joined, tally, tile_tally

    def _groups(self, joined: Sequence[Joined]) -> list[str]:
        """What is not torn, of each pair. Raises `UserError` where a place is wanted and not known."""
        if self.options.split == "tile":
            return [pair.tile.file.name for pair in joined]
        blocks = [block_of(_place(pair), self.options.block_km) for pair in joined]
        known = [block for block in blocks if block is not None]
        if len(known) < len(blocks):
            lost = joined[blocks.index(None)].photo.file.name
            raise UserError(
                f"{len(blocks) - len(known)} of {len(blocks)} pairs have no coordinates, such as {lost}: say "
                "--split tile, or put them into the names (55.12,37.45.jpg) or a .json beside each"
            )
        return known

    def _picture(self, pair: Joined, group: str, split: str) -> Picture:
        photo, tile = pair.photo, pair.tile
        place = _place(pair)
        metres = tile.facts.get("metres_per_pixel")
        if self.options.zoom is not None and place:
            metres = [metres_per_pixel(place["latitude"], self.options.zoom)] * 2
        told = {
            **{name: value for name, value in photo.facts.items() if name != "metres_per_pixel"},
            **place,
            "source": photo.file.name,
            "region": photo.file.name.rpartition("/")[0] or self.photos.name,
            "width": photo.width,
            "height": photo.height,
            "stored": list(photo.ways),
            "synthetic": photo.synthetic or tile.synthetic,
            "metres_between": pair.metres,
            "metres_per_pixel": metres,
            "satellite": {
                **tile.facts,
                "source": tile.file.name,
                "width": tile.width,
                "height": tile.height,
                "stored": list(tile.ways),
            },
        }
        ways = (*(f"photo {way}" for way in photo.ways), *(f"tile {way}" for way in tile.ways))
        return Picture(photo.file.name, (photo, tile, self.options.limits), -1, told, ways, group, split)

    def _facts(self, by: str, groups: int) -> dict[str, Any]:
        return {
            "content": "photos from the ground and satellite tiles of their places, both as JPEG",
            "source": [self.photos.name, self.tiles.name],
            "licence": self.options.sharing.licence,
            "made": made("tools/pack_pairs.py", **asdict(self.options)),
            "joined": f"by {by}",
            "split": f"by {self.options.split}",
            "groups": groups,
        }


def _place(pair: Joined) -> dict[str, float]:
    """Of the photo, else of its tile; empty where neither is known."""
    place = pair.photo.place or pair.tile.place
    return {"longitude": place[0], "latitude": place[1]} if place else {}


def make(picture: Picture) -> dict[str, Value]:
    """A pair's columns. Raises `UserError` where a file is no longer what the survey found."""
    photo, tile, limits = picture.source
    return {
        "photo.jpg": stored(photo.file.path, photo.sha256, photo.ways, limits),
        "satellite.jpg": stored(tile.file.path, tile.sha256, tile.ways, limits),
    }


def _usual_tile(kept: Sequence[Picture]) -> dict[str, Any]:
    """Width and height in pixels of most tiles, and the median of their metres per pixel, where known."""
    sizes = Counter((one.told["satellite"]["width"], one.told["satellite"]["height"]) for one in kept)
    metres = [np.mean(one.told["metres_per_pixel"]) for one in kept if one.told["metres_per_pixel"]]
    found = {"metres_per_pixel": round(float(np.median(metres)), 4)} if metres else {}
    return {"pixels": list(sizes.most_common(1)[0][0]), **found}


def _equal_tiles(joined: Sequence[Joined]) -> list[str]:
    """A note where one picture stands for several places, as a server sends where it has none."""
    names = {pair.tile.file.name: pair.tile.sha256 for pair in joined}
    counted = Counter(names.values()).most_common(1)
    if not counted or counted[0][1] == 1:
        return []
    one = next(name for name, sha256 in names.items() if sha256 == counted[0][0])
    return [f"{counted[0][1]} tiles are the same file as {one}: is there no picture of these places?"]


def _unlike_tiles(joined: Sequence[Joined]) -> list[str]:
    """A note where tiles differ in size, and so, perhaps, in the ground that they show."""
    sizes = {pair.tile.file.name: (pair.tile.width, pair.tile.height) for pair in joined}
    (usual, count), *_ = Counter(sizes.values()).most_common(1)
    if count == len(sizes):
        return []
    one = next(name for name, size in sizes.items() if size != usual)
    return [f"{len(sizes) - count} tiles are not {usual[0]} × {usual[1]} pixels, such as {one}: --tile-size drops them"]


def _tiles_shown(tiles: Sequence[Path], alike: Alike) -> dict[str, NDArray[np.uint8]]:
    """The tiles of the photos above them, and the photos that look the same."""
    return {"their tiles": np.stack([face(path) for path in tiles]), **alike.rows()}
