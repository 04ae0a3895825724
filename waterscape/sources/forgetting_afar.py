"""Somebody leaves a set of shards behind a URL: a copy of it is made here and left, and what changed is sent back.

Shards that changed get names that stood for nothing before, and the manifest is replaced only when all of them have
arrived: whoever reads finds the old set or the new one. Shards that no manifest names any more are removed last, so a
call that was killed is ended by the same call again, whatever it has torn. The copy lies where the next call for that
URL looks for it first.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from waterscape.data.address import is_http, redact
from waterscape.data.manifest import Manifest
from waterscape.data.without import drop_copies
from waterscape.errors import UserError
from waterscape.sources.destination import ANEW, SHARDS, There, check_whole, files_of
from waterscape.sources.own_folder import own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Afar:
    """A set behind a URL, and its copy on this machine."""

    url: str
    directory: Path
    there: There
    before: Manifest
    """Of the set that stood there."""
    torn: frozenset[str]
    """Names of files there that are not what they are in the copy, since an earlier transfer was cut off."""

    @classmethod
    @contextmanager
    def brought(cls, url: str) -> Iterator[Afar]:
        """Copy a set to where only this user can read it, every byte of it verified; the copy is removed at the end.

        Raises:
            UserError: the URL can only be read, or holds no whole set.
        """
        if is_http(url):
            raise UserError(f"{redact(url)} can only be read by this address: name the one that it is written to")
        there = There(url, replace=True)
        before = there.manifest()
        named = {f"{shard.name}{ending}" for shard in before.shards for ending in SHARDS}
        with own_folder(url, "forget") as folder:
            directory = folder / url.partition("?")[0].rstrip("/").rpartition("/")[2]
            torn = there.bring(directory, lambda name: name in named or not name.endswith(SHARDS))
            if before.shards:  # else everybody has left it
                check_whole(directory, f"{there.name} was not changed")
            yield cls(url, directory, there, before, frozenset(torn))

    def send(self) -> None:
        """Have the set afar become what its copy is now. Raises `UserError` where sending fails."""
        left = Manifest.load(self.directory)
        known = {shard.name: shard.sha256 for shard in self.before.shards}
        shards = []
        for shard in left.shards:
            name = shard.name
            if known.get(name) != shard.sha256:
                name = f"{re.sub(rf'{ANEW}$', '', name)}-without-{len(left.facts['forgotten'])}"
                for ending in SHARDS:
                    (self.directory / f"{shard.name}{ending}").rename(self.directory / f"{name}{ending}")
            shards.append(replace(shard, name=name))
        if left.sha256 != self.before.sha256:
            left = replace(left, shards=tuple(shards), _bytes=None)
            left.save(self.directory)
            if shards:
                check_whole(self.directory, f"nothing was sent to {self.there.name}")
            same = {f"{name}{ending}" for name in known for ending in SHARDS}
        else:
            same = {path.name for path in self.directory.iterdir()}
        ours = files_of([self.before, *self.there.replaced()], self.before.name)
        try:
            self.there.exchange(self.directory, same - self.torn, ours)
        finally:  # a run may have read shards of the old set until now, and cached them again
            stay = {shard.sha256 for shard in left.shards}
            for shard in self.before.shards:
                if shard.sha256 not in stay:
                    drop_copies(shard)
