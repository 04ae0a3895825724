"""The first reading of all tiles: which are fit, where each lies, and so which split it belongs to."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from waterscape.data.split import assign, place
from waterscape.errors import UserError
from waterscape.sources.occurrence import Tile, is_synthetic, read, region_and_offsets
from waterscape.sources.occurrence_rules import LACKS_NEIGHBOURS, WRONG_SIZE, Rules, reason_to_drop
from waterscape.sources.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from waterscape.sources.parallel import Each

SPLITS = ("train", "valid", "test")


class Source(Protocol):
    """Where a tile comes from: a file of its own, or a cut through a mosaic of files. Its text is for messages."""

    @property
    def name(self) -> str:
        """By which the tile is known within its set."""

    @property
    def reason(self) -> str | None:
        """Why it is dropped without being read; None: it is read."""

    def read(self, size: int | None) -> Tile:
        """The tile; where `size` is given, another size is not decoded. Raises `UserError` for bad files."""

    def origin(self) -> dict[str, Any]:
        """What a sample's JSON tells of it, `synthetic` among it."""


@dataclass(frozen=True)
class File:
    """A tile that is a file."""

    name: str
    """Below the sources' common folder."""
    path: Path
    reason: str | None = None

    def __str__(self) -> str:
        return str(self.path)

    def read(self, size: int | None) -> Tile:
        """The tile (see `occurrence.read`)."""
        return read(self.path, size)

    def origin(self) -> dict[str, Any]:
        """Its name, region, and pixel offsets in the region's export where the name tells them."""
        region, offsets = region_and_offsets(self.path)
        row, column = offsets or (None, None)
        synthetic = is_synthetic(self.path.parent)
        return {"source": self.name, "region": region, "row": row, "column": column, "synthetic": synthetic}


@dataclass(frozen=True)
class Surveyed:
    """A tile and what its first reading found."""

    source: Source
    bands: int
    width: int
    height: int
    place: Place | None
    reason: str | None
    """Why it is dropped; None: it is kept."""
    crc: int = 0
    masked_share: float | None = None
    """Of its pixels; None where the file knows of no mask."""
    mask_tells: bool = False
    """Whether some pixels were seen and never water, and others masked: else the mask is `occurrence == 0`."""
    group: str = ""
    split: str = ""


def survey(sources: Sequence[Source], tile_size: int, rules: Rules, each: Each) -> list[Surveyed]:
    """Read and judge every tile, in the order given.

    Raises:
        UserError: a file that cannot be used (see `occurrence.read`), or files of unlike band counts.
    """
    found = each("survey", partial(_look, tile_size=tile_size, rules=rules), sources)
    tiles = [_surveyed(source, facts) for source, facts in zip(sources, found, strict=True)]
    check_bands((tile.bands, str(tile.source)) for tile in tiles if tile.bands)
    return tiles


def check_bands(counted: Iterable[tuple[int, str]]) -> None:
    """Raise `UserError` for unlike band counts; each is given with the file's name."""
    first: dict[int, str] = {}
    for bands, name in counted:
        first.setdefault(bands, name)
    if len(first) > 1:
        told = ", ".join(f"{name} has {bands}" for bands, name in sorted(first.items()))
        raise UserError(f"band counts are mixed ({told}): pack one kind at a time")


def _look(source: Source, tile_size: int, rules: Rules) -> dict[str, Any]:
    """What a tile's first reading finds: the fields of `Surveyed`."""
    if source.reason is not None:
        return {"bands": 0, "width": tile_size, "height": tile_size, "place": None, "reason": source.reason}
    tile = source.read(tile_size)
    place = None if tile.place is None else vars(tile.place)
    found = {"bands": tile.bands, "width": tile.width, "height": tile.height, "place": place}
    if tile.occurrence is None:
        return {**found, "reason": WRONG_SIZE}
    if tile.covered is not None:
        return {**found, "reason": LACKS_NEIGHBOURS}
    zero = tile.occurrence == 0
    return {
        **found,
        "reason": reason_to_drop(tile.occurrence, rules, tile.exported),
        "crc": tile.crc,
        "masked_share": None if tile.observed is None else round(1 - float(tile.observed.mean()), 6),
        "mask_tells": tile.observed is not None and bool((tile.observed & zero).any() and not tile.observed.all()),
    }


def _surveyed(source: Source, facts: Mapping[str, Any]) -> Surveyed:
    told = facts["place"]
    where = told and Place(
        **{**told, "transform": tuple(told["transform"]), "metres_per_pixel": tuple(told["metres_per_pixel"])}
    )
    return Surveyed(source, **{**facts, "place": where})


def split_up(
    tiles: Sequence[Surveyed],
    *,
    group: str | None,
    split: Literal["place", "random"],
    shares: Sequence[float],
    block_km: float,
    seed: int,
) -> list[Surveyed]:
    """The same tiles, each with its group and its split: whole groups go to one split.

    Raises:
        UserError: tiles without coordinates where nothing else says what belongs together, or a `group` that is no
            regular expression or fits a name nowhere.
    """
    group = "file" if split == "random" else group
    names = _named_groups(tiles, group) if group else _blocks(tiles, block_km)
    split_of = assign(Counter(names), dict(zip(SPLITS, shares, strict=True)), seed)
    return [replace(tile, group=name, split=split_of[name]) for tile, name in zip(tiles, names, strict=True)]


def _blocks(tiles: Sequence[Surveyed], block_km: float) -> list[str]:
    lost = [tile for tile in tiles if tile.place is None]
    if lost:
        raise UserError(
            f"{len(lost)} of {len(tiles)} tiles have no coordinates, such as {lost[0].source}: say what belongs "
            "together by --group file, --group folder or --group REGEX, or give --split random"
        )
    return [place(tile.place.longitude, tile.place.latitude, block_km) for tile in tiles if tile.place]


def _named_groups(tiles: Sequence[Surveyed], group: str) -> list[str]:
    if group == "file":
        return [tile.source.name for tile in tiles]
    if group == "folder":
        return [tile.source.name.rpartition("/")[0] for tile in tiles]
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"--group {group} is neither file, folder nor a regular expression ({error})") from error
    names = []
    for tile in tiles:
        match = pattern.search(tile.source.name)
        if match is None:
            raise UserError(f"--group {group} fits nowhere in {tile.source.name}: write one that fits every tile")
        names.append(match[1] if pattern.groups and match[1] is not None else match[0])
    return names
