"""`tools/review_photos.py` as a process of its own, and what a person does with the link that it prints."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
from programs import ROOT


class Review:
    """A started server."""

    def __init__(self, ledger, words, out):
        self.out = out
        command = [sys.executable, ROOT / "tools/review_photos.py", ledger, *map(str, words)]
        with out.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        self.port = int(re.search(r":(\d+)/", self.link())[1])
        self.place = f"http://127.0.0.1:{self.port}"

    def link(self, number=0):
        """The address of that number that it has printed."""
        for _ in range(600):
            found = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", self.out.read_text())
            if len(found) > number:
                return found[number]
            assert self.process.poll() is None, self.out.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no link {number} in {self.out.read_text()!r}")

    def opened(self, number=0):
        """A client that has swapped the link for the cookie, and says where it comes from as a browser does."""
        client = httpx.Client(base_url=self.place, headers={"Origin": self.place}, timeout=30)
        client.get(self.link(number)).raise_for_status()
        return client

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def reviewing(ledger, *words):
    """The page of a ledger, served; killed at the end."""
    out = ledger.parent / f"server-{time.monotonic_ns()}.txt"
    server = Review(ledger, words or ("--port", 0), out)
    try:
        yield server
    finally:
        server.kill()
