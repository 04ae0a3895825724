"""An export of water occurrence by tasks on the servers: what is left of it, what it takes, and its doing, watched."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.pages.occurrence_export import LISTED, SHOWN, named, tell_damaged, tell_tiles
from waterscape.sources.occurrence_export.folder import TASKS
from waterscape.sources.server_tasks.exporter import MOST_QUEUED, Exporter
from waterscape.sources.server_tasks.file_export import RUNNING, TASK_PIXELS_PER_SECOND, Destination, FileExport
from waterscape.sources.server_tasks.table import LiveTable
from waterscape.sources.server_tasks.task_list import TaskList, read_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.sources.occurrence_export.folder import Folder, Left
    from waterscape.sources.occurrence_export.sheets import Sheet
    from waterscape.sources.server_tasks.task_list import Task


@dataclass(frozen=True)
class Standing:
    """What is left of an export, by what became of each sheet's task."""

    to_make: Left
    """Its task is not done, or is to be started anew."""
    awaited: list[Sheet]
    """Its task is done, and none of its files is in the folder."""
    damaged: Left
    """Its task is done, and these of its files are in the folder and not what they should be."""
    absent: list[str]
    """Files of sheets of which others are in the folder: the servers write none where water was never seen."""


def standing(folder: Folder, rest: Left, to: Destination, again: Sequence[str]) -> Standing:
    """How the tasks of the sheets that are left stand, by the list in the folder; nobody is asked.

    Raises `UserError` where a sheet to begin again is none of those, or was exported to somewhere else.
    """
    names = [sheet.name for sheet, _ in rest]
    unknown = sorted(set(again) - set(names))
    if unknown:
        listed = ", ".join(names[:LISTED]) or "none"
        raise UserError(f"--again {unknown[0]}: no such sheet is left to do; there are {listed}")
    tasks, _ = read_tasks(folder.path / TASKS)
    found = Standing([], [], [], [])
    for sheet, tiles in rest:
        task = tasks.get(sheet.name)
        if task is not None and task.asset != to.of(sheet):
            raise UserError(
                f"{folder.path}: {sheet.name} was exported to {task.asset} by an earlier start: "
                "give --to as then, or --out another folder"
            )
        there = {tile for tile in sheet.tiles if (folder.path / sheet.path(tile)).exists()}
        if task is None or task.state != "SUCCEEDED" or sheet.name in again:
            found.to_make.append((sheet, tiles))
        elif not there:
            found.awaited.append(sheet)
        else:
            found.absent.extend(sheet.path(tile) for tile in tiles if tile not in there)
            if damaged := [tile for tile in tiles if tile in there]:
                found.damaged.append((sheet, damaged))
    return found


def tell_tasks(folder: Folder, sheets: Sequence[Sheet], stand: Standing, to: Destination) -> None:
    """What tasks there are to be, and what they take, against the quotas; and what became of those that are done."""
    tell_damaged(folder, stand.to_make)
    rest = stand.to_make
    tiles = sum(len(each) for _, each in rest)
    tell_tiles(sheets, tiles)
    if stand.awaited:
        print(f"{len(stand.awaited)} tasks are done and none of their files is here: {_to_bring(to)}")
    if stand.absent:
        print(
            f"{len(stand.absent):,} tiles are absent beside others of their sheets, taken to be without water: ", end=""
        )
        print(named(stand.absent))
    if stand.damaged:
        print(_damaged(stand))
    pixels, megabytes = sum(sheet.pixels for sheet, _ in rest), tiles * sheets[0].tile_size ** 2 / 1e6
    print(f"{len(rest):,} tasks to {to.kind} (quota: {MOST_QUEUED:,} queued, about {RUNNING} running at a time)")
    print(f"{pixels:,} pixels, those between the tiles among them; at most {megabytes:,.0f} MB")
    high, low = (pixels / speed / RUNNING / 3600 for speed in TASK_PIXELS_PER_SECOND)
    slow, fast = TASK_PIXELS_PER_SECOND
    print(f"{low:.1f} to {high:.1f} hours, if a task computes {slow:,.0f} to {fast:,.0f} pixels a second (assumed)")


def look_after(
    folder: Folder,
    image: str,
    rest: Left,
    to: Destination,
    seed: str,
    wait: bool,
    again: Sequence[str],
    poll_seconds: float,
) -> None:
    """Start a task for each of the sheets, and watch them. Raises `UserError` where some failed or are unknown."""
    exports = [FileExport(sheet, image, to) for sheet, _ in rest]
    tasks = TaskList(folder.path / TASKS)
    for name in again:
        if name in tasks.tasks:
            tasks.tasks[name].state = "absent"
            tasks.put(tasks.tasks[name])
    exporter = Exporter(tasks, seed, first_pause=poll_seconds)
    watched = [exporter.known(export) for export in exports]
    live = LiveTable(watched)
    exporter.idle = lambda _: live.show()
    try:
        for task in exporter.run(exports, set(), wait=wait):
            live.show(task)
    except KeyboardInterrupt:
        print("left; the tasks go on without this program, and the same command looks after them")
        raise
    finally:
        tasks.close()
    tell_end(watched)
    if wait:
        print(_to_bring(to))


def tell_end(tasks: Sequence[Task]) -> None:
    """What became of the tasks. Raises `UserError` where some failed, or nobody knows what became of them."""
    done = sum(task.state == "SUCCEEDED" for task in tasks)
    unknown = [task for task in tasks if task.state == "FORGOTTEN"]
    failed = [task for task in tasks if task.ended and task.state not in ("SUCCEEDED", "FORGOTTEN")]
    told = f", {len(unknown)} unknown" if unknown else ""
    print(f"{done} of {len(tasks)} tasks done, {len(failed)} failed{told}")
    for task in (*failed[:SHOWN], *unknown[:SHOWN]):
        print(f"  {task.name} {task.state.lower()}: {task.reason}", file=sys.stderr)
    wrong = [f"{len(failed)} tasks failed; the same command starts them again, and no other"] if failed else []
    if unknown:
        names = " ".join(task.name for task in unknown[:SHOWN])
        wrong.append(f"{len(unknown)} tasks are unknown: look whether their files are there, then --again {names}")
    if wrong:
        raise UserError("; ".join(wrong))


def check_damaged(stand: Standing) -> None:
    """Raises `UserError` where files of tasks that are done are damaged."""
    if stand.damaged:
        raise UserError(_damaged(stand))


def _damaged(stand: Standing) -> str:
    files = [sheet.path(tile) for sheet, tiles in stand.damaged for tile in tiles]
    again = " ".join(sheet.name for sheet, _ in stand.damaged)
    return f"{len(files)} files are damaged or lie elsewhere ({named(files)}): --again {again} makes them anew"


def _to_bring(to: Destination) -> str:
    where = f"Drive's folders {to.place}_PART" if to.kind == "drive" else f"gs://{to.place}/{to.folder}"
    return f"put the files of {where} into OUT/PART; with --dry-run the same command tells which are absent or damaged"
