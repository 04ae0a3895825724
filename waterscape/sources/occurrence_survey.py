"""The first reading of all tiles: which are fit, where each lies, and so which split it belongs to."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from waterscape.data.split import assign, place
from waterscape.errors import UserError
from waterscape.sources.occurrence import read
from waterscape.sources.occurrence_rules import WRONG_SIZE, Rules, reason_to_drop
from waterscape.sources.parallel import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from waterscape.sources.occurrence import Place, Tile
    from waterscape.sources.parallel import Workers

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Surveyed:
    """A tile and what its first reading found."""

    name: str
    """Below the sources' common folder."""
    path: Path
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


def survey(paths: Mapping[str, Path], tile_size: int, rules: Rules, workers: Workers) -> list[Surveyed]:
    """Read and judge every tile, in the order given.

    Raises:
        UserError: a file that cannot be used (see `occurrence.read`), or files of unlike band counts.
    """
    look = partial(_look, tile_size=tile_size, rules=rules)
    tiles = list(progress(workers.in_order(look, list(paths.items())), len(paths), "reading"))
    first = {tile.bands: tile.path for tile in reversed(tiles)}
    if len(first) > 1:
        told = ", ".join(f"{path} has {bands}" for bands, path in sorted(first.items()))
        raise UserError(f"band counts are mixed ({told}): pack one kind at a time")
    return tiles


def _look(item: tuple[str, Path], tile_size: int, rules: Rules) -> Surveyed:
    name, path = item
    tile = read(path, tile_size)
    found = Surveyed(name, path, tile.bands, tile.width, tile.height, tile.place, WRONG_SIZE)
    if tile.occurrence is None:
        return found
    zero = tile.occurrence == 0
    return replace(
        found,
        reason=reason_to_drop(tile.occurrence, rules),
        crc=checksum(tile),
        masked_share=None if tile.observed is None else round(1 - float(tile.observed.mean()), 6),
        mask_tells=tile.observed is not None and bool((tile.observed & zero).any() and not tile.observed.all()),
    )


def checksum(tile: Tile) -> int:
    """Of the decoded pixels, by which a second reading is known to have found the same."""
    pixels: list[NDArray[np.uint8] | NDArray[np.bool_] | None] = [tile.occurrence, tile.observed]
    crc = 0
    for array in pixels:
        crc = zlib.crc32(b"" if array is None else array.tobytes(), crc)
    return crc


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
            f"{len(lost)} of {len(tiles)} tiles have no coordinates, such as {lost[0].path}: say what belongs together "
            "by --group file, --group folder or --group REGEX, or give --split random"
        )
    return [place(tile.place.longitude, tile.place.latitude, block_km) for tile in tiles if tile.place]


def _named_groups(tiles: Sequence[Surveyed], group: str) -> list[str]:
    if group == "file":
        return [tile.name for tile in tiles]
    if group == "folder":
        return [tile.name.rpartition("/")[0] for tile in tiles]
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"--group {group} is neither file, folder nor a regular expression ({error})") from error
    names = []
    for tile in tiles:
        match = pattern.search(tile.name)
        if match is None:
            raise UserError(f"--group {group} fits nowhere in {tile.name}: write one that fits every tile")
        names.append(match[1] if pattern.groups and match[1] is not None else match[0])
    return names
