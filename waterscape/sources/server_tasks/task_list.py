"""A list on disk of the exports that were asked for on Earth Engine's servers, and what of them is done.

The list is a file of JSON lines. What will be asked for stands there, on the disk, before it is asked for, with the id
of the request; so a program that ends at any moment finds its tasks again and starts none twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from waterscape.durable import Lines
from waterscape.errors import UserError

if TYPE_CHECKING:
    import ee


class Wanted(Protocol):
    """Something that a task on the servers is to make."""

    @property
    def name(self) -> str:
        """By which the list knows it."""

    @property
    def asset(self) -> str:
        """Where it is put: an asset's name, or a folder and the beginning of its files' names."""

    @property
    def overwrite(self) -> bool:
        """Whether what stands there is replaced."""

    @property
    def to_look_after(self) -> str:
        """What a person is told to do where nobody knows what became of it."""

    def task(self, description: str) -> ee.batch.Task:
        """The task, not started."""

    def made(self) -> bool | None:
        """Whether it is there; None: that cannot be told. Raises what the client raises."""


@dataclass(frozen=True)
class Export:
    """An asset to make: the graph and where its pixels lie. `image` is made only when the task is started."""

    name: str
    asset: str
    image: Callable[[], ee.Image]
    region: Callable[[], ee.Geometry]
    crs: str
    transform: tuple[float, ...]
    overwrite: bool = False
    pyramids: Mapping[str, str] = field(default_factory=dict)
    to_look_after: str = ""

    def task(self, description: str) -> ee.batch.Task:
        """The task, not started."""
        import ee

        made: ee.batch.Task = ee.batch.Export.image.toAsset(
            image=self.image(),
            description=description,
            assetId=self.asset,
            region=self.region(),
            crs=self.crs,
            crsTransform=list(self.transform),
            maxPixels=int(1e10),
            pyramidingPolicy=dict(self.pyramids),
            overwrite=self.overwrite,
        )
        return made

    def made(self) -> bool:
        """Whether the asset is there; one that was to be overwritten tells nothing: it may be the old one."""
        import ee

        return not self.overwrite and found_or_none(ee.data.getAsset, self.asset) is not None


@dataclass
class Task:
    """What is known of one export."""

    name: str
    asset: str
    state: str = "absent"
    """absent, skipped (something is there that was not made by this list), intended, FORGOTTEN (looked for, and nobody
    knows it), or Earth Engine's word: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED."""
    attempt: int = 0
    request: str = ""
    operation: str = ""
    reason: str = ""
    eecu_seconds: float | None = None
    progress: float = 0.0
    """0 to 1, as the service told last."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ("skipped", "SUCCEEDED", "FAILED", "CANCELLED", "FORGOTTEN")


def read_tasks(path: Path) -> tuple[dict[str, Task], bool]:
    """The tasks on a list by their names, and whether its last line is torn; no task where there is no list.

    A torn line tells of nothing that was asked for, since each is whole before its request.

    Raises `UserError` where the file is not such a list.
    """
    tasks: dict[str, Task] = {}
    content = path.read_text(errors="replace") if path.exists() else ""
    for line in filter(None, content.split("\n")):
        try:
            facts = json.loads(line)
            facts.pop("time", None)
            tasks[facts["name"]] = Task(**facts)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    if content.strip() and not tasks:
        raise UserError(f"{path} is no list of tasks: move it away, or give --out another folder")
    return tasks, bool(content) and not content.endswith("\n")


class TaskList:
    """The tasks in a file of JSON lines, a line a change. Raises `UserError` where the file is not such a list."""

    def __init__(self, path: Path) -> None:
        self.tasks, torn = read_tasks(path)
        self._lines = Lines(path)
        if torn:
            self._lines.write("\n")  # what a lost machine left of a line stays by itself

    def put(self, task: Task) -> None:
        """Write a task's state, on the disk when this returns."""
        self.tasks[task.name] = task
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.write(json.dumps({**task.__dict__, "time": when}) + "\n")
        self._lines.sync()

    def close(self) -> None:
        """Write no more."""
        self._lines.close()


def found_or_none(ask: Callable[[str], Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """What the service says about a name; None where it knows none such. Raises what the client raises."""
    import ee

    try:
        return ask(name)
    except ee.EEException as error:
        if "not found" in str(error).lower() or "not exist" in str(error):
            return None
        raise
