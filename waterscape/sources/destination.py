"""Where a set of shards goes: a directory, or a URL of any kind that fsspec writes to.

A set behind a URL is made on this machine, checked, and sent file by file, its manifest last: until that is there,
nobody takes what lies there for a set, and a transfer that was cut off is repeated. Where it was the manifest that was
torn, the same command again finds a set there, and has to say that it may be replaced.

Not every store replaces a file as a whole. When somebody leaves a set there, what takes the place of another file is
sent twice, first under a name that holds its sha256 (`next-SHA256-NAME`): where the second transfer is torn, the first
one is what the file was to be, and stays until that is there. When a whole set takes another one's place, the old
manifest (`old-SHA256-manifest.json`) stays until the shards that it names have gone.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.data.address import as_directory, is_remote, join, redact
from waterscape.data.manifest import FILE, NAME, Manifest
from waterscape.errors import UserError
from waterscape.sources.own_folder import own_folder
from waterscape.sources.parallel import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from waterscape.sources.making_command import Way

SHARDS = (".tar", ".index.npy")  # what their files' names end with
PACKED = r"-[^-]+-\d{6,}"  # behind a set's name, in the names of its shards
ANEW = r"-without-\d+"  # behind that, once somebody has left the shard
NEXT = re.compile(rf"next-([0-9a-f]{{64}})-({NAME.pattern})")
OLD = re.compile(rf"old-[0-9a-f]{{64}}-{re.escape(FILE)}")
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
    with ExitStack() as stack:
        if way.scratch is not None:
            local = way.scratch / name
        elif way.dry_run:
            local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waterscape-"))) / name
        else:
            local = stack.enter_context(own_folder(out, "pack")) / name
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


def files_of(manifests: Sequence[Manifest], name: str) -> Callable[[str], bool]:
    """Whether a file's name is a shard's of these, or of a set of that name, though no manifest names it any more."""
    known = {f"{shard.name}{ending}" for manifest in manifests for shard in manifest.shards for ending in SHARDS}
    packed = re.compile(rf"{re.escape(name)}{PACKED}({ANEW})?\.(tar|index\.npy)")
    return lambda file: file in known or packed.fullmatch(file) is not None


def _manifest_last(local: Path) -> list[Path]:
    return sorted((path for path in local.iterdir() if path.is_file()), key=lambda path: (path.name == FILE, path))


def _parsed(content: bytes) -> Manifest:
    """Raises `UserError` as `Manifest.load` does."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(content)
        return Manifest.load(folder)


def _next(path: Path) -> str:
    return f"next-{sha256(path.read_bytes()).hexdigest()}-{path.name}"


