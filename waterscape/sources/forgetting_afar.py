"""Somebody leaves a set of shards behind a URL: a copy of it is made here and left, and what changed is sent back.

Shards that changed get names that stood for nothing before, and the manifest is replaced only when all of them have
arrived: whoever reads finds the old set or the new one. What no manifest names any more is removed last, so a call that
was killed is ended by the same call again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from waterscape.data.address import is_http, redact
from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.sources.destination import There, check_whole

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = ("tar", "index.npy")
ANEW = re.compile(r"-without-\d+")  # behind a shard's name, once somebody has left it


@dataclass(frozen=True)
class Afar:
    """A set behind a URL, and its copy on this machine."""

    url: str
    directory: Path
    there: There
    before: Manifest
    """Of the set that stood there."""

    @classmethod
    def bring(cls, url: str, folder: Path) -> Afar:
        """Copy a set into a folder, every byte of it verified.

        Raises:
            UserError: the URL can only be read, or holds no whole set.
        """
        if is_http(url):
            raise UserError(f"{redact(url)} can only be read by this address: name the one that it is written to")
        before, there = Manifest.load(url), There(url, replace=True)
        directory = folder / url.partition("?")[0].rstrip("/").rpartition("/")[2]
        named = {f"{shard.name}.{ending}" for shard in before.shards for ending in ENDINGS}
        there.bring(directory, lambda name: name in named or not name.endswith(ENDINGS))
        check_whole(directory, f"{there.name} was not changed")
        return cls(url, directory, there, before)

    def send(self) -> None:
        """Have the set afar become what its copy is now. Raises `UserError` where sending fails."""
        left = Manifest.load(self.directory)
        known = {shard.name: shard.sha256 for shard in self.before.shards}
        shards = []
        for shard in left.shards:
            name = shard.name
            if known.get(name) != shard.sha256:
                name = f"{ANEW.sub('', name)}-without-{len(left.facts['forgotten'])}"
                for ending in ENDINGS:
                    (self.directory / f"{shard.name}.{ending}").rename(self.directory / f"{name}.{ending}")
            shards.append(replace(shard, name=name))
        if left.sha256 != self.before.sha256:
            left = replace(left, shards=tuple(shards), _bytes=None)
            left.save(self.directory)
            check_whole(self.directory, f"nothing was sent to {self.there.name}")
            same = {f"{name}.{ending}" for name in known for ending in ENDINGS}
        else:
            same = {path.name for path in self.directory.iterdir()}
        self.there.exchange(self.directory, same)
