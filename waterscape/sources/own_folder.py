"""A folder of this user alone for what is on its way to a URL: one process at a time, and no leftovers."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from waterscape.data.address import redact
from waterscape.data.pack import lock
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def own_folder(url: str, word: str) -> Iterator[Path]:
    """A folder for what is on its way to a URL, which only this user can read: empty, and removed at the end.

    It has the same name for the same URL and `word`: what a killed call has left in it goes first. Where folders cannot
    be locked its name is a new one, and what a killed call has left stays.

    Raises:
        UserError: another process is using it, or it is not this user's.
    """
    name = sha256(redact(url).rstrip("/").encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"waterscape-{word}-{os.getuid()}-{name}"
    busy = f"{redact(url)} is being changed by another process of yours"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = lock(folder, os.O_RDONLY, busy)
    except FileNotFoundError as error:  # its owner removed it in between
        raise UserError(f"{busy}: wait for it") from error
    except OSError as error:
        raise UserError(f"{folder} cannot be used ({error.strerror}): remove it") from error
    try:
        ours = os.fstat(descriptor)
        if not _is_at(folder, ours):
            raise UserError(f"{busy}: wait for it")
        if ours.st_uid != os.getuid() or ours.st_mode & 0o077:
            raise UserError(f"{folder} is open to other users: remove it")
        if _can_be_had(folder):
            folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        try:
            yield folder
        finally:  # under the lock
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _is_at(folder: Path, ours: os.stat_result) -> bool:
    """Whether it still is what was locked, rather than another one or none."""
    try:
        return os.path.samestat(folder.lstat(), ours)
    except FileNotFoundError:
        return False


def _can_be_had(folder: Path) -> bool:
    """Whether a folder can be locked that is locked already: so it is where there are no locks."""
    try:
        os.close(lock(folder, os.O_RDONLY, ""))
    except UserError:
        return False
    return True
