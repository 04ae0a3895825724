"""Packing water occurrence in parts (see `data.parts`): the joined set is the one that `pack` makes at once."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter, check_target
from waterscape.data.parts import Part, Parts, Planned, Record, plan_shards
from waterscape.data.shard import BLOCK, decode
from waterscape.errors import UserError
from waterscape.sources.occurrence_pack import (
    Judged,
    Labelling,
    Packing,
    facts_of,
    judge,
    publish,
    summarise,
    tiles_to_pack,
)
from waterscape.sources.occurrence_report import SHOWN, Contact, Summary
from waterscape.sources.parallel import Workers, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LIBRARIES = ("waterscape", "numpy", "scipy", "scikit-image", "rasterio", "pyproj")  # which a tile's bytes come from


@dataclass(frozen=True)
class Done:
    """What a part has to its name."""

    shards: int
    """Of the set, that are this part's; all of them stand."""
    made: int
    """Of these, made now; the others stood."""
    tiles: int
    """In all of its shards."""


def pack_part(
    sources: Sequence[Path],
    out: Path,
    labelling: Labelling,
    packing: Packing,
    *,
    part: int,
    parts: int,
    replace: bool = False,
    processes: int = 1,
) -> Done:
    """Pack part `part` (1 …) of `parts`, in the directory `NAME.parts` beside `out`, but for what stands there already.

    Raises:
        UserError: bad tiles or options, none left, or parts that were begun otherwise. What was whole stays.
    """
    check_target(out, replace=replace)
    paths = tiles_to_pack(sources, out, packing)
    plan = _plan(sources, paths, packing, labelling)
    with Part(out, plan, part, parts) as mine, Workers(processes) as workers:
        judged = judge(
            paths,
            packing,
            lambda name, work, items: mine.stage(
                name, items, lambda chunk: progress(workers.in_order(work, chunk), len(chunk), name)
            ),
        )
        planned = mine.planned(_planned(mine, judged, packing))
        missing = [shard for shard in planned if mine.record(shard.name) is None]
        tiles = [judged.kept[number] for shard in missing for number in shard.numbers]
        samples = progress(workers.in_order(judged.sampler(packing, labelling), tiles), len(tiles), "packing")
        for shard in missing:
            mine.write(shard, samples)
    return Done(len(planned), len(missing), sum(len(shard.numbers) for shard in planned))


def join(
    sources: Sequence[Path], out: Path, labelling: Labelling, packing: Packing, *, replace: bool = False
) -> Summary:
    """Make one set of all parts: every shard is checked whole and keeps its bytes. The parts are removed then.

    Raises:
        UserError: parts are lacking, were made otherwise, or are damaged; nothing new stands under `out` then.
    """
    paths = tiles_to_pack(sources, out, packing)
    parts = Parts(out, _plan(sources, paths, packing, labelling))
    judged = judge(paths, packing, lambda name, _, items: parts.collect(name, items))
    planned = _planned(parts, judged, packing)
    records = parts.records(planned)
    shapes = _shapes(planned, records)
    facts = facts_of(sources, judged, shapes, packing, labelling)
    if _joined(out, records, facts):  # and only then was the join ended
        summary = summarise(Manifest.load(out), judged, packing)
    else:
        with SetWriter(out, facts={}, samples_per_shard=packing.samples_per_shard, replace=replace) as writer:
            parts.adopt(writer, planned)
            contact = Contact()
            for number, occurrence in _shown(writer.directory, planned, shapes).items():
                contact.keep(labelling.classes[shapes[number]], occurrence)
            summary = publish(writer, facts, judged, contact, packing)
    parts.remove()
    return summary


def _plan(sources: Sequence[Path], paths: Mapping[str, Path], packing: Packing, labelling: Labelling) -> dict[str, Any]:
    """On what all parts must agree: the files with their sizes, the options, and the libraries."""
    files = hashlib.sha256()
    for name, path in paths.items():
        files.update(f"{name}\0{path.stat().st_size}\0".encode())
    return {
        "sources": [source.resolve().name for source in sources],
        "files": len(paths),
        "files_sha256": files.hexdigest(),
        "options": {**asdict(packing), "sizes": packing.stored_sizes()},
        "classes": labelling.classes,
        "body_columns": labelling.columns,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def _planned(parts: Parts, judged: Judged, packing: Packing) -> list[Planned]:
    return plan_shards(parts.name, [tile.split for tile in judged.kept], packing.samples_per_shard)


def _joined(out: Path, records: Sequence[Record], facts: Mapping[str, Any]) -> bool:
    """Whether the set of just these shards stands under `out`."""
    try:
        manifest = Manifest.load(out)
    except (UserError, OSError):
        return False
    shards = tuple(record.shard for record in records)
    return manifest.shards == shards and manifest.facts == json.loads(json.dumps(facts))


def _shapes(planned: Sequence[Planned], records: Sequence[Record]) -> list[int]:
    """The class of each kept tile, in the order of writing."""
    of = {
        number: shape
        for shard, record in zip(planned, records, strict=True)
        for number, shape in zip(shard.numbers, record.notes, strict=True)
    }
    return [of[number] for number in range(len(of))]


def _shown(directory: Path, planned: Sequence[Planned], shapes: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """The first tiles of each class, for the contact sheet: number → occurrence, in the order of writing."""
    seen: defaultdict[int, list[int]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        if len(seen[shape]) < SHOWN:
            seen[shape].append(number)
    wanted = {number for numbers in seen.values() for number in numbers}
    found = {}
    for shard in planned:
        rows = [row for row, number in enumerate(shard.numbers) if number in wanted]
        index = np.load(directory / f"{shard.name}.index.npy", allow_pickle=False)["occurrence.npy"]
        with (directory / f"{shard.name}.tar").open("rb") as tar:
            for row in rows:
                tar.seek(int(index[row]["offset"]) + BLOCK)
                value = decode("occurrence.npy", tar.read(int(index[row]["size"])))
                assert isinstance(value, np.ndarray)
                found[shard.numbers[row]] = value
    return dict(sorted(found.items()))
