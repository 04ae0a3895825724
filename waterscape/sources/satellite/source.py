"""What a source of satellite tiles is: a question that all of them answer, and the three ways of not answering it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

METRES_IN_DEGREE = 111_320.0  # of the equator
EQUATOR_METRES = 156_543.03392
"""Metres per pixel of a web map at zoom 0 on the equator: 2π · 6 378 137 / 256."""


@dataclass(frozen=True)
class SatelliteTile:
    """A tile as it is stored: the bytes of a PNG or JPEG, north up, whose middle is the place."""

    content: bytes
    suffix: str
    """`.jpg` or `.png`."""
    width: int
    """Pixels."""
    height: int
    metres_per_pixel: float
    facts: dict[str, Any] = field(default_factory=dict)
    """How it was made; addresses without secrets."""

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Demand:
    """What tiles take, as far as one can say before."""

    at_once: int
    per_second: float
    """Requests, at most."""
    seconds: tuple[float, float]
    """That a request may take: assumed, nobody states it."""
    megabytes: float
    """A usual tile: assumed."""
    notes: tuple[str, ...] = ()
    """Quotas, costs and terms, in the words to show."""

    def duration(self, tiles: int) -> tuple[float, float]:
        """Seconds for so many tiles: if all goes well, and if all is slow."""
        low, high = (max(tiles * each / self.at_once, tiles / self.per_second) for each in self.seconds)
        return low, high


class TileSource(Protocol):
    """Where satellite tiles come from. Entered, it is connected; safe to use from many threads then."""

    @property
    def name(self) -> str:
        """As the ledger calls it: `yandex`, `earthengine:sentinel-2`, `mosaic:NAME`."""

    @property
    def licence(self) -> str:
        """Of its tiles: what goes with each of them."""

    @property
    def plan(self) -> Mapping[str, Any]:
        """The options that make its tiles what they are: those of one set must agree. Plain JSON."""

    @property
    def finest_metres(self) -> float:
        """Metres per pixel, nowhere less: places nearer than half of it have one tile."""

    @property
    def demand(self) -> Demand:
        """What its tiles take."""

    def tile_at(self, latitude: float, longitude: float) -> SatelliteTile:
        """The tile whose middle is a place in degrees.

        Raises:
            NoTileError: there is none, and asking again brings none.
            UnansweredError: no answer came; another time there may be one.
            DeniedError: nobody would be answered with these credentials.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


NO_PICTURE, OTHER_SIZE, NO_IMAGERY, REFUSED, OUTSIDE, NO_DATA, CLOUDED, NO_ZONE = REASONS = (
    "the answer is no picture",
    "a picture of another size",
    "no imagery there",
    "refused by the source",
    "outside of the mosaic",
    "no data in the mosaic",
    "not seen without clouds",
    "outside of UTM",
)


class NoTileError(UserError):
    """A place that this source has no tile of: one of `REASONS`, and what it is about this one."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class UnansweredError(UserError):
    """No answer came within the attempts."""


class DeniedError(UserError):
    """Who asks is not known, or may not: no other request would fare better."""


def metres_per_pixel(latitude: float, zoom: int) -> float:
    """Of a web map's tile at a latitude: 156543.03392 · cos φ / 2^z.

    Yandex draws on the ellipsoid (EPSG:3395), where the true figure is up to 0.34 % larger.
    """
    return EQUATOR_METRES * math.cos(math.radians(latitude)) / (1 << zoom)


def decimals(finest_metres: float) -> int:
    """Decimals of degrees to which places are rounded, so that a tile moves by half a pixel at most."""
    return max(0, math.ceil(math.log10(METRES_IN_DEGREE / finest_metres)))
