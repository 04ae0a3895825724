"""Writing checkpoints, whole or not at all: one at a time, in the background where a core is free.

What trains is copied into host memory within milliseconds; training goes on while a thread writes the copy under a
temporary name, forces it to disk and renames it. Only then are older ones dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waterscape.cores import cores
from waterscape.durable import sync
from waterscape.errors import UserError
from waterscape.training.checkpoint import FORMAT, PARTIAL, STATE, Tensors, sealed
from waterscape.training.keeping import Keeping
from waterscape.training.snapshot import Snapshot


class NotFiniteError(UserError):
    """Weights that are not finite: such a checkpoint is never published."""


@dataclass(frozen=True)
class Written:
    """A checkpoint that stands."""

    images: int
    sha256: str
    bytes: int
    seconds: float


class Writer:
    """Writes a run's checkpoints into `directory`, which must exist.

    `fence` is entered around the renaming and dropping; it raises where another process owns the run by now.
    """

    def __init__(
        self,
        directory: Path,
        keeping: Keeping,
        *,
        background: bool = False,
        fence: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.directory, self.keeping, self.background, self.fence = directory, keeping, background, fence
        self.written: list[Written] = []
        self.failure: Exception | None = None
        self._snapshot = Snapshot()
        self._thread: threading.Thread | None = None

    def save(self, files: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
        """Write a checkpoint of `state["images"]` images, or begin to. What goes wrong is found in `failure`."""
        self.wait()
        self._snapshot.fill(files)
        if self.background:
            self._thread = threading.Thread(target=self._attempt, args=(state,), name="checkpoint writer")
            self._thread.start()
        else:
            self._attempt(state)

    def wait(self) -> None:
        """Until no checkpoint is being written."""
        if self._thread:
            self._thread.join()
            self._thread = None

    def _attempt(self, state: Mapping[str, Any]) -> None:
        began = time.monotonic()
        try:
            sha256, size = self._write(state)
            self.written.append(Written(state["images"], sha256, size, time.monotonic() - began))
        except Exception as error:  # a thread has nobody to raise to
            self.failure = error

    def _write(self, state: Mapping[str, Any]) -> tuple[str, int]:
        for problem in self._snapshot.problems(("network.", "average.")):
            raise NotFiniteError(f"{problem} after {state['images']} images, so no checkpoint is written")
        name = f"{state['images']:012d}"
        partial, final = self.directory / f"{PARTIAL}{name}-{os.urandom(4).hex()}", self.directory / name
        with self.fence():
            self._sweep()
        partial.mkdir()
        try:
            sha256, size = self._fill(partial, state)
            with self.fence():
                if final.exists():  # a damaged one of the same name, passed over on resuming
                    final.rename(f"{partial}-replaced")
                partial.rename(final)
                sync(self.directory)
                self.keeping.prune(self.directory, state["images"])
                self._sweep()
        finally:
            if partial.exists():
                shutil.rmtree(partial, ignore_errors=True)  # a full disk needs the room
        return sha256, size

    def _fill(self, partial: Path, state: Mapping[str, Any]) -> tuple[str, int]:
        """Write all files, durably; returns the sha256 of the state, and the size of the others in bytes."""
        files: dict[str, dict[str, Any]] = {}
        for file, held in self._snapshot.files.items():
            _write_durably(partial / file, held.content)
            files[file] = {"bytes": held.content.nbytes, "sha256": hashlib.sha256(held.content).hexdigest()}
        text = sealed({"format": FORMAT, **state, "files": files})
        _write_durably(partial / STATE, text)
        sync(partial)
        return hashlib.sha256(text).hexdigest(), sum(file["bytes"] for file in files.values())

    def _sweep(self) -> None:
        """Remove what an interrupted write left."""
        for stale in self.directory.glob(PARTIAL + "*"):
            shutil.rmtree(stale)


def _write_durably(path: Path, content: bytes | memoryview) -> None:
    with path.open("xb") as file:
        file.write(content)
        os.fsync(file.fileno())


def core_is_free(threads: int, processes: int) -> bool:
    """Whether a machine on which `processes` train with so many threads each has a core to spare for writing."""
    return threads * processes < cores()
