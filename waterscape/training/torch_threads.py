"""How many threads torch computes by, within a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """So many within the block, afterwards as many as before; None: as many as it takes.

    With one, sums round alike in every process, and nothing stands in the way of what works beside it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
