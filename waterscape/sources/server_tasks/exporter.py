"""Exports become tasks on Earth Engine's servers, looked after until each has ended; none is started twice."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from waterscape.sources.earthengine import EarthEngineError, explained
from waterscape.sources.server_tasks.task_list import Task, TaskList, Wanted, found_or_none

MOST_QUEUED = 3000
"""Tasks of a project that may wait or run (developers.google.com/earth-engine/guides/usage)."""
QUEUE_FULL = "too many tasks"
PASSING = ("internal error", "unavailable", "try again", "timed out", "timeout", "deadline")
"""Words of a failed task that another attempt may better."""
ATTEMPTS = 3
LONGEST_PAUSE = 120.0  # seconds between two looks, where nothing changes
RUNS = ("PENDING", "RUNNING", "CANCELLING")
AGAIN = ("FAILED", "CANCELLED", "skipped", "refused")
"""What another run looks at anew: what was skipped may be gone, or to be overwritten. `refused` is of older lists."""
EXISTS = "cannot overwrite"
APPEARED = "the asset appeared meanwhile"
FORGOTTEN = "Earth Engine no longer knows its task"


def request_id(seed: str, task: Task) -> str:
    """The id of a request, the same whenever the same attempt at the same asset is asked for."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{task.asset}/{task.attempt}"))


