"""R4: seconds until a tool that collects photos has started and answered, where its ledger has 100 000 photos.

Each is a process of its own, from nothing to its end, with what the kernel holds of the ledger's file; the review page
to its first list of photos over HTTP, the packer to the table of what it would pack, since it then reads the photos.
The median of the rounds counts. The ledger is synthetic; its files are not there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.figure import Figure, note
from benchmarks.ledgers import write_ledger

PHOTOS = 100_000
ROUNDS = 7
BRIEF = {"PHOTOS": 1000, "ROUNDS": 1}
LINK = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
ROOT = Path(__file__).parent.parent
PAIRS = ("--ledger", "photos.db", "--out", "pairs")
BOX = ("--box", "53.81,36.58,58.69,40.42", "--since", "2021-01-19", "--ledger", "photos.db", "--out", "photos")
TOOLS = {
    "pack-pairs": ("tools/pack_pairs.py", *PAIRS, "--dry-run"),
    "fetch-photos": ("tools/fetch_photos.py", *BOX, "--dry-run"),
    "filter-photos": ("tools/filter_photos.py", "photos.db", "--dry-run"),
    "fetch-satellite": ("tools/fetch_satellite.py", "photos.db", "--source", "yandex", "--out", "s", "--dry-run"),
    "forget": ("-m", "waterscape", "shards", "forget", "--ledger", "photos.db", "--owner", "9000007", "--dry-run"),
}


def figures() -> Iterator[Figure]:
    """Seconds of each tool."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        write_ledger(here / "photos.db", PHOTOS)
        note(f"R4 {(here / 'photos.db').stat().st_size / 1e6:.0f} MB of ledger")
        for name, words in TOOLS.items():
            yield Figure.over("R4", name, [seconds(words, here) for _ in range(1 + ROUNDS)][1:], "<=", 2)
        yield Figure.over("R4", "review-photos", [until_answered(here) for _ in range(1 + ROUNDS)][1:], "<=", 2)


def seconds(words: tuple[str, ...], here: Path) -> float:
    """That a command line takes; of one that then reads the photos themselves, which are not there, its table."""
    program = [str(ROOT / words[0]) if words[0].startswith("tools/") else words[0], *words[1:]]
    began = time.perf_counter()
    if words != TOOLS["pack-pairs"]:
        subprocess.run([sys.executable, *program], cwd=here, check=True, capture_output=True)
        return time.perf_counter() - began
    with subprocess.Popen(
        [sys.executable, "-u", *program], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as packing:
        assert packing.stdout is not None
        next(line for line in packing.stdout if line.startswith("would be packed"))
        taken = time.perf_counter() - began
        packing.kill()
    return taken


def until_answered(here: Path) -> float:
    """Seconds from the start of the review page's program to its first list of photos."""
    began = time.perf_counter()
    program = [sys.executable, str(ROOT / "tools/review_photos.py"), "photos.db", "--port", "0"]
    with subprocess.Popen(program, cwd=here, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        try:
            link = next(found[0] for line in page.stdout if (found := LINK.search(line)))
            with httpx.Client(follow_redirects=True) as browser:
                browser.get(link).raise_for_status()
                answer = browser.get(f"{link.partition('/?')[0]}/api/photos").raise_for_status()
            taken = time.perf_counter() - began
        finally:
            page.kill()  # or the end of the block waits for ever
    assert len(answer.json()["keys"]) > 0
    return taken
