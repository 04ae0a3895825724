"""Batches brought to the device while it still computes on the one before: from pinned memory, on a stream of its own.

Stored values stay as they are (uint8) until they are there, a quarter of the bytes of float32. A copy from pinned
memory needs no processor, and on a stream of its own it waits for no computation; whoever takes the batch makes the
device, not the host, wait for the copy (CUDA programming guide, 3.2.8.5).
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from waterscape.data.batches import Loaded

AHEAD = 2  # batches that are there, or on their way, beyond the one in use


class Stream(Protocol):
    """Batches that end by `close`."""

    def __next__(self) -> Loaded:
        """The next one."""

    def halt(self) -> None:
        """Wait for nothing from afar any more: whoever takes the next one gets it or an error, soon."""

    def close(self) -> None:
        """End."""


class Staged(Iterator[Loaded]):
    """The batches of a stream, their columns on `device`; their numbers stay here, pinned where that helps.

    A thread takes them from the stream, so it ends one batch late at most. On a CPU nothing is copied.
    """

    def __init__(self, stream: Stream, device: torch.device) -> None:
        self.stream, self.device = stream, device
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._room = threading.Semaphore(AHEAD)
        self._ready: SimpleQueue[tuple[Loaded, torch.cuda.Event | None] | BaseException] = SimpleQueue()
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __next__(self) -> Loaded:
        if self._ended:
            raise StopIteration
        there = self._ready.get()
        if isinstance(there, BaseException):
            self.close()
            raise there
        self._room.release()
        loaded, copied = there
        if copied is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_event(copied)
            for value in loaded.columns.values():
                if isinstance(value, Tensor):
                    value.record_stream(now)  # its memory is not used again before what is queued now has read it
        return loaded

    def close(self) -> None:
        """Take no more batches, and end the stream."""
        self._ended = True
        self._room.release()
        self.stream.halt()
        self._thread.join()
        self.stream.close()

    def _work(self) -> None:
        if self._side is not None:
            torch.cuda.set_device(self._side.device)  # a new thread stands on the first, and would take memory there
        try:
            while True:
                self._room.acquire()
                if self._ended:
                    return
                self._ready.put(self._send(next(self.stream)))
        except BaseException as error:
            self._ready.put(error)

    def _send(self, loaded: Loaded) -> tuple[Loaded, torch.cuda.Event | None]:
        if self._side is None:
            return loaded, None
        with torch.cuda.stream(self._side):
            columns = {
                name: pinned(value).to(self.device, non_blocking=True)
                if isinstance(value, Tensor) and not same_device(value.device, self.device)
                else value
                for name, value in loaded.columns.items()
            }
            copied = self._side.record_event()
        return dataclasses.replace(loaded, columns=columns, numbers=loaded.numbers.pin_memory()), copied


def pinned(value: Tensor) -> Tensor:
    """A copy whose memory a device can read by itself, its elements one after another."""
    return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value)


def same_device(one: torch.device, other: torch.device) -> bool:
    """Whether both name one device; without an index, a device is any of its type (`cuda` is `cuda:0` of one GPU)."""
    return one.type == other.type and (one.index == other.index or one.index is None or other.index is None)
