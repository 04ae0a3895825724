"""No more requests in any second than agreed, as the server counts them, in one program or in several at once."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from waterscape.data.pack import lock
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1.0
LOOK_AGAIN = 0.03  # seconds, where others have all places


class Turns:
    """So many places, in each of which one request at a time rests for a second, is sent, and answered.

    Whatever happens on the way, a server that counts requests as they arrive never counts more in a second: one has
    arrived before it is answered, or before its program was killed, and the next in its place rests from then on.
    Safe to use from many threads; with files for the places, from many programs that share the folder.
    """

    def __init__(self, per_second: float, places: int | None = None, beside: Path | None = None) -> None:
        """So many a second on average here; `places` are those of all who share the files `beside` a path."""
        self.count = max(1, int(per_second))
        self._rest = max(1.0, self.count / per_second) - 1.0  # seconds on top of the one in a place
        self._own = threading.BoundedSemaphore(self.count)
        self._files = (
            [beside.with_name(f".{beside.name}.turn-{place + 1}.lock") for place in range(places or self.count)]
            if beside
            else []
        )
        self._lock = threading.Lock()
        self._quiet_until = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and give it back afterwards."""
        with self._own:
            time.sleep(self._rest * SECOND)
            with self._place():
                time.sleep(SECOND)
                while (pause := self._quiet_until - time.monotonic()) > 0:
                    time.sleep(pause)
                yield

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One among all programs. Its lock ends with the program, however that ends."""
        descriptor = self._free_place() if self._files else None
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _free_place(self) -> int:
        while True:
            for path in random.sample(self._files, len(self._files)):
                try:
                    return lock(path, os.O_CREAT | os.O_RDWR, "")
                except UserError:
                    continue
            time.sleep(LOOK_AGAIN)

    def quiet(self, seconds: float) -> None:
        """Let everybody wait so long."""
        with self._lock:
            self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)
