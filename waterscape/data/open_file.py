"""A tar that is held open for reading, and whether its name has become another file's meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_SECONDS = 1.0


class OpenFile:
    """A file descriptor that closes when nobody holds it any more: a thread in mid-read keeps what a cache let go."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        self._identity = _identity(os.fstat(self.descriptor))
        self._looked = time.monotonic()

    def replaced(self) -> bool:
        """Whether its name is by now another file's, or none's: the disk is asked once in `LOOK_SECONDS` at most."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        try:
            return _identity(self.path.stat()) != self._identity
        except OSError:
            return True

    def __del__(self) -> None:
        os.close(self.descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
