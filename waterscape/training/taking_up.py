"""Where a run takes up its checkpoints: when it is resumed, and when it goes back to an earlier one.

Going back keeps the count of images, and so the order of samples and all draws: what was learnt since is dropped, what
was read is not read again. All that follows from it (the earlier weights, the lower rate) stands in the checkpoint that
is written at once; a run that is killed before comes to the same decision again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from waterscape.training import checkpoint
from waterscape.training.checkpoint import Checkpoint
from waterscape.training.keeping import readable
from waterscape.training.learner import Learner
from waterscape.training.records import Records

LEAST_RATE = 1 / 64
"""Share of the full learning rates below which going back is of no more use."""


def resume(learner: Learner) -> bool:
    """Load the newest whole checkpoint: the first process checks and chooses, every process loads that one or all stop.

    Nodes may see different directories, so each process verifies for itself that it holds the chosen one.

    Returns whether it was written before any watcher looked: whatever one saw there since, nothing of it was kept.
    """
    directory, processes = learner.run.out / "checkpoints", learner.processes
    found = checkpoint.newest(directory) if processes.first else None
    _together(learner, found, learner.load, "cannot resume from")
    return bool(processes.broadcast(found is not None and bool(found.state.get("unseen"))))


def roll_back(records: Records, reason: str) -> bool:
    """Go back to the newest whole checkpoint that was called good, at a lower rate; whether there was one.

    The decision, or why there is none, is told as an event and on the terminal.

    Raises `UserError`, on all processes, where one of them cannot load what the first one chose.
    """
    learner = records.learner
    run, processes = learner.run, learner.processes
    rate = learner.rate_share * run.rollback_rate
    records.settle()
    found, why_not = None, ""
    if processes.first:
        found = newest_good(run.out / "checkpoints") if rate >= LEAST_RATE else None
        why_not = f"the rates are at {learner.rate_share:g} of their full size" if rate < LEAST_RATE else ""
        why_not = why_not or ("" if found else "no checkpoint was called good yet")
    gone = _together(learner, found, lambda taken: learner.go_back(taken, rate), "cannot go back to")
    if records.events:
        facts = {"sha256": found.sha256, "rate_share": rate} if found else {"refused": why_not}
        records.events.write("rollback", learner.images, to=found.images if found else None, reason=reason, **facts)
        told = (
            f"went back from {learner.images} images to the weights of {found.images}, learning rates now {rate:g} of "
            "their full size" if found else f"does not go back: {why_not}"
        )  # fmt: skip
        print(f"{records.name}: {reason}: {told}", file=sys.stderr, flush=True)
    if gone:
        records.went_back()
    return gone


def newest_good(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint that was called good; None where there is none."""
    for one in reversed([held for held in readable(directory) if held.state.get("good")]):
        try:
            return checkpoint.verify(one.path)
        except (OSError, ValueError) as error:
            print(f"checkpoint {one.path} is passed over: {error}", file=sys.stderr, flush=True)
    return None


def _together(learner: Learner, found: Checkpoint | None, take: Callable[[Checkpoint], None], what: str) -> bool:
    """Have every process take the checkpoint that the first one found, or all stop; whether there is one."""
    directory, processes = learner.run.out / "checkpoints", learner.processes
    chosen = processes.broadcast((found.path.name, found.sha256) if found else None)
    if chosen is None:
        return False
    path, problem = directory / chosen[0], ""
    try:
        found = found or checkpoint.verify(path)
        if found.sha256 != chosen[1]:
            raise ValueError("it is not the one that the first process sees")
        take(found)
    except (OSError, ValueError) as error:
        problem = str(error)
    processes.agree(problem, f"{what} {path}")
    return True
