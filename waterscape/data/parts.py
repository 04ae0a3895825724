"""A set of shards packed in parts: by processes on any machines that share a directory, in any order, then joined.

A part writes whole shards of the set: those that one process alone would write, byte for byte, so the joined set does
not depend on the number of parts. What every part must know before it can tell its shards from the others' (which
samples are kept, in which split) is computed in *stages*: a list of items is cut into as many chunks as there are
parts; each part does its own chunk and publishes the results, then those chunks that nobody has published yet. So no
part waits for another, one part alone gets everything done, and parts that run side by side share the work.

    NAME.parts/plan.json                     what is packed, and how: all parts must agree
    NAME.parts/survey-0003.json              results of a stage: its third chunk
    NAME.parts/shards/NAME-train-000007.tar  a whole shard, its .index.npy, and at last its .json, with the checksums
    NAME.parts/part-0003.lock, .part-0003/   held by the living process of part 3; what is not yet whole

Everything is written in the part's own directory, forced to disk, and takes its name by a rename. A part that is
started again makes only what does not stand yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from waterscape.data.manifest import Shard
from waterscape.data.npy import load_npy
from waterscape.data.pack import Kind, SetWriter, kind_of, lock, name_of
from waterscape.data.shard import ShardWriter, Value
from waterscape.durable import sync
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

FORMAT = 1
PLAN = "plan.json"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Planned:
    """A shard to be written: its name, and the numbers, over the whole set, of the samples that make it up."""

    name: str
    split: str
    numbers: tuple[int, ...]


def plan_shards(name: str, splits: Sequence[str], samples_per_shard: int) -> list[Planned]:
    """The shards into which `SetWriter` would put samples, given the split of each; in the order of their names."""
    shards = []
    for split in sorted(set(splits)):
        numbers = [number for number, of in enumerate(splits) if of == split]
        for count, start in enumerate(range(0, len(numbers), samples_per_shard)):
            part = tuple(numbers[start : start + samples_per_shard])
            shards.append(Planned(f"{name}-{split}-{count:06d}", split, part))
    return shards


@dataclass(frozen=True)
class Record:
    """A shard that stands: what the manifest will say of it, the kinds of value in its columns, a note a sample."""

    shard: Shard
    kinds: dict[str, list[Kind]]
    notes: list[Any]


class Parts:
    """What the parts of a set have done so far.

    Args:
        out: the set to be.
        plan: what is packed, and how, as JSON: its sources, its options. Two parts with unlike plans never mix.
        count: of parts; None: as was begun.

    Raises:
        UserError: parts were begun with another plan or count; or none were, and `count` is None.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], count: int | None = None) -> None:
        self.out = out
        self.name = name_of(out)
        self.directory = out.absolute().with_name(f"{self.name}.parts")
        self.shards = self.directory / "shards"
        begun = _load(self.directory / PLAN)
        if count is None and begun is None:
            stands = f"; {out} stands already" if out.exists() else ""
            raise UserError(f"there are no parts of {out} to join: run --part 1/N and so on first{stands}")
        self.count: int = int(begun["parts"]) if begun is not None and count is None else count or 1
        self.plan: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, "parts": self.count, **plan}))
        self.digest = hashlib.sha256(json.dumps(self.plan, sort_keys=True).encode()).hexdigest()
        if begun is not None and begun != self.plan:
            told = "; ".join(_differences(begun, self.plan))
            raise UserError(f"{self.directory} was begun otherwise ({told}): do as then, or remove that directory")

    def chunk(self, stage: str, number: int) -> list[dict[str, Any]] | None:
        """The results of one chunk (0 …) of a stage; None where it has not been done."""
        found = self._read(self._chunk(stage, number))
        return None if found is None else list(found["results"])

    def record(self, name: str) -> Record | None:
        """What is known of a shard that stands; None: it does not."""
        found = self._read(self.shards / f"{name}.json")
        if found is None:
            return None
        kinds = {
            column: [None if kind is None else (kind[0], tuple(kind[1])) for kind in known]
            for column, known in found["kinds"].items()
        }
        return Record(Shard(**found["shard"]), kinds, found["notes"])

    def collect(self, stage: str, items: Sequence[Any]) -> list[dict[str, Any]]:
        """The results of a whole stage. Raises `UserError`, naming the parts, where some have not been done."""
        chunks = [self.chunk(stage, number) for number in range(self.count)]
        self._complain([number for number, chunk in enumerate(chunks) if chunk is None])
        results = [result for chunk in chunks if chunk is not None for result in chunk]
        if len(results) != len(items):
            raise UserError(f"{self.directory}: {len(results)} results of {stage} for {len(items)} items; begin again")
        return results

    def records(self, planned: Sequence[Planned]) -> list[Record]:
        """What is known of all shards, each of which was planned so. Raises `UserError`, naming the parts that lack."""
        found = [self.record(shard.name) for shard in planned]
        self._complain([number for number, record in enumerate(found) if record is None])
        records = [record for record in found if record is not None]
        for shard, record in zip(planned, records, strict=True):
            told = record.shard
            if (told.name, told.split, told.samples) != (shard.name, shard.split, len(shard.numbers)):
                raise UserError(f"{self.shards / told.name}.json tells of another shard: remove it, repeat its part")
        return records

    def adopt(self, writer: SetWriter, planned: Sequence[Planned]) -> list[Record]:
        """Put every shard, checked, under the set's own directory; returns what is known of them."""
        records = self.records(planned)
        for shard, record in zip(planned, records, strict=True):
            writer.adopt(record.shard, self.shards, record.kinds)
            keys = load_npy(writer.directory / f"{shard.name}.index.npy")["key"]
            if keys.tolist() != [key(number).encode() for number in shard.numbers]:
                raise UserError(f"{self.shards / shard.name}.tar holds other samples than planned: remove its .json")
        return records

    def remove(self) -> None:
        """Remove the parts, once joined."""
        gone = self.directory.with_name(f".{self.directory.name}.joined")
        shutil.rmtree(gone, ignore_errors=True)
        self.directory.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _complain(self, lacking: Sequence[int]) -> None:
        parts = sorted({number % self.count + 1 for number in lacking})
        if parts:
            told = ", ".join(f"{part}/{self.count}" for part in parts)
            raise UserError(f"{self.out}: not all parts are complete: run --part {told} again, then --join")

    def _chunk(self, stage: str, number: int) -> Path:
        return self.directory / f"{stage}-{number + 1:04d}.json"

    def _read(self, path: Path) -> dict[str, Any] | None:
        found = _load(path)
        if found is not None and found.get("plan") != self.digest:
            raise UserError(f"{path} is of another plan: remove {self.directory} and begin again")
        return found


