"""A corrected set: the tiles of another one, in the same shards under the same keys, with another label."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from waterscape.data.manifest import Shard
from waterscape.data.pack import SetWriter, kind_of
from waterscape.data.shard import ShardWriter
from waterscape.labels.labelled_set import LABEL, LabelledSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from waterscape.data.manifest import Manifest
    from waterscape.data.pack import Kind
    from waterscape.data.shard import Value

GIVEN = "given.npy"
"""The label as it was before."""


def write_corrected(
    tiles: LabelledSet, labels: Sequence[NDArray[Any]], writer: SetWriter, facts: Mapping[str, Any]
) -> Manifest:
    """Write every shard again with `labels` (in the order of the tiles) for `water.npy`, and what was there beside it.

    All other columns keep their values, and their bytes where this program wrote them.
    """
    corrected, number = iter(labels), 0
    for shard in tiles.manifest.shards:
        name = shard.name.removeprefix(f"{tiles.manifest.name}-")
        samples = _samples(tiles, range(number, number + shard.samples), corrected)
        number += shard.samples
        _write_shard(writer, f"{writer.name}-{name}", shard.split, samples)
    return writer.finish(**facts)


def _samples(
    tiles: LabelledSet, numbers: Sequence[int], labels: Iterator[NDArray[Any]]
) -> Iterator[tuple[str, dict[str, Value]]]:
    for number in numbers:
        values = tiles.read(number)
        yield tiles.key(number), {**values, GIVEN: values[LABEL], LABEL: next(labels)}


def _write_shard(writer: SetWriter, name: str, split: str, samples: Iterator[tuple[str, dict[str, Value]]]) -> None:
    aside = writer.directory / "aside"
    aside.mkdir()
    shard = ShardWriter(aside, name)
    kinds: dict[str, set[Kind]] = {}
    try:
        for key, values in samples:
            shard.add(key, values)
            for column, value in values.items():
                kinds.setdefault(column, set()).add(kind_of(value))
        sha256, index_sha256 = shard.finish()
    finally:
        shard.close()
    writer.adopt(Shard(name, split, len(shard), shard.bytes, sha256, index_sha256), aside, kinds)
    shutil.rmtree(aside)
