"""Tasks on Earth Engine's servers as a table: redrawn on a terminal, else a line a change."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.sources.server_tasks.task_list import Task

WORDS = {"absent": "to start", "intended": "starting", "skipped": "there already", "FORGOTTEN": "unknown"}
ORDER = ("RUNNING", "CANCELLING", "FAILED", "CANCELLED", "FORGOTTEN", "intended", "PENDING", "absent")
ROWS = 20
BAR = 12
LINE_SECONDS = 60.0


def table(tasks: Sequence[Task], seconds: float) -> list[str]:
    """A line of counts, and one for each task that is of interest: what runs and what failed before what waits."""
    counts = Counter(task.state for task in tasks)
    done = counts["SUCCEEDED"] + counts["skipped"]
    told = ", ".join(f"{counts[state]} {_word(state)}" for state in ORDER if counts[state])
    head = f"{done} of {len(tasks)} tasks done{f', {told}' if told else ''}; {seconds / 60:.0f} min"
    rest = [task for task in tasks if task.state in ORDER]
    rest.sort(key=lambda task: ORDER.index(task.state))
    lines = [head, *(_row(task) for task in rest[:ROWS])]
    return [*lines, f"  … and {len(rest) - ROWS} more"] if len(rest) > ROWS else lines


def _row(task: Task) -> str:
    full = round(task.progress * BAR)
    bar = f"{'█' * full}{'·' * (BAR - full)} {task.progress:4.0%}" if task.state == "RUNNING" else " " * (BAR + 5)
    again = f"  attempt {task.attempt}" if task.attempt > 1 else ""
    reason = f"  {task.reason[:60]}" if task.reason else ""
    return f"  {task.name[:28]:28} {_word(task.state):12} {bar}{again}{reason}".rstrip()


def _word(state: str) -> str:
    return WORDS.get(state, state.lower())


class LiveTable:
    """Shows how tasks stand, in place on a terminal; elsewhere a line when something changes, or once a minute."""

    def __init__(self, tasks: Sequence[Task], stream: TextIO | None = None) -> None:
        self.tasks, self.stream = tasks, stream or sys.stderr
        self._began = self._told = time.monotonic()
        self._drawn = 0

    def show(self, changed: Task | None = None) -> None:
        """Tell how they stand; `changed`: of which there is news."""
        now = time.monotonic()
        if self.stream.isatty():
            lines = table(self.tasks, now - self._began)
            back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            print(back + "\n".join(lines), file=self.stream, flush=True)
            self._drawn = len(lines)
        elif changed is not None or now - self._told >= LINE_SECONDS:
            self._told = now
            line = _row(changed).strip() if changed is not None else table(self.tasks, now - self._began)[0]
            print(" ".join(line.split()), file=self.stream, flush=True)
