"""Where a set of shards goes: a directory, or a URL of any kind that fsspec writes to.

A set behind a URL is made on this machine, checked, and sent file by file, its manifest last: until that is there,
nobody takes what lies there for a set, and a transfer that was cut off is repeated.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.data.address import as_directory, is_remote, join, redact
from waterscape.data.manifest import FILE
from waterscape.errors import UserError
from waterscape.sources.parallel import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from waterscape.sources.making_command import Way

SHARDS = (".tar", ".index.npy")  # what their files' names end with
SHARED = "name a folder that all machines share, --scratch FOLDER"


def deliver(out: str, way: Way, work: Callable[[Path], int]) -> int:
    """Have `work` make a set in a directory; where `out` is a URL, a whole one is sent there, and kept nowhere else.

    Returns the exit code of `work`. A dry run sends and removes nothing.

    Raises:
        UserError: a set stands there already, nothing can be written there, or what was made is not whole.
    """
    if not is_remote(out):
        return work(as_directory(out, "packing"))
    if way.scratch is None and (way.part is not None or way.join):
        raise UserError(f"{redact(out)} is made in parts: {SHARED}")
    there = There(out, replace=way.replace)
    name = out.partition("?")[0].rstrip("/").rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="waterscape-") as temporary:
        local = (way.scratch or Path(temporary)) / name
        joined = way.join and (local / FILE).is_file() and not local.with_name(f"{name}.parts").exists()
        if way.dry_run:
            if joined:
                print(f"{local} stands joined, and would be sent to {there.name}")
            return 0 if joined else work(local)
        code = 0 if joined else work(local)  # joined before, and not sent
        if code == 0 and (local / FILE).is_file():
            there.send(local)
            shutil.rmtree(local)
    return code


def working_place(out: str, way: Way) -> Path:
    """Where jobs that make the set in parts may keep what is theirs: beside it. Raises `UserError`."""
    if not is_remote(out):
        return as_directory(out, "packing").with_suffix(".jobs")
    if way.scratch is None:
        raise UserError(f"{redact(out)} is made in parts: {SHARED}")
    return way.scratch / "jobs"


def check_whole(local: Path, otherwise: str) -> None:
    """Raise `UserError` where a set is not whole, which tells what that comes to."""
    from waterscape.data.doctor import check

    report = check(local)
    if report.findings:
        raise UserError(f"{local} is not whole ({report.findings[0]}): {otherwise}")


def _manifest_last(local: Path) -> list[Path]:
    return sorted((path for path in local.iterdir() if path.is_file()), key=lambda path: (path.name == FILE, path))


class There:
    """A set's place behind a URL."""

    def __init__(self, url: str, *, replace: bool) -> None:
        import fsspec

        self.url, self.name = url, redact(url)
        try:
            self.system: Any
            self.system, self.folder = fsspec.core.url_to_fs(url)
            self._stood = [str(name) for name in self._listed()]
        except (OSError, ValueError, ImportError) as error:
            raise UserError(f"{self.name} cannot be written to ({redact(str(error))})") from error
        if any(name.endswith(f"/{FILE}") for name in self._stood) and not replace:
            raise UserError(f"{self.name} exists: choose another --out, or say that it may be replaced")

    def send(self, local: Path) -> None:
        """Check the set and copy it there, the manifest last; what stood there before is removed."""
        check_whole(local, f"nothing was sent to {self.name}")
        files = _manifest_last(local)
        with self._told("sending"):
            for name in self._stood:  # the old manifest first: a set half replaced must not look like one
                if name.endswith(f"/{FILE}"):
                    self.system.rm_file(name)
            self._put_all(files)
            self._remove(keep=[path.name for path in files])

    def bring(self, local: Path, wanted: Callable[[str], bool]) -> None:
        """Copy the files that lie there, if wanted by their names, into a new directory."""
        local.mkdir(parents=True)
        with self._told("fetching"):
            files = [name for name in self._stood if wanted(name.rpartition("/")[2]) and self.system.isfile(name)]
            for name in progress(files, len(files), f"fetching {self.name}", "file"):
                self.system.get_file(name, str(local / name.rpartition("/")[2]))

    def exchange(self, local: Path, same: Collection[str], ours: Callable[[str], bool]) -> None:
        """Send the files of a directory but those that are the `same` there, the manifest last; others are removed.

        Files beside the shards go before the new manifest comes: under the old one, the next call knows them again.
        Shards go after it, and only those whose names are `ours`.
        """
        files = _manifest_last(local)
        kept = {path.name for path in files}
        with self._told("sending"):
            others = [name for name in self._stood if name.rpartition("/")[2] not in kept and self.system.isfile(name)]
            self._drop([name for name in others if not name.endswith(SHARDS)])
            self._put_all([path for path in files if path.name not in same])
            shards = [name for name in others if name.endswith(SHARDS)]
            self._drop([name for name in shards if ours(name.rpartition("/")[2])])
            for name in shards:
                if not ours(name.rpartition("/")[2]):
                    print(f"{self.name}: {name} is none of this set's files, and stays", file=sys.stderr)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self.system.rm_file(name)
            print(f"{self.name}: {name} removed", file=sys.stderr)

    def _put_all(self, files: Sequence[Path]) -> None:
        for path in progress(files, len(files), f"sending to {self.name}", "file"):
            self._put(path)
        print(f"{self.name}: {len(files)} files sent", file=sys.stderr)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:
            raise UserError(f"{self.name}: {doing} failed ({redact(str(error))}); the same command again") from error

    def _put(self, path: Path) -> None:
        """One file, whose length is asked for afterwards."""
        to = join(self.folder, path.name)
        self.system.makedirs(self.folder, exist_ok=True)
        self.system.put_file(str(path), to)
        arrived = self.system.size(to)
        if arrived != path.stat().st_size:
            raise OSError(f"{path.name}: {arrived} of {path.stat().st_size} bytes arrived")

    def _remove(self, keep: Sequence[str]) -> None:
        """Files of a set that stood there before."""
        for name in self._stood:
            if name.rpartition("/")[2] not in keep and name.endswith(SHARDS):
                self.system.rm_file(name)

    def _listed(self) -> list[str]:
        self.system.invalidate_cache()
        try:
            return list(self.system.ls(self.folder, detail=False))
        except FileNotFoundError:
            return []
