"""The processor cores that this process may use, and how many processes of its run share them."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that this process may run on: where a job was given some of a machine, not all that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_here(world: int) -> int:
    """How many of a run's `world` processes are on this machine: the launcher says it, else all are."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world))
