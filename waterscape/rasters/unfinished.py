"""A result that grows part by part beside the place where it will stand, and which a killed program goes on with.

`.water.tif.unfinished/` beside `water.tif` holds `command.json` (what makes the result), `files.json` (the files that
it ends in), `probability.raw` (float32, row by row) and `ledger` (the number of each part that is durably there, a line
each). It is removed at the end.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from waterscape.durable import Lines, sync, write_text
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from waterscape.sources.landsat.raster_file import Window

FILES = "files.json"
BYTES = np.dtype("<f4").itemsize


def beside(out: Path) -> Path:
    """The directory in which a result grows."""
    return out.with_name(f".{out.name}.unfinished")


def begun(out: Path) -> set[Path]:
    """The files that unfinished work beside `out` is to end in, and which may stand there already, being its own."""
    try:
        return {Path(name) for name in json.loads((beside(out) / FILES).read_text())}
    except (OSError, ValueError):
        return set()


class Unfinished:
    """The probabilities of a raster, and which of its parts are done.

    Args:
        out: the result's file.
        command: all that its content depends on, as JSON has it.
        shape: height and width of the raster.
        parts: in which it is computed.
        anew: begin anew where another command's unfinished work is there.

    Raises:
        UserError: another command left its work unfinished here, or is at it.
    """

    def __init__(
        self, out: Path, command: Mapping[str, Any], shape: tuple[int, int], parts: Sequence[Window], *, anew: bool
    ) -> None:
        self.out, self.directory, self.parts, self.shape = out, beside(out), parts, shape
        self.raw = self.directory / "probability.raw"
        ledger = self.directory / "ledger"
        self.directory.mkdir(exist_ok=True)
        self._lock = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UserError(f"{out} is being written by another program: wait for it, or give another --out") from None
        if not self._same(command, out, anew=anew):
            ledger.unlink(missing_ok=True)
            write_text(self.directory / "command.json", json.dumps(command, indent=1) + "\n")
        text = ledger.read_text() if ledger.exists() else ""
        self.done = {int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")}
        self._kept = set(self.done)
        self._file = os.open(self.raw, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._file, shape[0] * shape[1] * BYTES)
        self._ledger = Lines(ledger)
        if text and not text.endswith("\n"):  # killed within a line
            self._ledger.write("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ledger.close()
        os.close(self._file)
        os.close(self._lock)

    def begin(self, files: Sequence[Path]) -> None:
        """Note the files that will be written, before any is: this command may replace them."""
        names = sorted({str(path.resolve()) for path in files} | {str(path) for path in begun(self.out)})
        write_text(self.directory / FILES, json.dumps(names, indent=1) + "\n")

    def store(self, number: int, probability: NDArray[np.float32]) -> None:
        """A part's probabilities (H W). Parts may be stored by several threads at once. Raises `OSError`."""
        row, column, height, width = self.parts[number]
        assert probability.shape == (height, width)
        lines = probability.astype("<f4", copy=False)
        across = self.shape[1]
        if width == across:
            lines = lines.reshape(1, -1)
        for at, line in enumerate(lines):
            _write(self._file, line.tobytes(), ((row + at) * across + column) * BYTES)

    def keep(self) -> None:
        """Force what is done to disk, and note it. Raises `OSError`."""
        new = sorted(self.done - self._kept)
        if new:
            os.fdatasync(self._file)
            self._ledger.write("".join(f"{number}\n" for number in new))
            self._ledger.sync()
            self._kept.update(new)

    def rows(self, row: int, height: int) -> NDArray[np.float32]:
        """Probabilities of whole rows (H W)."""
        count = height * self.shape[1]
        return np.fromfile(self.raw, "<f4", count, offset=row * self.shape[1] * BYTES).reshape(height, -1)

    def remove(self) -> None:
        """The result is in its place: nothing of this is needed any more."""
        shutil.rmtree(self.directory)

    def _same(self, command: Mapping[str, Any], out: Path, *, anew: bool) -> bool:
        """Whether the work that is there is that of this command. Raises `UserError` for another's."""
        path = self.directory / "command.json"
        if not path.exists():
            return False
        try:
            there = json.loads(path.read_text())
        except ValueError:
            return False
        other = sorted(name for name in {*there, *command} if there.get(name) != command.get(name))
        if other and not anew:
            os.close(self._lock)
            raise UserError(
                f"{self.directory} holds unfinished work of a command with another {' and '.join(other)}: "
                f"finish that, or say --overwrite to begin {out.name} anew"
            )
        return not other


def publish(made: Path, final: Path) -> None:
    """Give a whole file its final name, durably."""
    sync(made)
    made.replace(final)
    sync(final.parent)


def _write(file: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written
