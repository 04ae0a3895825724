"""Who may fill a ledger just now: one program that does all of it, or one for each part."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def claimed(ledger: Path, work: str, part: tuple[int, int] | None = None) -> Iterator[None]:
    """Have a work on a ledger (`photos`, `satellite`) for this program alone, or part I of N of it beside other parts.

    Without a part, as a run of all or a join, no part is at work meanwhile. It ends with the program at the latest.
    Raises `UserError` where another program has it, `OSError` where nothing can be written beside the ledger.
    """
    from waterscape.data.pack import lock

    locks = [(f".{ledger.name}.{work}.lock", part is not None)]
    if part is not None:
        locks.append((f".{ledger.name}.{work}-{part[0]:04d}-of-{part[1]:04d}.lock", False))
    with ExitStack() as stack:
        for name, shared in locks:
            try:
                handle = lock(ledger.with_name(name), os.O_CREAT | os.O_RDWR, "", shared=shared)
            except UserError as error:
                whose = f"part {part[0]}/{part[1]}, or all parts" if part else "all, or a part"
                raise UserError(f"{ledger}: another program is fetching {work} ({whose}): wait for it") from error
            stack.callback(os.close, handle)
        yield
