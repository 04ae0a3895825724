"""What an export of water occurrence tells: its parts, its distortion, what there is to do; and its doing, watched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.earthengine import MOST_AT_ONCE, MOST_PER_SECOND
from waterscape.sources.occurrence_export.download import REQUEST_SECONDS, download
from waterscape.sources.occurrence_export.parts import REFERENCE_KM2
from waterscape.sources.parallel import progress
from waterscape.sources.tile_requests import FAILED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waterscape.sources.occurrence_export.distortion import Distortion
    from waterscape.sources.occurrence_export.download import Block
    from waterscape.sources.occurrence_export.folder import Folder, Left
    from waterscape.sources.occurrence_export.parts import Part
    from waterscape.sources.occurrence_export.sheets import Sheet, Way

SHOWN = 5  # failures
LISTED = 40  # parts
LEAST_SHARE = 5e-4  # of the ground, that is worth a line


def tell_damaged(folder: Folder, rest: Left) -> None:
    """Name files that are there and are not what they should be."""
    files = [sheet.path(tile) for sheet, tiles in rest for tile in tiles]
    damaged = [file for file in files if (folder.path / file).exists()]
    if damaged:
        print(f"{len(damaged)} files are damaged or lie elsewhere, and will be made anew: {named(damaged)}")


def named(files: Sequence[str]) -> str:
    """The first few of some files."""
    return ", ".join(files[:SHOWN]) + (" …" if len(files) > SHOWN else "")


def tell_parts(parts: Sequence[Part], sheets: Sequence[Sheet], *, reference: bool) -> None:
    """List the parts with their areas, sheets and tiles, beside the reference's figures where there are some."""
    areas = {part.name: part.km2 for part in parts}
    tiles, counts = dict.fromkeys(areas, 0), dict.fromkeys(areas, 0)
    for sheet in sheets:
        tiles[sheet.part] += len(sheet.tiles)
        counts[sheet.part] += 1
    wide = max(4, *(len(name) for name in areas))
    known: Mapping[str, int] = REFERENCE_KM2 if reference else {}
    print(f"{'part':{wide}} {'km²':>12} {'sheets':>7} {'tiles':>8}" + ("   the reference's km²" if known else ""))
    for name in list(areas)[:LISTED]:
        beside = f"   {known[name]:,} ({areas[name] / known[name] - 1:+.2%})" if name in known else ""
        print(f"{name:{wide}} {areas[name]:12,.0f} {counts[name]:7} {tiles[name]:8,}{beside}")
    if len(areas) > LISTED:
        print(f"… and {len(areas) - LISTED} more")
    if len(areas) > 1:
        print(f"{'all':{wide}} {sum(areas.values()):12,.0f} {len(sheets):7} {sum(tiles.values()):8,}")
    without = [name for name in areas if not tiles[name]]
    if without:
        print(
            f"without a tile (beyond 84° N or 80° S, at ±180°, or within others' tiles): {', '.join(without[:SHOWN])}"
        )


def tell_distortion(found: Sequence[Distortion], way: Way) -> None:
    """How true to scale the tiles will be."""
    worst, stretch = np.concatenate([each.worst for each in found]), np.concatenate([each.stretch for each in found])
    half, most = np.median(worst) * 100, worst.max() * 100
    lengths = f"lengths off by {half:.2f} % in half of the tiles, {most:.2f} % at most"
    if way == "utm":
        print(f"true to scale: {lengths}; shapes are kept")
    elif way == "equal-area":
        area = max(np.abs(each.area - 1).max() for each in found) * 100
        shapes = f"shapes stretched by {100 * (stretch.max() - 1):.2f} % at most"
        print(f"of equal area: areas off by {area:.4f} % at most; {lengths}, {shapes}")
    else:
        print(
            f"stretched from west to east {np.median(stretch):.2f}-fold in half of the tiles, {stretch.max():.2f} most"
        )
        print("pack_occurrence --true-scale cuts such tiles anew")


def tell_uncovered(share: float, way: Way) -> None:
    """What of the ground is lost between the tiles."""
    if share >= LEAST_SHARE:
        where = {
            "utm": "two zones of UTM meet, or beyond 84° N and 80° S",
            "equal-area": "two blocks meet, or beyond 84° N and S",
            "degrees": "±180° and the poles cut tiles",
        }
        print(f"{share:.1%} of the ground lies in no tile: where {where[way]}")


def tell_requests(sheets: Sequence[Sheet], blocks: Sequence[Block], at_once: int, per_second: float) -> None:
    """What there is to download, and what it takes, against the quotas."""
    tell_tiles(sheets, sum(len(block.tiles) for block in blocks))
    sizes = [block.shape[0] * block.shape[1] for block in blocks]
    print(f"{len(blocks):,} requests, {at_once} at a time (quota: {MOST_AT_ONCE}; {MOST_PER_SECOND:g} a second)")
    largest = max(sizes, default=0) / 1e6
    print(f"{sum(sizes):,} pixels, {sum(sizes) / 1e6:,.0f} MB, at most {largest:.1f} MB a request (limit: 48)")
    low, high = (max(len(blocks) * each / at_once, len(blocks) / per_second) / 3600 for each in REQUEST_SECONDS)
    each = f"{REQUEST_SECONDS[0]:g} to {REQUEST_SECONDS[1]:g} s"
    print(f"{low:.1f} to {high:.1f} hours, if a request takes the servers {each} (assumed)")


def tell_tiles(sheets: Sequence[Sheet], rest: int) -> None:
    """How many tiles there are, and how many of them are done."""
    total = sum(len(sheet.tiles) for sheet in sheets)
    done = f", {total - rest:,} of them done" if rest < total else ""
    print(f"{total:,} tiles of {sheets[0].tile_size} pixels{done}")


def download_all(folder: Folder, image: str, blocks: Sequence[Block], at_once: int) -> None:
    """Download what is left. Raises `UserError` where tiles are absent in the end."""
    outcome = Outcome()
    asked = download(blocks, image, folder.path, at_once)
    for outcome in progress(asked, len(blocks), "exporting", "request"):  # noqa: B007
        pass
    print(f"{folder.path}: {outcome.written:,} tiles written, {outcome.empty:,} without water (empty.txt)")
    for reason in list(outcome.failed.values())[:SHOWN]:
        print(f"  {reason}", file=sys.stderr)
    if outcome.failed:
        raise UserError(
            f"{len(outcome.failed)} requests failed; run the same command again to ask for them alone. "
            f"{folder.path / FAILED} lists them all, each with its reason"
        )
