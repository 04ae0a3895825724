"""How a set of shards is made from its sources, at once or in parts (see `data.parts`): the same bytes either way.

Every item is read twice: once to judge it and to learn where it belongs, since a split needs to know all; once to write
it. What an origin of samples has to say is the protocol `Origin`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from waterscape.data.manifest import Manifest
from waterscape.data.npy import load_npy
from waterscape.data.pack import SetWriter, check_target
from waterscape.data.parts import Part, Parts, Planned, Record, plan_shards
from waterscape.data.shard import BLOCK, decode
from waterscape.errors import UserError
from waterscape.sources.parallel import Workers, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from waterscape.data.shard import Value
    from waterscape.sources.parallel import Each

SHOWN = 12  # pictures in a row of a contact sheet


class Kept(Protocol):
    """An item that becomes a sample."""

    @property
    def split(self) -> str:
        """Where it goes."""


Item = TypeVar("Item", bound=Kept)
Told = TypeVar("Told", covariant=True)


class Judged(Protocol[Item, Told]):
    """What the first reading of all items came to."""

    @property
    def kept(self) -> Sequence[Item]:
        """In the order of writing."""

    @property
    def threads(self) -> int | None:
        """Up to how many threads make the samples, rather than processes; None: any number (see `Workers.in_order`)."""

    def sampler(self) -> Callable[[Item], tuple[int, dict[str, Value]]]:
        """Makes a kept item's class (by its number; −1: none) and columns, in any process."""

    def facts(self, classes: Sequence[int]) -> dict[str, Any]:
        """All that the manifest says of the set, given the class of each kept item; free of paths of this machine."""

    def illustrate(self, directory: Path, facts: Mapping[str, Any], pictures: Mapping[int, Sequence[Value]]) -> None:
        """Write what a person looks at into the set's directory, given the first kept pictures of each class."""

    def summarise(self, manifest: Manifest) -> Told:
        """What came in and where it went. Raises `RuntimeError` where the sums do not agree."""


class Origin(Protocol[Item, Told]):
    """Where samples come from, and how they are to be packed: the options are known to be sound."""

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""

    @property
    def shown(self) -> str:
        """The column that a contact sheet shows."""

    @property
    def unit(self) -> str:
        """What one item is called."""

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree: the files with their sizes, the options, and the libraries."""

    def judge(self, each: Each) -> Judged[Item, Told]:
        """Read all items, and sort out which to keep, and for which split. Raises `UserError`."""


@dataclass(frozen=True)
class Done:
    """What a part has to its name."""

    shards: int
    """Of the set, that are this part's; all of them stand."""
    made: int
    """Of these, made now; the others stood."""
    tiles: int
    """Samples in all of its shards."""


def digest_of(paths: Mapping[str, Path]) -> str:
    """A sha256 over the names and sizes of files, by which a plan knows them again; what cannot be opened has none."""
    files = hashlib.sha256()
    for name, path in paths.items():
        try:
            size = path.stat().st_size
        except OSError:
            size = -1
        files.update(f"{name}\0{size}\0".encode())
    return files.hexdigest()


def pack(origin: Origin[Item, Told], out: Path, *, replace: bool = False, processes: int = 1) -> Told:
    """Make the set `out` at once.

    Raises:
        UserError: bad items or options, or none left; nothing new stands under `out` then.
    """
    unit = origin.unit
    with (
        SetWriter(out, facts={}, samples_per_shard=origin.samples_per_shard, replace=replace) as writer,
        Workers(processes) as workers,
    ):
        judged = origin.judge(_survey(workers, unit))
        pictures: defaultdict[int, list[Value]] = defaultdict(list)
        classes = []
        made = workers.in_order(judged.sampler(), judged.kept, threads=judged.threads)
        for item, (number, values) in zip(judged.kept, progress(made, len(judged.kept), "packing", unit), strict=True):
            writer.add(item.split, values)
            classes.append(number)
            if len(pictures[number]) < SHOWN:
                pictures[number].append(values[origin.shown])
        return _publish(writer, judged, judged.facts(classes), pictures)


def outlook(origin: Origin[Item, Told], *, processes: int = 1) -> str:
    """What would be packed, by a first reading of all items: counts, line by line. Raises `UserError`."""
    with Workers(processes) as workers:
        judged = origin.judge(_survey(workers, origin.unit))
    splits = Counter(item.split for item in judged.kept)
    dropped: Mapping[str, int] = judged.facts([-1] * len(judged.kept))["dropped"]
    lines = {f"{origin.unit}s dropped: {reason}": count for reason, count in dropped.items()}
    lines |= {f"would be packed, {split}": splits[split] for split in sorted(splits)}
    lines["would be packed"] = len(judged.kept)
    return "\n".join(f"{words:<56}{count:9,}" for words, count in lines.items())


