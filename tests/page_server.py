"""Local pages for tests: served by a process of their own or by a thread, and what a person does with the link."""

from __future__ import annotations

import re
import subprocess
import threading
from contextlib import contextmanager

import httpx
from waiting import until

from waterscape.pages.serving import serve

LINK = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")


class Page:
    """A page that is served. `told`: what its server has said so far; `ended`: whether it is there no more."""

    def __init__(self, told, ended=lambda: False):
        self.told, self.ended = told, ended
        self.port = int(re.search(r":(\d+)/", self.link())[1])
        self.place = f"http://127.0.0.1:{self.port}"

    def link(self, number=0):
        """The address of that number that it has printed."""

        def printed():
            found = LINK.findall(self.told())
            assert len(found) > number or not self.ended(), self.told()
            return found[number : number + 1]

        return until(printed, 60, lambda: f"no link {number} in {self.told()!r}")[0]

    def newest(self):
        """The address that opens the page next."""
        self.link()
        return LINK.findall(self.told())[-1]

    def opened(self, number=0):
        """A client that has swapped the link for the cookie, and says where it comes from as a browser does."""
        client = httpx.Client(base_url=self.place, headers={"Origin": self.place}, timeout=30)
        client.get(self.link(number)).raise_for_status()
        return client


class Started(Page):
    """A page of a process of its own, whose output goes into the file `out`."""

    def __init__(self, command, out):
        with out.open("w") as file:
            self.process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=subprocess.STDOUT)
        super().__init__(out.read_text, lambda: self.process.poll() is not None)

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def started(command, out):
    """Killed at the end."""
    server = Started(command, out)
    try:
        yield server
    finally:
        server.kill()


def in_thread(routes, most_body_bytes):
    """A page of this process: it is served until the tests end, by a thread that ends with them."""
    lines = []
    words = {"tell": lines.append, "most_body_bytes": most_body_bytes}
    threading.Thread(target=serve, args=(routes, 0), kwargs=words, daemon=True).start()
    return Page(lambda: "\n".join(lines))
