"""Whether every byte of a set behind a URL is as its manifest says: streamed and summed, and nothing of it kept."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast

from waterscape.data.address import join
from waterscape.data.doctor import Report
from waterscape.data.fetch import fetch
from waterscape.data.indexes import most_index_bytes
from waterscape.data.manifest import Manifest, Shard
from waterscape.data.record_sums import RecordSums
from waterscape.data.shard_check import Finding, as_index
from waterscape.data.transfer import Wanted
from waterscape.errors import UserError

AT_ONCE = 4


def check_remote(url: str, *, threads: int | None = None, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Fetch every tar and index, and hold their lengths and sha256 against the manifest, records against the index.

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
    halt = threading.Event()

    def check_one(shard: Shard) -> list[Finding]:
        npy, index = f"{shard.name}.index.npy", io.BytesIO()
        found, records = [], None
        try:
            most = most_index_bytes(shard, len(manifest.columns))
            fetch(Wanted(join(url, npy), most, sha256=shard.index_sha256), index, halt, advance=advance)
            records = RecordSums(f"{shard.name}.tar", as_index(index.getvalue()))
        except ValueError as error:  # or a `UserError`, which is one
            found.append(Finding(npy, str(error)))
        address = join(url, f"{shard.name}.tar")
        sink = cast("BinaryIO | None", records)
        try:
            fetch(Wanted(address, shard.bytes, shard.bytes, shard.sha256), sink, halt, advance=advance)
        except UserError as error:
            found.append(Finding(f"{shard.name}.tar", str(error)))
            if records and not (records.bytes or records.findings):  # nothing came: a server told another length before
                with contextlib.suppress(UserError):
                    fetch(Wanted(address, shard.bytes), sink, halt, idle_attempts=1)
            if records:
                cut = records.lacking() if 0 < records.bytes < shard.bytes else None
                found += [*records.findings, *([cut] if cut else [])]
        return found

    with ThreadPoolExecutor(threads or AT_ONCE) as pool:
        found = tuple(finding for findings in pool.map(check_one, manifest.shards) for finding in findings)
    samples = sum(shard.samples for shard in manifest.shards)
    return Report(found, len(manifest.shards), samples, sum(shard.bytes for shard in manifest.shards))
