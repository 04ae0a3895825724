"""A run in its directory: its first process owns it, and how the run ends is written there as its outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from waterscape.training.causes import told
from waterscape.training.outcome import Outcome, clear_outcome
from waterscape.training.owner import OutdatedError, Owner
from waterscape.training.processes import Processes


@contextlib.contextmanager
def tenure(out: Path, processes: Processes, begin: Callable[[], object]) -> Iterator[Owner | None]:
    """While the block runs, the directory is this run's; the first process holds the `Owner`.

    `begin` is called on the first process once it owns the directory; where it raises, the run has not begun and the
    last outcome stands. An error in the block makes the outcome `failed`.

    Raises:
        UserError: on every process, where the directory cannot be written to or is owned by another run.
    """
    owner, problem = None, ""
    if processes.first:
        try:
            out.mkdir(parents=True, exist_ok=True)
            owner = Owner.claim(out)
            begin()
            clear_outcome(out)
        except (OSError, ValueError) as error:
            problem = str(error)
    try:
        processes.agree(problem, f"cannot start in {out}")
        try:
            yield owner
        except BaseException as error:
            cause = told(error)
            conclude(owner, Outcome("failed", str(cause)))
            if cause is error:
                raise
            raise cause from error
    finally:
        if owner:
            owner.leave()


def conclude(owner: Owner | None, outcome: Outcome) -> None:
    """Write the outcome, unless the directory is another's by now or cannot be written to."""
    if owner:
        with contextlib.suppress(OutdatedError, OSError), owner.fence():
            outcome.write(owner.out)
