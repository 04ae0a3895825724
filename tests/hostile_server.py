"""A loopback HTTP server of files, with ranges and ETags, which misbehaves as it is told to, one request at a time."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from loopback import Answering, Loopback

PIECE = 1 << 14


@dataclass
class Asked:
    """A request: `path` is without the query, `headers` have small names."""

    path: str
    query: str
    headers: dict[str, str]


class HostileServer(Loopback):
    """Serves the files of a directory; `faults[path]` are consumed by the next requests of that path."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[Asked] = []
        self.faults: dict[str, list[Callable[[Handler, bytes], None]]] = defaultdict(list)
        self.bytes_per_second = float("inf")  # of each connection
        self.latency = 0.0  # seconds
        self.busy = self.busiest = 0  # requests that are answered side by side: now, and at most
        self._lock = threading.Lock()
        self.listen(Handler, "hostile")

    def gets(self, ending: str = "") -> Counter[str]:
        """How often each path was asked for."""
        return Counter(asked.path for asked in self.asked if asked.path.endswith(ending))

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        with self._lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            yield
        finally:
            with self._lock:
                self.busy -= 1

    def note(self, asked: Asked) -> Callable[[Handler, bytes], None]:
        with self._lock:
            self.asked.append(asked)
            return self.faults[asked.path].pop(0) if self.faults[asked.path] else serve


class Handler(Answering, BaseHTTPRequestHandler):
    hostile: HostileServer

    def do_GET(self) -> None:
        with self.hostile.answering():
            self.give()

    def give(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.hostile.note(Asked(path, query, headers))
        time.sleep(self.hostile.latency)
        file = self.hostile.directory / path.lstrip("/")
        try:
            if fault is serve and not file.is_file():
                self.answer(404, b"")
            else:
                fault(self, file.read_bytes() if file.is_file() else b"")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status: int, content: bytes, *, announced: int | None = None, upto: int | None = None, **headers):
        """An answer that announces a length and sends what it wants."""
        self.begin(status, len(content) if announced is None else announced, **headers)
        sent = content[:upto]
        for start in range(0, len(sent), PIECE):
            self.wfile.write(sent[start : start + PIECE])
            time.sleep(len(sent[start : start + PIECE]) / self.hostile.bytes_per_second)
        if upto is not None or announced not in (None, len(content)):
            self.close_connection = True


def serve(handler: Handler, content: bytes, *, upto: int | None = None) -> None:
    """As a good server does: ranges, and `If-Range`."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if found and handler.headers.get("If-Range", tag) == tag:
        start = int(found[1])
        if start >= len(content):
            handler.answer(416, b"")
            return
        about = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.answer(206, content[start:], upto=upto, ETag=tag, Content_Range=about)
    else:
        handler.answer(200, content, upto=upto, ETag=tag)


def break_off(after: int) -> Callable[[Handler, bytes], None]:
    """The connection ends after so many bytes."""
    return lambda handler, content: serve(handler, content, upto=after)


def announce(more: int) -> Callable[[Handler, bytes], None]:
    """A length that is not the content's."""
    return lambda handler, content: handler.answer(200, content, announced=len(content) + more)


def garbage(handler: Handler, content: bytes) -> None:
    """Other bytes of the right length."""
    handler.answer(200, b"\x55" * len(content))


def status(code: int, **headers: str) -> Callable[[Handler, bytes], None]:
    return lambda handler, _: handler.answer(code, b"sorry", **headers)


def ignore_range(handler: Handler, content: bytes) -> None:
    handler.answer(200, content)


def redirect(location: str) -> Callable[[Handler, bytes], None]:
    return status(302, Location=location)


def hang(seconds: float) -> Callable[[Handler, bytes], None]:
    """Nothing for so long, then the connection ends."""

    def fault(handler: Handler, _: bytes) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return fault
