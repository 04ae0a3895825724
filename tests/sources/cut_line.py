"""A line to a store in memory that can be cut at any file."""

from __future__ import annotations

from pathlib import Path

import fsspec

MEMORY = fsspec.filesystem("memory")


class Line:
    """To the store: cut before the n-th file that is sent or removed, or, of one that `tears`, while it is sent."""

    def __init__(self, monkeypatch, *, tears=False):
        self.at, self.changes, self.tears = 0, [], tears
        for name in ("put_file", "rm_file"):
            monkeypatch.setattr(type(MEMORY), name, self.watched(name, getattr(type(MEMORY), name)))

    def watched(self, name, method):
        def change(system, path, *more, **options):
            self.changes.append((name, str(more[0] if more else path).rpartition("/")[2]))
            if len(self.changes) == self.at:
                if self.tears and name == "put_file":
                    content = Path(path).read_bytes()
                    system.pipe_file(more[0], content[: len(content) // 2])
                raise ConnectionError("the line was cut")
            return method(system, path, *more, **options)

        return change
