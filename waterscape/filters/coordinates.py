"""Is the photo's place known, and within the area that is wanted?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from waterscape.filters.filter import Filter, Opinion, check_unchanged
from waterscape.sources.area import read_area

if TYPE_CHECKING:
    from pathlib import Path

    from waterscape.filters.seen import Seen


@dataclass(frozen=True)
class Coordinates(Filter):
    """Rejects photos without possible coordinates, with 0, 0 (as broken phones write), and outside an area."""

    name: ClassVar[str] = "coordinates"

    area: Path | None = None
    """GeoJSON; left out: anywhere."""

    def check(self) -> None:
        """See `Filter`."""
        if self.area is not None:
            _shape(self.area, self.hashes["area"])

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`."""
        latitude, longitude = seen.photo.latitude, seen.photo.longitude
        if latitude is None or longitude is None:
            return Opinion(False, reason="no coordinates")
        if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
            return Opinion(False, reason="impossible coordinates")
        if latitude == longitude == 0:
            return Opinion(False, reason="coordinates 0, 0")
        if self.area is not None and not self._covers(self.area, latitude, longitude):
            return Opinion(False, reason="outside the area")
        return Opinion(True)

    def _covers(self, area: Path, latitude: float, longitude: float) -> bool:
        import shapely

        return bool(shapely.intersects_xy(_shape(area, self.hashes["area"]), longitude, latitude))


def is_placed(seen: Seen) -> bool:
    """Whether the photo has possible coordinates."""
    return Coordinates().judge(seen).keep


@cache
def _shape(area: Path, sha256: str) -> Any:
    """The shape in a file of that hash; each process reads it once. Raises `UserError`."""
    import shapely

    shape = read_area(area).shape
    check_unchanged(area, sha256)
    shapely.prepare(shape)
    return shape
