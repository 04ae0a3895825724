"""What rows are measured in: a folder on the checkout's own disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = Path(__file__).parent.parent / ".bench"
"""Peers' environments, every turn that was taken, pictures; and scratch."""


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder on the disk that holds the checkout, not in memory; gone afterwards."""
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as directory:
        yield Path(directory)
