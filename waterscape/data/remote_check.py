"""Whether every byte of a set behind a URL is as its manifest says: streamed and summed, and nothing of it kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from waterscape.data.doctor import Report
from waterscape.data.manifest import Manifest, Shard
from waterscape.data.shard_check import Finding
from waterscape.data.store import Remote
from waterscape.errors import UserError

AT_ONCE = 4


def check_remote(url: str, *, threads: int | None = None, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Fetch every tar and index and hold their lengths and sha256 against the manifest.

    These sums stand for what the writer of the set wrote. What a hostile writer may have put into it is looked for by
    `doctor.check`, in a copy of the set.

    Args:
        url: of the set.
        threads: shards that are fetched at a time; None: four.
        advance: told the number of bytes; called by several threads.

    Raises:
        UserError: there is no set, or its manifest is damaged.
    """
    manifest = Manifest.load(url)
    store = Remote(url)

    def check_one(shard: Shard) -> Finding | None:
        try:
            store.sum(shard, advance)
        except UserError as error:
            return Finding(f"{shard.name}.tar", str(error))
        return None

    with ThreadPoolExecutor(threads or AT_ONCE) as pool:
        found = tuple(finding for finding in pool.map(check_one, manifest.shards) if finding)
    samples = sum(shard.samples for shard in manifest.shards)
    return Report(found, len(manifest.shards), samples, sum(shard.bytes for shard in manifest.shards))
