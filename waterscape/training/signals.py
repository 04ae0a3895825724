"""Being asked to stop. A signal only sets a flag: the engine saves and leaves at the end of a step.

(A checkpoint written inside a signal handler would catch the optimizers at different steps.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


class Request:
    """Whether this process was asked to stop: by a signal, or by the end of the launcher that started it."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        # Without a launcher the parent is a shell, which may go (nohup) while the run goes on.
        self._launcher = os.getppid() if _has_launcher() else None

    @property
    def reason(self) -> str:
        """Why to stop; empty as long as nobody asked."""
        if self.signal is not None:
            return self.signal.name
        if self._launcher is not None and os.getppid() != self._launcher:
            return "the launcher is gone"
        return ""

    def receive(self, number: int, _: FrameType | None) -> None:
        """The handler. Whoever interrupts a second time leaves at once."""
        asked = signal.Signals(number)  # before the flag is looked at: within a call another signal is handled
        if self.signal == signal.SIGINT and number in _INSISTING:
            os._exit(128 + signal.SIGINT)
        if self.signal is None:
            self.signal = asked
            if os.environ.get("RANK", "0") == "0":
                os.write(2, f"\n{self.signal.name}: saving after this step; Ctrl-C again leaves at once\n".encode())
        elif number == signal.SIGINT:
            self.signal = signal.SIGINT


def _has_launcher() -> bool:
    """Whether torchrun or `accelerate launch` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ


# To a second Ctrl-C torchrun, which forwards signals, answers with SIGTERM.
_INSISTING = {signal.SIGINT, signal.SIGTERM} if "TORCHELASTIC_RUN_ID" in os.environ else {signal.SIGINT}


@contextlib.contextmanager
def heeded() -> Iterator[Request]:
    """Heed signals from here on, while the block runs. Enter it before long imports; in the main thread only."""
    request = Request()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in HEEDED:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                before[number] = signal.signal(number, request.receive)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
