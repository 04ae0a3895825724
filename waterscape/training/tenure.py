"""A run in its directory: its first process owns it, and how the run ends is written there as its outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from waterscape.errors import UserError
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
            told = _tell(error)
            conclude(owner, Outcome("failed", str(told)))
            if told is error:
                raise
            raise told from error
    finally:
        if owner:
            owner.leave()


def conclude(owner: Owner | None, outcome: Outcome) -> None:
    """Write the outcome, unless the directory is another's by now or cannot be written to."""
    if owner:
        with contextlib.suppress(OutdatedError, OSError), owner.fence():
            outcome.write(owner.out)


def _tell(error: BaseException) -> BaseException:
    """The error as it is told: where another process's end was the cause, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and any(word in text for word in ("closed by peer", "reset by peer", "gloo")):
        return UserError(f"another process of the run ended, so this one does too: {text[:200]}")
    return error
