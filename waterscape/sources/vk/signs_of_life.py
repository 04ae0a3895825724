"""What a search is at, told every few seconds: a circle of many photos may take an hour, a patient wait minutes."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterscape.sources.vk.searching import Search

SECONDS = 5.0


@contextmanager
def signs_of_life(search: Search) -> Iterator[None]:
    """Tell on stderr, above a bar where there is one, while the search goes on and what it says changes."""
    ended = threading.Event()

    def tell() -> None:
        told = ""
        while not ended.wait(SECONDS):
            line = f"searching: {search.asked} windows asked, {search.found} photos found"
            line += f"; waiting: {search.vk.waiting}" if search.vk.waiting else ""
            if line != told:
                tqdm.write(line, file=sys.stderr)
                told = line

    teller = threading.Thread(target=tell, name="signs-of-life", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