class Exporter:
    """Starts tasks and looks after them until each has ended.

    Args:
        tasks: the list on disk.
        seed: of this list alone: what the ids of its requests are made of.
        most_queued: of this project's tasks, those of others included.
        first_pause: seconds between looks, doubled while nothing changes.
        idle: is told, after a look that found nothing new, how many tasks are in each state.
    """

    def __init__(
        self,
        tasks: TaskList,
        seed: str,
        *,
        most_queued: int = MOST_QUEUED,
        first_pause: float = 10.0,
        idle: Callable[[Counter[str]], None] = lambda _: None,
    ) -> None:
        self.tasks, self.seed, self.most_queued, self.first_pause = tasks, seed, most_queued, first_pause
        self.idle = idle
        self._tried: Counter[str] = Counter()

    def run(self, exports: Sequence[Wanted], existing: set[str], *, wait: bool = True) -> Iterator[Task]:
        """Yields each task whenever something became of it.

        Args:
            exports: what to make, in order.
            existing: assets that are there already; those not ours are skipped unless they are to be overwritten.
            wait: whether to stay until all have ended.

        Raises:
            EarthEngineError: access is refused, or the service cannot be reached; all that was started is on the list.
        """
        for task in map(self.known, exports):
            gone = task.state == "SUCCEEDED" and task.asset not in existing  # somebody deleted it
            if gone or task.state in AGAIN:  # of an earlier run: this one tries anew
                task.state = "absent"
        waiting = [export for export in exports if not self.known(export).ended]
        yield from self._skipped(waiting, existing)
        waiting = [export for export in waiting if not self.known(export).ended]
        operations, pause = self._operations(), self.first_pause
        yield from self._adopt(waiting, operations)
        while True:
            foreign = self._foreign(operations)
            started = False
            for export in waiting:
                if self._running() + foreign >= self.most_queued:
                    break
                task = self.known(export)
                if task.state in ("absent", "intended"):
                    begun = self._start(export, task)
                    if begun is None:
                        break  # the queue is full: look again later
                    started = True
                    yield begun
            waiting = [export for export in waiting if not self.known(export).ended]
            if not waiting or (not wait and not any(self.known(e).state in ("absent", "intended") for e in waiting)):
                return
            time.sleep(pause)
            operations = self._operations()
            changed = list(self._look(waiting, operations))
            yield from changed
            pause = self.first_pause if changed or started else min(2 * pause, LONGEST_PAUSE)
            if not changed:
                self.idle(Counter(self.known(export).state for export in exports))

    def known(self, export: Wanted) -> Task:
        """What is known of an export, `absent` at first."""
        return self.tasks.tasks.setdefault(export.name, Task(export.name, export.asset))

    def _running(self) -> int:
        return sum(task.state in RUNS for task in self.tasks.tasks.values())

    def _foreign(self, operations: Mapping[str, Mapping[str, Any]]) -> int:
        """Tasks of the project that wait or run and are not ours."""
        ours = {task.operation for task in self.tasks.tasks.values()}
        return sum(
            operation.get("metadata", {}).get("state") in RUNS
            for name, operation in operations.items()
            if name not in ours
        )

    def _skipped(self, exports: Sequence[Wanted], existing: set[str]) -> Iterator[Task]:
        for export in exports:
            task = self.known(export)
            if task.state == "absent" and export.asset in existing and not export.overwrite:
                yield self._left_out(task, "the asset exists")

    def _left_out(self, task: Task, reason: str) -> Task:
        task.state, task.reason = "skipped", reason
        self.tasks.put(task)
        return task

    def _operations(self) -> dict[str, Mapping[str, Any]]:
        import ee

        with explained("listing the tasks"):
            return {operation["name"]: operation for operation in ee.data.listOperations()}

    def _adopt(self, exports: Sequence[Wanted], operations: Mapping[str, Mapping[str, Any]]) -> Iterator[Task]:
        """Tasks that were asked for by a program that ended before it was answered."""
        by_description = {each.get("metadata", {}).get("description", ""): name for name, each in operations.items()}
        for export in exports:
            task = self.known(export)
            if task.state == "intended" and (name := by_description.get(_description(task))):
                yield self._begun(task, name)
        yield from self._look(exports, operations)

    def _start(self, export: Wanted, task: Task) -> Task | None:
        """Ask for a task; None where the queue is full."""
        import ee

        if task.state == "absent":
            task.attempt += 1
            self._tried[task.name] += 1
            task.request = request_id(self.seed, task)
            task.state = "intended"
            self.tasks.put(task)
        made = export.task(_description(task))
        try:
            with explained(f"starting {task.name}"):
                operation = ee.data.exportImage(task.request, dict(made.config or {}))
        except EarthEngineError as error:
            if QUEUE_FULL in str(error).lower():
                return None
            adopted = self._asked_before(task)
            if adopted:
                return self._begun(task, adopted)
            if EXISTS in str(error).lower():
                return self._left_out(task, APPEARED)
            raise
        return self._begun(task, operation["name"])

    def _asked_before(self, task: Task) -> str:
        """The operation of a request that was answered by an error although it was started before."""
        for name, operation in self._operations().items():
            if operation.get("metadata", {}).get("description") == _description(task):
                return name
        return ""

    def _begun(self, task: Task, operation: str) -> Task:
        task.operation, task.state, task.reason = operation, "PENDING", ""
        self.tasks.put(task)
        return task

    def _look(self, exports: Sequence[Wanted], operations: Mapping[str, Mapping[str, Any]]) -> Iterator[Task]:
        """What became of those that were started."""
        import ee

        for export in exports:
            task = self.known(export)
            if task.state not in RUNS:
                continue
            operation = operations.get(task.operation)
            if operation is None:
                with explained(f"asking for {task.name}"):
                    operation = found_or_none(ee.data.getOperation, task.operation)
            if operation is None:
                operation = self._forgotten(export)
            facts = operation.get("metadata", {})
            task.progress = float(facts.get("progress") or 0.0)
            state = facts.get("state", task.state)
            if state == task.state:
                continue
            task.state, task.eecu_seconds = state, facts.get("batchEecuUsageSeconds", task.eecu_seconds)
            task.reason = " ".join(operation.get("error", {}).get("message", "").split())
            passing = task.reason == FORGOTTEN or any(word in task.reason.lower() for word in PASSING)
            if state == "FAILED" and EXISTS in task.reason.lower():  # it was not there when the task was started
                yield self._left_out(task, APPEARED)
                continue
            if state == "FAILED" and passing and self._tried[task.name] < ATTEMPTS:
                task.state = "absent"  # another attempt, with a request of its own
            self.tasks.put(task)
            yield task

    def _forgotten(self, export: Wanted) -> Mapping[str, Any]:
        """What became of a task that the service has forgotten, told by what it made, as an operation would tell it."""
        with explained(f"looking for {export.asset}"):
            made = export.made()
        if made is None:
            return {"metadata": {"state": "FORGOTTEN"}, "error": {"message": f"{FORGOTTEN}: {export.to_look_after}"}}
        if made:
            return {"metadata": {"state": "SUCCEEDED"}}
        return {"metadata": {"state": "FAILED"}, "error": {"message": FORGOTTEN}}


def _description(task: Task) -> str:
    """What the task is called on the servers, the same for the same request alone.

    Letters, numbers, - and _, no spaces, 100 at most (developers.google.com/earth-engine/apidocs/export-image-toasset).
    """
    return f"waterscape_{task.name[:60]}_{task.request[:13]}"
