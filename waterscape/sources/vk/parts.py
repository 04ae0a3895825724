"""A fetch shared out over parts: each has its own circles and its own ledger; a join puts the ledgers together.

A photo that two circles share belongs to the circle whose centre is nearest, so that no two parts fetch it. What no
part has fetched in the end (VK's radius is approximate) is fetched by the join.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger, Request
from waterscape.sources.vk import tally
from waterscape.sources.vk.cover import points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.vk.cover import Circle

NAME = re.compile(r"\.part-(\d{4})-of-(\d{4})\.db")


@dataclass(frozen=True)
class Part:
    """The circles of a part, among all."""

    number: int
    """From 1."""
    count: int
    circles: Sequence[Circle]

    @property
    def own(self) -> slice:
        """Which of the circles are its own: neighbours in the rows."""
        total = len(self.circles)
        return slice(total * (self.number - 1) // self.count, total * self.number // self.count)

    def path(self, ledger: Path) -> Path:
        """Of its ledger."""
        return ledger.with_name(f"{ledger.name}.part-{self.number:04d}-of-{self.count:04d}.db")

    def to_fetch(self, part: Ledger, whole: Ledger) -> list[str]:
        """Keys of the photos that it has found, whose circle is its own, and that stand in the whole ledger as new."""
        found = [photo for key in tally.keys(part, "found") if (photo := part.photo(key)) is not None]
        if not found:
            return []
        from scipy.spatial import cKDTree

        tree = cKDTree(points([circle.latitude for circle in self.circles], [c.longitude for c in self.circles]))
        _, nearest = tree.query(points([one.latitude for one in found], [one.longitude for one in found]))
        mine = range(*self.own.indices(len(self.circles)))
        wanted = [one.key for one, circle in zip(found, nearest, strict=True) if int(circle) in mine]
        return [key for key in wanted if (known := whole.photo(key)) is None or known.state == "found"]


def complete(ledger: Ledger, plan: str) -> None:
    """Note that a part has done all that it had to do."""
    ledger.answered(Request(f"part complete: {plan}", ""))


def parts_of(ledger: Path) -> list[Path]:
    """The ledgers of all parts. Raises `UserError`, naming those that are not there."""
    found = {}
    for path in sorted(ledger.parent.glob(f"{ledger.name}.part-*.db")):
        match = NAME.fullmatch(path.name.removeprefix(ledger.name))
        if match:
            found[int(match[1]), int(match[2])] = path
    counts = {count for _, count in found}
    if len(counts) != 1:
        told = f"of {', '.join(map(str, sorted(counts)))} parts: remove those of the others" if counts else "none"
        raise UserError(f"{ledger}: there are ledgers {told}; run --part 1/N and so on first")
    count = counts.pop()
    lacking = [f"{number}/{count}" for number in range(1, count + 1) if (number, count) not in found]
    if lacking:
        raise UserError(f"{ledger}: not all parts have begun: run --part {', '.join(lacking)}, then --join")
    return [found[number, count] for number in range(1, count + 1)]


def join(whole: Ledger, paths: Sequence[Path], plan: str, photos: Path) -> None:
    """Put the ledgers of parts together, and remove the files of people who were forgotten meanwhile.

    Raises `UserError` where a part is not complete, or was another fetch's.
    """
    lacking = []
    for path in paths:
        with Ledger(path) as part:
            if part.identity != whole.identity:
                raise UserError(
                    f"{path} is no part of {whole.path}: remove it, or name the ledger that it is a part of"
                )
            if part.request(f"part complete: {plan}") is None:
                match = NAME.search(path.name)
                lacking.append(f"{int(match[1])}/{int(match[2])}" if match else path.name)
    if lacking:
        raise UserError(f"{whole.path}: not all parts are complete: run --part {', '.join(lacking)} again, then --join")
    for path in paths:
        with Ledger(path) as part:
            whole.merge(part)
            for key in tally.keys(part, "fetched"):
                if whole.photo(key) is None:
                    (photos / f"{key}.jpg").unlink(missing_ok=True)
