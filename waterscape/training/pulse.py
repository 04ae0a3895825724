"""What this process is doing at this moment: a few numbers in memory, stored by the loop, read by others.

A step is marked some ten times, so a mark must cost next to nothing: a look-up and a store. Where the system has memfd
the memory has a descriptor, and other processes of the machine read it through /proc, even while this one is stopped
and cannot say anything itself.

In memory: steps, images, calls (of collectives, times `LABELS`, plus the label of the one that is waited in), what is
done (a label, plus `LONG`), all as 64-bit integers; the last shard; then the labels themselves, in UTF-8 with zeros.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

_NUMBERS = struct.Struct("4q")
_SHARD, _LABEL = 96, 64  # bytes
LABELS = 60
"""So many things have a name; further ones are called as the last one."""
LONG = 1 << 32
SIZE = _NUMBERS.size + _SHARD + LABELS * _LABEL


class Look(NamedTuple):
    """A pulse as it was when it was looked at.

    `steps` and `images` are those that the run has behind it, `calls` counts the collectives that were entered.
    `waiting` names the one that is waited in, and is empty elsewhere. `long`: what is being done may take longer than a
    step. `shard`: where the last batch came from.
    """

    steps: int
    images: int
    calls: int
    long: bool
    doing: str
    waiting: str
    shard: str


class Pulse:
    """The one of this process is `pulse`."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self.heard: Callable[[str], None] | None = None  # is told of each mark, by who measures a step's parts
        self._lay(bytearray(SIZE))

    def _lay(self, memory: bytearray | mmap.mmap) -> None:
        self.memory = memoryview(memory)[:SIZE]
        self.numbers = self.memory[: _NUMBERS.size].cast("q")
        self.calls = 0  # times LABELS
        self._codes = {"": 0}
        self._waits: dict[str, _Waiting] = {}
        self._last = ""

    def begin(self) -> None:
        """All zero, in new memory, which the neighbours can read where the system allows it."""
        self.end()
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("waterscape-pulse", os.MFD_CLOEXEC)
            os.ftruncate(self.descriptor, SIZE)
            self._lay(mmap.mmap(self.descriptor, SIZE))

    def end(self) -> None:
        """Nobody reads any more."""
        self._lay(bytearray(SIZE))
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def doing(self, what: str) -> None:
        """From here on this process does `what`, a part of a step."""
        self.numbers[3] = self._codes.get(what) or self._code(what)
        if self.heard is not None:
            self.heard(what)

    def taking_long(self, what: str) -> None:
        """From here on this process does `what`, which may take longer than a step."""
        self.numbers[3] = self._code(what) + LONG

    def waiting(self, what: str) -> _Waiting:
        """While the block runs, this process waits for the others in a collective. Such blocks do not nest."""
        return self._waits.get(what) or self._waits.setdefault(what, _Waiting(self, self._code(what), what))

    def stands(self, steps: int, images: int) -> None:
        """The run has so many steps and images behind it."""
        self.numbers[0], self.numbers[1] = steps, images

    def read(self, shard: str) -> None:
        """The batch at hand came from this shard."""
        if shard != self._last:
            self._last = shard
            self._put(_NUMBERS.size, shard, _SHARD)

    def look(self) -> Look:
        """As it is now."""
        return decode(bytes(self.memory))

    def _code(self, what: str) -> int:
        if what not in self._codes:
            code = self._codes[what] = min(len(self._codes), LABELS - 1)
            self._put(_NUMBERS.size + _SHARD + code * _LABEL, what, _LABEL)
        return self._codes[what]

    def _put(self, start: int, text: str, size: int) -> None:
        self.memory[start : start + size] = text.encode()[:size].ljust(size, b"\0")


class _Waiting:
    __slots__ = ("_code", "_pulse", "_what")

    def __init__(self, of: Pulse, code: int, what: str) -> None:
        self._pulse, self._code, self._what = of, code, what

    def __enter__(self) -> None:
        pulse = self._pulse
        pulse.calls += LABELS
        pulse.numbers[2] = pulse.calls + self._code
        if pulse.heard is not None:
            pulse.heard(self._what)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pulse.numbers[2] = self._pulse.calls
        if self._pulse.heard is not None:
            self._pulse.heard("")


def decode(memory: bytes) -> Look:
    """A pulse from the bytes of its memory."""

    def text(start: int, size: int) -> str:
        return memory[start : start + size].rstrip(b"\0").decode(errors="replace")

    def label(code: int) -> str:
        return text(_NUMBERS.size + _SHARD + code % LABELS * _LABEL, _LABEL)

    steps, images, calls, doing = _NUMBERS.unpack_from(memory)
    shard, long = text(_NUMBERS.size, _SHARD), doing >= LONG
    return Look(steps, images, calls // LABELS, long, label(doing % LONG), label(calls), shard)


pulse = Pulse()
"""What this process is doing."""
