"""Was the photo taken in the months that are wanted, as the seasons go where it was taken?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from waterscape.errors import UserError
from waterscape.filters.coordinates import is_placed
from waterscape.filters.filter import Filter, Opinion

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen

SECONDS_A_DEGREE = 240.0  # of longitude: 24 hours around the Earth
NO_DATE, NO_PLACE = "no date", "no place to tell the season of"


@dataclass(frozen=True)
class Season(Filter):
    """Rejects photos of other months. South of the equator the months half a year later are meant."""

    name: ClassVar[str] = "season"

    months: tuple[int, ...] = tuple(range(1, 13))
    """1 to 12, as north of the equator."""

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the month, as north of the equator."""
        if seen.photo.taken is None:
            return Opinion(False, reason=NO_DATE)
        if not is_placed(seen):
            return Opinion(False, reason=NO_PLACE)
        assert seen.photo.latitude is not None
        assert seen.photo.longitude is not None
        month = local_month(seen.photo.taken, seen.photo.longitude)
        if month is None:
            return Opinion(False, reason=NO_DATE)
        northern = month if seen.photo.latitude >= 0 else (month + 5) % 12 + 1
        keep = northern in self.months
        return Opinion(keep, northern, "" if keep else "another season", {"month": month})


def local_month(taken: float, longitude: float) -> int | None:
    """The month (1 to 12) at a longitude by the sun's time; None where the date is of no calendar year."""
    if not math.isfinite(taken):
        return None
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=taken + SECONDS_A_DEGREE * longitude)).month
    except OverflowError:
        return None


def months_of(text: str) -> tuple[int, ...]:
    """Months as people write them: 5-9, or 11,12,1, or 11-2. Raises `UserError`."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = [int(word) if word.strip().isdecimal() else 0 for word in (first, last if dash else first)]
        if not all(1 <= month <= 12 for month in ends):
            raise UserError(f"--months {text}: give months from 1 to 12, such as 5-9 or 11,12,1")
        found.update((ends[0] - 1 + step) % 12 + 1 for step in range((ends[1] - ends[0]) % 12 + 1))
    return tuple(sorted(found))
