"""A tar that passes by, its records held against an index one after another: which of them are damaged, and where."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterscape.data.index import column_names
from waterscape.data.shard import BLOCK, crc32
from waterscape.data.shard_check import MOST_TOLD, Finding


class RecordSums:
    """What `fetch` writes a tar to that nobody wants to keep: the crc32 of each record is taken, and nothing kept.

    Args:
        file: what the tar is called in findings.
        index: of the tar, known to be the right one.
    """

    def __init__(self, file: str, index: NDArray[np.void]) -> None:
        self.name, self.index = file, index
        self.columns = column_names(index)
        parts = [(index[name], np.flatnonzero(index[name]["size"] >= 0), at) for at, name in enumerate(self.columns)]
        start = np.concatenate([entries["offset"][rows] for entries, rows, _ in parts])
        size = np.concatenate([entries["size"][rows] for entries, rows, _ in parts])
        order = np.argsort(start, kind="stable")
        self._start, self._end = start[order], (start + BLOCK + size + -size % BLOCK)[order]
        self._wanted = np.concatenate([entries["crc32"][rows] for entries, rows, _ in parts])[order]
        self._row = np.concatenate([rows for _, rows, _ in parts])[order]
        self._column = np.concatenate([np.full(len(rows), at) for _, rows, at in parts])[order]
        self._before: list[Finding] = []
        self._begin()

    def _begin(self) -> None:
        self.bytes = self._met = self._crc = self._untold = 0
        self._found: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """The damaged records of what came last; beyond `MOST_TOLD` they are counted only."""
        if not self.bytes:
            return self._before
        more = [Finding(self.name, f"and {self._untold} more damaged records")] if self._untold else []
        return self._found + more

    def lacking(self) -> Finding | None:
        """The first record that did not come, or not whole; None where all have come."""
        if self._met == len(self._end):
            return None
        return self._finding(self._met, f"its record is not there: {self.bytes} bytes of the tar came")

    def write(self, piece: bytes | memoryview) -> int:
        """Take in what follows."""
        rest = memoryview(piece)
        while len(rest) and self._met < len(self._end):
            start, end = int(self._start[self._met]), int(self._end[self._met])
            part = rest[: max((end if self.bytes >= start else start) - self.bytes, 0)]
            if self.bytes >= start:
                self._crc = crc32(part, self._crc)
            self.bytes += len(part)
            rest = rest[len(part) :]
            if self.bytes >= end:  # beyond it where a false index lets records overlap
                self._judge()
        self.bytes += len(rest)
        return len(piece)

    def _judge(self) -> None:
        wanted = int(self._wanted[self._met])
        if self._crc != wanted and len(self._found) < MOST_TOLD:
            what = f"crc32 {self._crc:08x} instead of {wanted:08x}: damaged"
            self._found.append(self._finding(self._met, what))
        elif self._crc != wanted:
            self._untold += 1
        self._met, self._crc = self._met + 1, 0

    def read(self, _count: int) -> bytes:
        """Nothing is kept, so that there is nothing to begin with."""
        return b""

    def seek(self, _place: int) -> None:
        """To the beginning, before `truncate`."""

    def truncate(self) -> None:
        """Begin again; what was found so far counts until something comes."""
        self._before = self.findings
        self._begin()

    def _finding(self, number: int, what: str) -> Finding:
        key = self.index["key"][self._row[number]].decode("latin-1")
        return Finding(self.name, what, key, self.columns[self._column[number]], int(self._start[number]))
