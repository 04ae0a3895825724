"""Did the sun stand high enough when the photo was taken?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from waterscape.errors import UserError
from waterscape.filters.coordinates import is_placed
from waterscape.filters.filter import Filter, Opinion
from waterscape.filters.season import NO_DATE, local_month
from waterscape.filters.sun import altitude

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen


@dataclass(frozen=True)
class Daytime(Filter):
    """Rejects photos that were taken when the sun stood lower than so many degrees."""

    name: ClassVar[str] = "daytime"

    least_degrees: float = 5.0
    """Of the sun's middle above the horizon, as computed: no hills, no refraction."""

    def check(self) -> None:
        """See `Filter`."""
        if not -90 <= self.least_degrees < 90:
            raise UserError(f"--sun-above is {self.least_degrees:g}; give degrees above the horizon, such as 5")

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the sun's altitude in whole degrees, rounded down: a finer one tells the place."""
        photo = seen.photo
        if photo.taken is None:
            return Opinion(False, reason=NO_DATE)
        if not is_placed(seen):
            return Opinion(False, reason="no place to tell the sun of")
        assert photo.latitude is not None
        assert photo.longitude is not None
        if local_month(photo.taken, photo.longitude) is None:
            return Opinion(False, reason=NO_DATE)
        degrees = altitude(photo.latitude, photo.longitude, photo.taken)
        keep = degrees >= self.least_degrees
        return Opinion(keep, math.floor(degrees), "" if keep else "the sun too low")
