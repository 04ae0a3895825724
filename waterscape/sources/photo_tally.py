"""Where every picture went: kept in a class and split, or dropped for a reason; no file is passed over uncounted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waterscape.sources.occurrence_survey import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waterscape.data.manifest import Manifest

LIST = "dropped.tsv"


@dataclass(frozen=True)
class Dropped:
    """A picture that is not used."""

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Tally:
    """What came in and was dropped."""

    came_in: int
    dropped: Sequence[Dropped]

    def reasons(self) -> dict[str, int]:
        """Reason → pictures, the most frequent first."""
        counted = Counter(one.reason for one in self.dropped)
        return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))

    def lines(self) -> str:
        """Each dropped picture on a line: reason, name, detail, parted by tabs."""
        ordered = sorted(self.dropped, key=lambda one: (one.reason, one.name))
        rows = ("\t".join(plain(word) for word in (one.reason, one.name, one.detail)) for one in ordered)
        return "".join(f"{row}\n" for row in ("reason\tname\tdetail", *rows))

    def told(self, most: int = 3) -> str:
        """The reasons with some of their pictures, on one line."""
        words = []
        for reason, count in self.reasons().items():
            some = [one.name for one in self.dropped if one.reason == reason][:most]
            words.append(f"{count} {reason}, such as {', '.join(map(plain, some))}")
        return "; ".join(words) or "none came in"


def plain(text: str) -> str:
    """Without what would break a line of a table, or could not be written as UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    whole = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return whole.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Summary:
    """What came in and where it went."""

    unit: str
    manifest: Manifest
    notes: Sequence[str] = ()
    units: Mapping[str, int] = field(default_factory=dict)
    """What else came in, and its fate: line by line."""

    @property
    def came_in(self) -> int:
        """Pictures that were looked at."""
        return int(self.manifest.facts["read"])

    @property
    def dropped(self) -> dict[str, int]:
        """Reason → pictures."""
        return dict(self.manifest.facts["dropped"])

    @property
    def classes(self) -> dict[str, dict[str, int]]:
        """Split → class → samples; the class is "" where there are none."""
        return dict(self.manifest.facts["kept"])

    @property
    def kept(self) -> int:
        """Samples that stand in the shards."""
        return sum(shard.samples for shard in self.manifest.shards)

    def check(self) -> None:
        """Raise `RuntimeError` unless every picture that came in was dropped or written, and all sums agree."""
        counted = {split: sum(counts.values()) for split, counts in self.classes.items()}
        written = dict.fromkeys(SPLITS, 0)
        for shard in self.manifest.shards:
            written[shard.split] += shard.samples
        stored = sum(self.manifest.facts["stored"].values())
        if counted != written or self.came_in != self.kept + sum(self.dropped.values()) or stored < self.kept:
            raise RuntimeError(f"sums differ: {self.came_in} in, {self.dropped} dropped, {counted} or {written} kept")

    def table(self) -> str:
        """The counts as text."""

        def line(name: str, count: int, of: int) -> str:
            return f"{name:<40}{count:8d}  {100 * count / max(of, 1):5.1f} %"

        facts = self.manifest.facts
        lines = [line(f"{self.unit}s read", self.came_in, self.came_in)]
        lines += [line(f"  {reason}", count, self.came_in) for reason, count in self.dropped.items()]
        lines += [line("kept", self.kept, self.came_in)]
        lines += [f"{name:<40}{count:8d}" for name, count in self.units.items()]
        lines += ["", *(f"{'stored: ' + way:<40}{count:8d}" for way, count in facts["stored"].items()), ""]
        lines += [f"{'class':<40}" + "".join(f"{split:>8}" for split in (*SPLITS, "all"))]
        names = dict.fromkeys(name for counts in self.classes.values() for name in counts)
        rows = {f"  {name}": [self.classes[split].get(name, 0) for split in SPLITS] for name in names if name}
        rows["all"] = [sum(self.classes[split].values()) for split in SPLITS]
        lines += [f"{name:<40}" + "".join(f"{count:8d}" for count in (*row, sum(row))) for name, row in rows.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def kept_by_split(splits: Sequence[str], classes: Sequence[int], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Split → class → samples, of each sample's split and class (−1: none, told as "")."""
    counted = Counter(zip(splits, classes, strict=True))
    numbers = dict(enumerate(names))
    if not names or any(number < 0 for number in classes):
        numbers[-1] = "unlabelled" if names else ""
    return {split: {name: counted[split, at] for at, name in numbers.items()} for split in SPLITS}


def ways_stored(done: Sequence[Sequence[str]]) -> dict[str, int]:
    """How pictures are stored → how many, the most frequent first; a picture to which two things are done counts twice.

    `done`: what `Photo.told` says of each.
    """
    counted: Counter[str] = Counter(way for ways in done for way in ways)
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def empty_splits(kept: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Notes on splits and classes of splits that got nothing."""
    told = []
    for split, counts in kept.items():
        lacking = [name for name, count in counts.items() if count == 0 and name not in ("", "unlabelled")]
        if not sum(counts.values()):
            told.append(f"{split} got nothing")
        elif lacking:
            told.append(f"{split} has nothing of {', '.join(lacking)}")
    return told
