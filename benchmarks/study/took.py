"""How much processor time each part of the study took: its programs and what they started, over all goes at it."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

from waterscape.durable import write_text


@contextlib.contextmanager
def counted(kept: Path, name: str) -> Iterator[None]:
    """Add what the block takes, to its end or its failure, to what is kept of this part; a kill takes it along."""
    before = _processor_seconds()
    try:
        yield
    finally:
        kept.mkdir(parents=True, exist_ok=True)
        seconds = seconds_of(kept, [name]) + _processor_seconds() - before
        write_text(kept / f"{name}.json", json.dumps({"processor_seconds": round(seconds, 1)}) + "\n")


def seconds_of(kept: Path, names: Iterable[str]) -> float:
    """Processor seconds that these parts took together; nothing for one of which nothing is kept."""
    paths = [path for name in names if (path := kept / f"{name}.json").exists()]
    return float(sum(json.loads(path.read_text())["processor_seconds"] for path in paths))


def _processor_seconds() -> float:
    """Of this process and of all children that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
