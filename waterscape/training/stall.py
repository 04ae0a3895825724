"""When a run stalls: who is late, whether all wait in vain, and what is told of it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from waterscape.training.beats import Beat, describe, path_of, position

TOLD = 3
"""So many late ranks are named in one line."""


@dataclass(frozen=True)
class Seen:
    """A rank as another one sees it.

    `silent`: nothing of it has moved, though its process may run. `unseen`: on a machine whose files we do not see.
    """

    beat: Beat
    state: Literal["runs", "stopped", "gone", "left", "silent", "unseen"]

    def is_over(self, patience: float | None = None) -> bool:
        """Whether there is nothing more to hope for from it: absent, or still for longer than its limit.

        `patience`: less than its limit, in seconds, but for what may take long.
        """
        if self.state in ("runs", "unseen"):
            limit = self.beat.limit if patience is None or self.beat.look.long else min(patience, self.beat.limit)
            return self.beat.idle >= limit
        return True


def late(ranks: Sequence[Seen]) -> list[Seen]:
    """Those that the others wait for: the absent ones, else those that are behind; none where all wait alike."""
    absent = [seen for seen in ranks if seen.state not in ("runs", "unseen")]
    known = [seen for seen in ranks if seen.state != "unseen"]
    if absent or not known:
        return absent
    least = min(position(seen.beat.look) for seen in known)
    behind = [seen for seen in known if position(seen.beat.look) == least]
    _, waiting = least
    return [] if waiting and len(behind) == len(known) else behind


def headline(ranks: Sequence[Seen], seconds: float) -> str:
    """One line: no step for so many seconds, and whose fault it is."""
    behind = late(ranks)
    if not behind:
        waiting = next((seen.beat.look.waiting for seen in ranks if seen.beat.look.waiting), "a collective")
        fault = f"all {len(ranks)} ranks wait in {waiting}: look at the network between them"
    else:
        named = [tell(seen) for seen in behind[:TOLD]]
        fault = "; ".join(named) + (f"; and {len(behind) - TOLD} more" if len(behind) > TOLD else "")
    return f"no step for {seconds:.0f} s: {fault}"


def tell(seen: Seen) -> str:
    """A rank in words: who, in what state, in which step, doing what."""
    process = seen.beat.process
    state = {
        "runs": "waits for the others" if seen.beat.look.waiting else f"has not moved for {seen.beat.idle:.0f} s",
        "stopped": "is stopped (SIGSTOP; SIGCONT continues it)",
        "gone": "is gone (killed; out of memory perhaps: dmesg tells)",
        "left": f"has left ({seen.beat.left})",
        "silent": "gives no sign of life (its process does not run Python, or its machine does not answer)",
        "unseen": "writes where this rank cannot see it",
    }[seen.state]
    return f"rank {process.rank} on {process.host} (process {process.pid}) {state}, {describe(seen.beat.look)}"


def report(ranks: Sequence[Seen], told: str, out: Path, *, everybody: bool) -> str:
    """The headline, a line for each rank, and the stacks that they have left: of the late ones, or of `everybody`."""
    behind = late(ranks)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    lines = [told, "", f"{now}; all ranks:"]
    lines += [f"  {'LATE ' if seen in behind else ''}{tell(seen)}" for seen in ranks]
    for seen in ranks if everybody else behind or ranks[:1]:
        rank = seen.beat.process.rank
        stack = read_stack(out, rank)
        lines += ["", f"stack of rank {rank}, by its own faulthandler:" if stack else f"rank {rank} has left no stack"]
        lines += [f"  {line}" for line in stack.splitlines()]
    return "\n".join(lines) + "\n"


def read_stack(out: Path, rank: int) -> str:
    """What a rank's faulthandler has written, without the thread that wrote it; empty if nothing."""
    try:
        text = path_of(out, rank, "stack").read_text(errors="replace")
    except OSError:
        return ""
    threads = [thread for thread in text.split("\n\n") if 'training/heartbeat.py"' not in thread]
    return "\n\n".join(threads).strip()