class There:
    """A set's place behind a URL."""

    def __init__(self, url: str, *, replace: bool) -> None:
        import fsspec

        self.url, self.name = url, redact(url)
        try:
            self.system: Any
            self.system, self.folder = fsspec.core.url_to_fs(url)
            self._stood = [str(name) for name in self._listed()]
            self._needed: frozenset[str] = frozenset()  # names of the only whole copies of files that are torn there
        except (OSError, ValueError, ImportError) as error:
            raise UserError(f"{self.name} cannot be written to ({redact(str(error))})") from error
        if any(name.endswith(f"/{FILE}") for name in self._stood) and not replace:
            raise UserError(f"{self.name} exists: choose another --out, or say that it may be replaced")

    def send(self, local: Path) -> None:
        """Check the set and copy it there, the manifest last; shards of the set that stood there are removed."""
        check_whole(local, f"nothing was sent to {self.name}")
        files, before, now = _manifest_last(local), self.replaced(), None
        with suppress(UserError):  # there is none, or nobody can read it
            now = self.manifest()
        with self._told("sending"):
            if now is not None:
                self._set_aside(now)
                before.append(now)
            for name in self._stood:  # the old manifest first: a set half replaced must not look like one
                if name.endswith(f"/{FILE}") or NEXT.fullmatch(name.rpartition("/")[2]):
                    self.system.rm_file(name)
            self._put_all(files)
            self._drop_shards({path.name for path in files}, files_of(before, Manifest.load(local).name))
            self._drop(self._old())

    def replaced(self) -> list[Manifest]:
        """Manifests of sets whose place another one takes: not all of their shards may have been removed."""
        found = []
        with self._told("fetching"):
            for path in self._old():
                with suppress(UserError):  # torn: its set stands
                    found.append(_parsed(self.system.cat_file(path)))
        return found

    def _old(self) -> list[str]:
        return [path for path in self._stood if OLD.fullmatch(path.rpartition("/")[2])]

    def _set_aside(self, manifest: Manifest) -> None:
        """Put the manifest that stands there, or its whole copy, where `replaced` finds it."""
        with tempfile.TemporaryDirectory() as folder:
            manifest.save(folder)
            path = Path(folder) / FILE
            name = f"old-{manifest.sha256}-{FILE}"
            self._put(path, name)
        if name not in {path.rpartition("/")[2] for path in self._old()}:
            self._stood.append(join(self.folder, name))

    def manifest(self) -> Manifest:
        """Of the set there; where its transfer was torn, the one that it was to be. Raises `UserError`."""
        try:
            return Manifest.load(self.url)
        except UserError:
            content = self.coming().get(FILE)
            if content is None:
                raise
            return _parsed(content)

    def coming(self) -> dict[str, bytes]:
        """What files were to become whose transfer may have been torn: whole, by their names."""
        found = {}
        with self._told("fetching"):
            for path in self._stood:
                if named := NEXT.fullmatch(path.rpartition("/")[2]):
                    content = self.system.cat_file(path)
                    if sha256(content).hexdigest() == named[1]:
                        found[named[2]] = content
        return found

    def bring(self, local: Path, wanted: Callable[[str], bool]) -> set[str]:
        """Copy the files that lie there, if wanted by their names, into a new directory.

        Returns the names of those that are torn there; in the directory they are what they were to be.

        Raises:
            UserError: fetching failed, or a file's name is not as plain as a shard's.
        """
        local.mkdir(parents=True)
        with self._told("fetching"):
            names = {path.rpartition("/")[2]: path for path in self._stood if self.system.isfile(path)}
            files = [name for name in names if wanted(name) and not NEXT.fullmatch(name) and not OLD.fullmatch(name)]
            for name in files:
                if not NAME.fullmatch(name):
                    raise UserError(f"{self.name} holds a file {name!r}: rename it there (letters, digits, '_-.')")
            for name in progress(files, len(files), f"fetching {self.name}", "file"):
                self.system.get_file(names[name], str(local / name))
        torn, needed = set(), set()
        for name, content in self.coming().items():
            path = local / name
            if not wanted(name) or (path.is_file() and path.read_bytes() == content):
                continue
            if name == FILE:
                with suppress(UserError):  # the old one is whole: what it names has not been removed
                    Manifest.load(local)
                    continue
            path.write_bytes(content)
            torn.add(name)
            needed.add(_next(path))
        self._needed = frozenset(needed)
        return torn

    def exchange(self, local: Path, same: Collection[str], ours: Callable[[str], bool]) -> None:
        """Send the files of a directory but those that are the `same` there, the manifest last; others are removed.

        Files beside the shards go before the new manifest comes: under the old one, the next call knows them again.
        Shards go after it, and only those whose names are `ours`. The only whole copy of a file that is torn
        there stays until that file has been sent.
        """
        files = _manifest_last(local)
        sent = [path for path in files if path.name not in same]
        named, going = {path.name for path in files}, {path.name for path in sent}
        copies = {name for name in self._needed if name.split("-", 2)[2] in going}
        with self._told("sending"):
            others = [path for path in self._others(named | copies) if not path.endswith(SHARDS)]
            others = [path for path in others if path not in self._old()]
            self._drop(sorted(others, key=lambda path: NEXT.fullmatch(path.rpartition("/")[2]) is not None))
            self._put_all(sent, copies)
            self._drop_shards(named, ours)
            self._drop(self._old())

    def _others(self, kept: Collection[str]) -> list[str]:
        return [path for path in self._stood if path.rpartition("/")[2] not in kept and self.system.isfile(path)]

    def _drop_shards(self, kept: Collection[str], ours: Callable[[str], bool]) -> None:
        """Those that stood there before and are `ours` by their names; others are named and stay."""
        shards = [path for path in self._others(kept) if path.endswith(SHARDS)]
        self._drop([path for path in shards if ours(path.rpartition("/")[2])])
        for path in shards:
            if not ours(path.rpartition("/")[2]):
                print(f"{self.name}: {path} is none of this set's files, and stays", file=sys.stderr)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self.system.rm_file(name)
            print(f"{self.name}: {name} removed", file=sys.stderr)

    def _put_all(self, files: Sequence[Path], copies: Collection[str] | None = None) -> None:
        """Where `copies` are given, what is no shard, and may take another file's place, goes under a next name first.

        The copies that are there are whole. Those of a file go when it has been sent, the one of what it was to be
        before: else that could be taken for what it is to be now.
        """
        for path in progress(files, len(files), f"sending to {self.name}", "file"):
            if copies is not None and not path.name.endswith(SHARDS):
                if (copy := _next(path)) not in copies:
                    self._put(path, copy)
                self._put(path, path.name)
                for name in [name for name in copies if name.split("-", 2)[2] == path.name and name != copy]:
                    self.system.rm_file(join(self.folder, name))
                self.system.rm_file(join(self.folder, copy))
            else:
                self._put(path, path.name)
        print(f"{self.name}: {len(files)} files sent", file=sys.stderr)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, NotImplementedError) as error:
            raise UserError(f"{self.name}: {doing} failed ({redact(str(error))}); the same command again") from error

    def _put(self, path: Path, name: str) -> None:
        """One file, whose length is asked for afterwards."""
        to = join(self.folder, name)
        self.system.makedirs(self.folder, exist_ok=True)
        self.system.put_file(str(path), to)
        arrived = self.system.size(to)
        if arrived != path.stat().st_size:
            raise OSError(f"{path.name}: {arrived} of {path.stat().st_size} bytes arrived")

    def _listed(self) -> list[str]:
        self.system.invalidate_cache()
        try:
            return list(self.system.ls(self.folder, detail=False))
        except FileNotFoundError:
            return []
