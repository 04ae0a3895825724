"""The heartbeats of a run's ranks, `heartbeat/rank-00000.json`: who each is, what it does, and for how long already.

A rank writes its own every few seconds, by renaming; a rank on the same machine is also looked at directly: whether its
process is stopped, and its pulse, through /proc. A process is believed to be the one that the file names only where
machine (boot), process namespace, number and time of start are the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

from waterscape.training.pulse import SIZE, Look, decode

FORMAT = 1
FOLDER = "heartbeat"

State = Literal["runs", "stopped", "gone", "unknown"]
"""Of a process; `unknown` from another machine or container."""


@dataclass(frozen=True)
class Process:
    """Which process a rank is. `started` is in clock ticks since the machine's boot; 0 where there is no /proc."""

    rank: int
    host: str
    pid: int
    started: int
    boot: str
    namespace: str
    """Of process numbers: containers have their own."""
    memory: int | None
    """The descriptor of its pulse."""

    @classmethod
    def this(cls, rank: int, memory: int | None) -> Self:
        """This process."""
        found = _status(os.getpid())
        return cls(rank, platform.node(), os.getpid(), found[1] if found else 0, *_machine(), memory)

    @property
    def here(self) -> bool:
        """Whether it is, or was, on this machine, among the processes that we see."""
        return self.started > 0 and (self.boot, self.namespace) == _machine()

    def state(self) -> State:
        """What /proc says of it."""
        if not self.here:
            return "unknown"
        found = _status(self.pid)
        if found is None or found[1] != self.started or found[0] in "ZX":
            return "gone"
        return "stopped" if found[0] in "Tt" else "runs"

    def look(self) -> Look | None:
        """Its pulse at this moment; None where we may not look."""
        if self.memory is None or self.state() in ("gone", "unknown"):
            return None
        with suppress(OSError), Path(f"/proc/{self.pid}/fd/{self.memory}").open("rb", buffering=0) as file:
            memory = file.read(SIZE)
            return decode(memory) if len(memory) == SIZE else None
        return None


@dataclass(frozen=True)
class Beat:
    """A rank's file. `idle`: for so many seconds, those that it was awake, nothing has moved; `limit`: how long it may.

    `left` says why it has left, and is empty while it has not. `beats` counts the writings, `time` is the clock's.
    """

    process: Process
    start: str
    """A word that all ranks of one start of the run share."""
    world: int
    look: Look
    idle: float
    limit: float
    left: str
    beats: int
    time: float

    def write(self, out: Path) -> None:
        """Put it into the run's directory, whole, though not durably. Raises `OSError`."""
        path = path_of(out, self.process.rank)
        facts = {"format": FORMAT, **vars(self), "process": vars(self.process), "look": self.look._asdict()}
        partial = path.with_name(f".partial-{self.process.pid}-{path.name}")
        partial.write_text(json.dumps(facts) + "\n")
        partial.replace(path)

    def now(self) -> Beat:
        """The same rank as it is at this moment, where it is on this machine."""
        look = self.process.look()
        return self if look is None else dataclasses.replace(self, look=look)


def path_of(out: Path, rank: int, ending: str = "json") -> Path:
    """A rank's file: its heartbeat, or its stack."""
    return out / FOLDER / f"rank-{rank:05d}.{ending}"


def read_beat(path: Path) -> Beat | None:
    """What a rank has written; None where there is no such file, or one that cannot be understood."""
    try:
        facts = json.loads(path.read_text())
        if facts.pop("format") > FORMAT:
            return None
        return Beat(**{**facts, "process": Process(**facts["process"]), "look": Look(**facts["look"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_beats(out: Path) -> list[Beat]:
    """All ranks' heartbeats, by rank."""
    found = (read_beat(path) for path in sorted((out / FOLDER).glob("rank-*.json")))
    return [beat for beat in found if beat]


def position(look: Look) -> tuple[int, bool]:
    """Who has a lower one is behind: the collectives that are done, and whether the next is waited in."""
    waiting = bool(look.waiting)
    return look.calls - waiting, waiting


def describe(look: Look) -> str:
    """What a rank does, in words."""
    doing = look.doing or "nothing yet"
    if look.waiting:
        doing = f"waits in {look.waiting} ({doing})"
    shard = f", last shard {look.shard}" if look.shard else ""
    return f"in step {look.steps + 1}, after {look.images} images, {doing}{shard}"


def age(beat: Beat) -> float:
    """Seconds since it was written, by the clocks of both machines."""
    return max(0.0, time.time() - beat.time)


def _status(pid: int) -> tuple[str, int] | None:
    """A process's state letter and start; None where there is none, or no /proc."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return words[0], int(words[19])


@cache
def _machine() -> tuple[str, str]:
    """This boot of this machine, and the namespace of process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "", ""
