"""Results of long work, each on disk when it is done: what was killed goes on where it was."""

from __future__ import annotations

import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from waterscape.data.pack import lock
from waterscape.durable import write_bytes, write_text
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

PLAN = "plan.json"
Arrays = dict[str, "NDArray[Any]"]


class Kept:
    """A directory of results beside the set to be, of one plan; a context manager that lets one process in.

    Raises:
        UserError: the results there are of another plan, or another process is at work.
    """

    def __init__(self, directory: Path, plan: Mapping[str, Any]) -> None:
        self.directory = directory
        self._plan = json.dumps(plan, indent=1, sort_keys=True) + "\n"

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        busy = f"{self.directory} is in use by another process"
        self._lock = lock(self.directory / "lock", os.O_RDWR | os.O_CREAT, busy)
        path = self.directory / PLAN
        if not path.exists():
            write_text(path, self._plan)
        then, now = json.loads(path.read_text()), json.loads(self._plan)
        other = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if other:
            os.close(self._lock)
            told = ", ".join(f"{name} was {then.get(name)}, is {now.get(name)}" for name in other)
            raise UserError(f"{self.directory} was begun otherwise ({told}): remove it, or choose another --out")
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._lock)

    def remove(self) -> None:
        """Forget all results: what they were for is done."""
        shutil.rmtree(self.directory, ignore_errors=True)


def keep(path: Path, arrays: Arrays, facts: Mapping[str, Any] | None = None) -> None:
    """Write a result, whole or not at all: arrays by name, and plain JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = np.frombuffer(json.dumps(facts or {}).encode(), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, facts=told, **arrays)  # type: ignore[arg-type]  # the stub takes the names for flags
    write_bytes(path, content.getvalue())


def kept(path: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """A result's arrays and facts; None where it is not there yet."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    facts: dict[str, Any] = json.loads(arrays.pop("facts").tobytes())
    return arrays, facts
