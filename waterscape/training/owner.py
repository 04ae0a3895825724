"""One owner for each run's directory: `owner.json` says who, and its owner holds a lock on it for as long as it lives.

A second run on the directory is refused. A dead owner's place is taken, and so is that of an earlier restart of the
same SLURM job, which may still be alive on a node that was declared lost: each owner has a fencing number and reads the
file again before it publishes anything, so an outdated one leaves without renaming.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from waterscape.durable import sync, write_text
from waterscape.errors import UserError

FORMAT = 1
FILE, LOCK = "owner.json", "owner.lock"


class OutdatedError(UserError):
    """The run's directory has another owner by now."""


class Owner:
    """This process as the owner of a run's directory. `number` rises with each owner."""

    def __init__(self, out: Path, facts: dict[str, Any], handle: int) -> None:
        self.out, self.facts, self._handle = out, facts, handle

    @classmethod
    def claim(cls, out: Path) -> Self:
        """Become the owner of a directory, which must exist. Raises `UserError` that names the owner where it has one.

        A lock is trusted on the same machine only: an owner elsewhere counts as alive until it has left by itself.
        """
        with exclusive(out):
            before = _read(out)
            if before and not before["left"] and _alive(out, before) and not _earlier(before):
                raise UserError(f"{out} is in use: {_describe(before)}; {_advice(out, before)}")
            number = before["number"] + 1 if before else 1
            facts = {"format": FORMAT, "number": number, "token": os.urandom(8).hex(), "left": False, **_identity()}
            partial = out / f".partial-{os.getpid()}-{FILE}"
            partial.write_text(_text(facts))
            sync(partial)
            handle = os.open(partial, os.O_RDONLY)
            _lock(handle)
            partial.replace(out / FILE)
            return cls(out, facts, handle)

    @property
    def number(self) -> int:
        """The fencing number."""
        found: int = self.facts["number"]
        return found

    @contextlib.contextmanager
    def fence(self) -> Iterator[None]:
        """While the block runs this process is the owner and stays it. Raises `OutdatedError` where it is no more."""
        with exclusive(self.out):
            now = _read(self.out)
            if now is None or now["token"] != self.facts["token"]:
                by = _describe(now) if now else "somebody removed owner.json"
                raise OutdatedError(f"{self.out} was taken over: {by}; this process leaves without writing there")
            yield

    def leave(self) -> None:
        """Give the directory free."""
        with contextlib.suppress(OutdatedError, OSError), self.fence():
            write_text(self.out / FILE, _text({**self.facts, "left": True}))
        os.close(self._handle)


def _identity() -> dict[str, Any]:
    job = os.environ.get("SLURM_JOB_ID")
    return {
        "host": platform.node(),
        "boot": _boot(),
        "pid": os.getpid(),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "job": job,
        "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0) if job else 0,
    }


def _boot() -> str | None:
    """Linux: what all containers of a machine share, and no other machine has."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else None


def _alive(out: Path, owner: dict[str, Any]) -> bool:
    """Whether an owner may still be there: surely not where its machine is ours and nobody holds its lock."""
    mine = _identity()
    if owner["host"] != mine["host"] and (owner["boot"] is None or owner["boot"] != mine["boot"]):
        return True
    handle = os.open(out / FILE, os.O_RDONLY)
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _earlier(owner: dict[str, Any]) -> bool:
    """Whether the owner is an earlier restart of this very job."""
    mine = _identity()
    return mine["job"] is not None and owner["job"] == mine["job"] and owner["restart"] < mine["restart"]


def _describe(owner: dict[str, Any]) -> str:
    job = f" (SLURM job {owner['job']}, restart {owner['restart']})" if owner["job"] else ""
    return f"process {owner['pid']} on {owner['host']} trains there since {owner['since']}{job}"


def _advice(out: Path, owner: dict[str, Any]) -> str:
    here = owner["host"] == platform.node()
    gone = "" if here else f", or remove {out / FILE} if that machine or process is gone"
    return f"end it or give another --out{gone}"


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1) + "\n"


def _read(out: Path) -> dict[str, Any] | None:
    path = out / FILE
    if not path.exists():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        newer = facts["format"] > FORMAT
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged; remove it if nothing trains in {out}") from None
    if newer:
        raise UserError(f"{path} has format {facts['format']}, newer than this version's {FORMAT}: update waterscape")
    return facts


def _lock(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file; False where somebody else holds it, or where this file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            return False
        raise
    return True


@contextlib.contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """One process at a time, for the milliseconds that claiming and publishing take."""
    handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)
