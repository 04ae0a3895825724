"""No more requests in any second than agreed, as the server counts them."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """So many turns, each of which rests for a second after its request was answered.

    Whatever happens on the way, a server that counts requests as they arrive never counts more in a second: a request
    has arrived before it is answered. Safe to use from many threads.
    """

    def __init__(self, per_second: float) -> None:
        self.count = max(1, int(per_second))
        self._rest = self.count / per_second
        self._free_at = [0.0] * self.count
        self._change = threading.Condition()
        self._quiet_until = 0.0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a turn, and give it back afterwards."""
        with self._change:
            while True:
                now = time.monotonic()
                turn = min(self._free_at, default=float("inf"))
                soonest = max(turn, self._quiet_until)
                if soonest <= now:
                    self._free_at.remove(turn)
                    break
                self._change.wait(soonest - now if soonest < float("inf") else None)
        try:
            yield
        finally:
            with self._change:
                self._free_at.append(time.monotonic() + self._rest)
                self._change.notify_all()

    def quiet(self, seconds: float) -> None:
        """Let everybody wait so long."""
        with self._change:
            self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)