class Part(Parts):
    """One part at work; a context manager.

    Raises:
        UserError: as `Parts`; or another living process is at this part.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], number: int, count: int) -> None:
        super().__init__(out, plan, count)
        self.number = number
        self._own = self.directory / f".part-{number:04d}"

    def __enter__(self) -> Self:
        self.shards.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"part-{self.number:04d}.lock"
        self._lock = lock(
            path, os.O_RDWR | os.O_CREAT, f"part {self.number}/{self.count} is at work in another process"
        )
        shutil.rmtree(self._own, ignore_errors=True)  # what a killed one left
        self._own.mkdir()
        if not (self.directory / PLAN).exists():
            self._publish(self.directory / PLAN, self.plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._own, ignore_errors=True)
        os.close(self._lock)

    def stage(
        self, name: str, items: Sequence[Item], work: Callable[[Sequence[Item]], Iterable[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """The results of all items, in order: computed by `work`, or found where another part has published them."""
        for turn in range(self.count):
            number = (self.number - 1 + turn) % self.count
            path = self._chunk(name, number)
            if path.exists():
                continue
            mine = items[number * len(items) // self.count : (number + 1) * len(items) // self.count]
            results = []
            for result in work(mine):
                results.append(result)
                if path.exists():  # another part was faster
                    break
            else:
                self._publish(path, {"plan": self.digest, "results": results})
        return self.collect(name, items)

    def planned(self, shards: Sequence[Planned]) -> Sequence[Planned]:
        """Those shards of the set that are this part's to write."""
        return shards[self.number - 1 :: self.count]

    def write(self, shard: Planned, samples: Iterator[tuple[Any, Mapping[str, Value]]]) -> None:
        """Write a shard of the next samples, each a note and its columns."""
        writer = ShardWriter(self._own, shard.name)
        kinds: dict[str, list[Kind]] = {}
        notes = []
        try:
            for number in shard.numbers:
                note, values = next(samples)
                writer.add(key(number), values)
                notes.append(note)
                for column, value in values.items():
                    known = kinds.setdefault(column, [])
                    if len(known) < 2 and kind_of(value) not in known:  # two tell already that they differ
                        known.append(kind_of(value))
            sha256, index_sha256 = writer.finish()
        finally:
            writer.close()
        for path in (writer.tar, writer.index):
            path.replace(self.shards / path.name)
        told = Shard(shard.name, shard.split, len(writer), writer.bytes, sha256, index_sha256)
        record = {"plan": self.digest, "shard": asdict(told), "kinds": kinds, "notes": notes}
        self._publish(self.shards / f"{shard.name}.json", record)

    def _publish(self, path: Path, content: Mapping[str, Any]) -> None:
        own = self._own / path.name
        own.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        sync(own)
        own.replace(path)
        sync(path.parent)


def key(number: int) -> str:
    """The key of a sample, numbered over the whole set."""
    return f"{number:09d}"


def _load(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it, and repeat the parts") from error
    return found


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        one, other = then.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other)
        elif one != other:
            yield f"{name} was {one}, is {other}"