def _survey(workers: Workers, unit: str) -> Each:
    def each(
        name: str, function: Callable[[Any], dict[str, Any]], items: Sequence[Any], /, *, threads: int | None = 0
    ) -> list[dict[str, Any]]:
        return list(progress(workers.in_order(function, items, threads=threads), len(items), name, unit))

    return each


def pack_part(
    origin: Origin[Item, Told], out: Path, *, part: int, parts: int, replace: bool = False, processes: int = 1
) -> Done:
    """Make part `part` (1 …) of `parts`, in the directory `NAME.parts` beside `out`, but for what stands there already.

    Raises:
        UserError: bad items or options, none left, or parts that were begun otherwise. What was whole stays.
    """
    check_target(out, replace=replace)
    unit = origin.unit
    with Part(out, origin.plan(), part, parts) as mine, Workers(processes) as workers:
        judged = origin.judge(
            lambda name, work, items, threads=0: mine.stage(
                name, items, lambda some: progress(workers.in_order(work, some, threads=threads), len(some), name, unit)
            )
        )
        planned = mine.planned(_planned(mine, judged, origin))
        missing = [shard for shard in planned if mine.record(shard.name) is None]
        items = [judged.kept[number] for shard in missing for number in shard.numbers]
        made = workers.in_order(judged.sampler(), items, threads=judged.threads)
        samples = progress(made, len(items), "packing", unit)
        for shard in missing:
            mine.write(shard, samples)
    return Done(len(planned), len(missing), sum(len(shard.numbers) for shard in planned))


def join(origin: Origin[Item, Told], out: Path, *, replace: bool = False) -> Told:
    """Make one set of all parts: every shard is checked whole and keeps its bytes. The parts are removed then.

    Raises:
        UserError: parts are lacking, were made otherwise, or are damaged; nothing new stands under `out` then.
    """
    parts = Parts(out, origin.plan())
    judged = origin.judge(lambda name, _, items, threads=0: parts.collect(name, items))  # noqa: ARG005
    planned = _planned(parts, judged, origin)
    records = parts.records(planned)
    classes = _classes(planned, records)
    facts = judged.facts(classes)
    if _joined(out, records, facts):  # and only then was the join ended
        told = judged.summarise(Manifest.load(out))
    else:
        with SetWriter(out, facts={}, samples_per_shard=origin.samples_per_shard, replace=replace) as writer:
            parts.adopt(writer, planned)
            pictures = _shown(writer.directory, planned, classes, origin.shown)
            told = _publish(writer, judged, facts, pictures)
    parts.remove()
    return told


def _publish(
    writer: SetWriter,
    judged: Judged[Item, Told],
    facts: Mapping[str, Any],
    pictures: Mapping[int, Sequence[Value]],
) -> Told:
    judged.illustrate(writer.directory, facts, pictures)
    return judged.summarise(writer.finish(**facts))


def _planned(parts: Parts, judged: Judged[Item, Told], origin: Origin[Item, Told]) -> list[Planned]:
    return plan_shards(parts.name, [item.split for item in judged.kept], origin.samples_per_shard)


def _joined(out: Path, records: Sequence[Record], facts: Mapping[str, Any]) -> bool:
    """Whether the set of just these shards stands under `out`."""
    try:
        manifest = Manifest.load(out)
    except (UserError, OSError):
        return False
    shards = tuple(record.shard for record in records)
    return manifest.shards == shards and manifest.facts == json.loads(json.dumps(facts))


def _classes(planned: Sequence[Planned], records: Sequence[Record]) -> list[int]:
    """The class of each kept item, in the order of writing."""
    of = {
        number: name
        for shard, record in zip(planned, records, strict=True)
        for number, name in zip(shard.numbers, record.notes, strict=True)
    }
    return [of[number] for number in range(len(of))]


def _shown(directory: Path, planned: Sequence[Planned], classes: Sequence[int], column: str) -> dict[int, list[Value]]:
    """The first pictures of each class, for the contact sheet, in the order of writing."""
    seen: defaultdict[int, list[int]] = defaultdict(list)
    for number, name in enumerate(classes):
        if len(seen[name]) < SHOWN:
            seen[name].append(number)
    wanted = {number for numbers in seen.values() for number in numbers}
    found: dict[int, Value] = {}
    for shard in planned:
        rows = [row for row, number in enumerate(shard.numbers) if number in wanted]
        index = load_npy(directory / f"{shard.name}.index.npy")[column]
        with (directory / f"{shard.name}.tar").open("rb") as tar:
            for row in rows:
                tar.seek(int(index[row]["offset"]) + BLOCK)
                found[shard.numbers[row]] = decode(column, tar.read(int(index[row]["size"])))
    return {name: [found[number] for number in numbers] for name, numbers in seen.items()}
