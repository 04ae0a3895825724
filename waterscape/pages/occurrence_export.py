"""What an export of water occurrence tells: its parts, its distortion, what there is to do; and its doing, watched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.earthengine import MOST_AT_ONCE, MOST_PER_SECOND
from waterscape.sources.occurrence_export.download import REQUEST_SECONDS, Outcome, download
from waterscape.sources.occurrence_export.folder import TASKS
from waterscape.sources.occurrence_export.parts import REFERENCE_KM2
from waterscape.sources.parallel import progress
from waterscape.sources.server_tasks.exporter import MOST_QUEUED, Exporter
from waterscape.sources.server_tasks.file_export import RUNNING, TASK_PIXELS_PER_SECOND, Destination, FileExport
from waterscape.sources.server_tasks.table import LiveTable
from waterscape.sources.server_tasks.task_list import TaskList

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waterscape.sources.occurrence_export.distortion import Distortion
    from waterscape.sources.occurrence_export.download import Block
    from waterscape.sources.occurrence_export.folder import Folder
    from waterscape.sources.occurrence_export.parts import Part
    from waterscape.sources.occurrence_export.sheets import Sheet, Way
    from waterscape.sources.server_tasks.task_list import Task

SHOWN = 5  # failures
LISTED = 40  # parts

Left = list[tuple["Sheet", list[tuple[int, int]]]]
"""Each sheet with those of its tiles that are left to do."""


def left(folder: Folder, sheets: Sequence[Sheet]) -> Left:
    """What is left to do; sheets of which nothing is are left out."""
    found = [(sheet, folder.left_of(sheet)) for sheet in sheets]
    return [(sheet, tiles) for sheet, tiles in found if tiles]


def tell_damaged(folder: Folder, rest: Left) -> None:
    """Name files that are there and are not what they should be."""
    files = [sheet.path(tile) for sheet, tiles in rest for tile in tiles]
    damaged = [file for file in files if (folder.path / file).exists()]
    if damaged:
        named = ", ".join(damaged[:SHOWN]) + (" …" if len(damaged) > SHOWN else "")
        print(f"{len(damaged)} files are damaged or lie elsewhere, and will be replaced: {named}")


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
        print(f"without a tile (beyond 84° N or 80° S, or within others' tiles): {', '.join(without[:SHOWN])}")


def tell_distortion(found: Sequence[Distortion], way: Way) -> None:
    """How true to scale the tiles will be."""
    worst, stretch = np.concatenate([each.worst for each in found]), np.concatenate([each.stretch for each in found])
    if way == "utm":
        half, most = np.median(worst) * 100, worst.max() * 100
        print(f"true to scale: lengths off by {half:.2f} % in half of the tiles, {most:.2f} % at most; shapes are kept")
        print("where two zones of UTM meet, a strip less than a tile wide is in no tile")
    else:
        print(
            f"stretched from west to east {np.median(stretch):.2f}-fold in half of the tiles, {stretch.max():.2f} most"
        )
        print("pack_occurrence --true-scale cuts such tiles anew")


def tell_requests(sheets: Sequence[Sheet], blocks: Sequence[Block], at_once: int, per_second: float) -> None:
    """What there is to download, and what it takes, against the quotas."""
    _tell_tiles(sheets, sum(len(block.tiles) for block in blocks))
    sizes = [block.shape[0] * block.shape[1] for block in blocks]
    print(f"{len(blocks):,} requests, {at_once} at a time (quota: {MOST_AT_ONCE}; {MOST_PER_SECOND:g} a second)")
    largest = max(sizes, default=0) / 1e6
    print(f"{sum(sizes):,} pixels, {sum(sizes) / 1e6:,.0f} MB, at most {largest:.1f} MB a request (limit: 48)")
    low, high = (max(len(blocks) * each / at_once, len(blocks) / per_second) / 3600 for each in REQUEST_SECONDS)
    each = f"{REQUEST_SECONDS[0]:g} to {REQUEST_SECONDS[1]:g} s"
    print(f"{low:.1f} to {high:.1f} hours, if a request takes the servers {each} (assumed)")


def tell_tasks(sheets: Sequence[Sheet], rest: Left, to: Destination) -> None:
    """What tasks there are to be, and what they take, against the quotas."""
    tiles = sum(len(each) for _, each in rest)
    _tell_tiles(sheets, tiles)
    pixels, megabytes = sum(sheet.pixels for sheet, _ in rest), tiles * sheets[0].tile_size ** 2 / 1e6
    print(f"{len(rest):,} tasks to {to.kind} (quota: {MOST_QUEUED:,} queued, about {RUNNING} running at a time)")
    print(f"{pixels:,} pixels, those between the tiles among them; at most {megabytes:,.0f} MB")
    high, low = (pixels / speed / RUNNING / 3600 for speed in TASK_PIXELS_PER_SECOND)
    slow, fast = TASK_PIXELS_PER_SECOND
    print(f"{low:.1f} to {high:.1f} hours, if a task computes {slow:,.0f} to {fast:,.0f} pixels a second (assumed)")


def _tell_tiles(sheets: Sequence[Sheet], rest: int) -> None:
    total = sum(len(sheet.tiles) for sheet in sheets)
    done = f", {total - rest:,} of them done" if rest < total else ""
    print(f"{total:,} tiles of {sheets[0].tile_size} pixels{done}")


def download_all(folder: Folder, image: str, blocks: Sequence[Block], at_once: int) -> int:
    """Download what is left; returns the exit code. Raises `UserError` where tiles are absent in the end."""
    outcome = Outcome()
    asked = download(blocks, image, folder.path, at_once)
    for outcome in progress(asked, len(blocks), "exporting", "request"):  # noqa: B007
        pass
    print(f"{folder.path}: {outcome.written:,} tiles written, {outcome.empty:,} without water (empty.txt)")
    for reason in list(outcome.failed.values())[:SHOWN]:
        print(f"  {reason}", file=sys.stderr)
    if outcome.failed:
        raise UserError(f"{len(outcome.failed)} requests failed; run the same command again to ask for them alone")
    return 0


def look_after(
    folder: Folder,
    image: str,
    rest: Left,
    to: Destination,
    seed: str,
    wait: bool,
    again: Sequence[str],
    poll_seconds: float,
) -> int:
    """Start a task for each sheet of which tiles are left, and watch them; returns the exit code."""
    exports = [FileExport(sheet, image, to) for sheet, _ in rest]
    tasks = TaskList(folder.path / TASKS)
    _begin_again(tasks, again, [export.name for export in exports])
    moved = [e for e in exports if e.name in tasks.tasks and tasks.tasks[e.name].asset != e.asset]
    if moved:
        raise UserError(
            f"{folder.path}: {moved[0].name} was exported to {tasks.tasks[moved[0].name].asset} by an earlier start: "
            "give --to as then, or --out another folder"
        )
    exporter = Exporter(tasks, seed, first_pause=poll_seconds)
    standing = [exporter.known(export) for export in exports]
    live = LiveTable(standing)
    exporter.idle = lambda _: live.show()
    try:
        for task in exporter.run(exports, {export.asset for export in exports if _done(tasks, export)}, wait=wait):
            live.show(task)
    except KeyboardInterrupt:
        print("left; the tasks go on without this program, and the same command looks after them")
        raise
    finally:
        tasks.close()
    return _tell_end(standing, to, wait)


def _begin_again(tasks: TaskList, again: Sequence[str], names: Sequence[str]) -> None:
    unknown = sorted(set(again) - set(names))
    if unknown:
        raise UserError(f"--again {unknown[0]}: no such sheet is left to do; there are {', '.join(names[:LISTED])}")
    for name in again:
        if name in tasks.tasks:
            tasks.tasks[name].state = "absent"
            tasks.put(tasks.tasks[name])


def _done(tasks: TaskList, export: FileExport) -> bool:
    return export.name in tasks.tasks and tasks.tasks[export.name].state == "SUCCEEDED"


def _tell_end(standing: Sequence[Task], to: Destination, wait: bool) -> int:
    """What became of the tasks. Raises `UserError` where some failed."""
    done = sum(task.state == "SUCCEEDED" for task in standing)
    bad = [task for task in standing if task.ended and task.state != "SUCCEEDED"]
    print(f"{done} of {len(standing)} tasks done, {len(bad)} failed")
    for task in bad[:SHOWN]:
        print(f"  {task.name} {task.state.lower()}: {task.reason}", file=sys.stderr)
    if bad:
        raise UserError(f"{len(bad)} tasks failed; the same command starts them again, and no other")
    if wait and standing:
        where = f"Drive's folders {to.place}_PART" if to.kind == "drive" else f"gs://{to.place}/{to.folder}"
        print(
            f"put the files of {where} into OUT/PART; with --dry-run the same command tells which are absent or damaged"
        )
    return 0
