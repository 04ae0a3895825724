"""The pixels that a network was trained on: their coordinate system, their size and where they begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyproj import CRS
from pyproj.exceptions import CRSError

from waterscape.errors import UserError

METRES_PER_DEGREE = 111319.49079327358
"""Earth Engine's nominal metres in a degree: of the equator of WGS 84."""


@dataclass(frozen=True)
class Pixels:
    """A lattice of pixels, north up: what a compiled network is pinned to.

    Earth Engine computes at whatever scale is asked for, so a network would see other neighbours at each zoom. The
    lattice is written as a whole transform: by a scale alone, rows would count from the south.

    Attributes:
        crs: coordinate system, as `EPSG:32718`.
        metres: side of a pixel; the lattice then begins at the system's origin. In degrees for a system in degrees,
            as Earth Engine turns metres into degrees.
        transform: instead of `metres`: (width, 0, left, 0, −height, top) in the system's units, as rasterio has it.

    Raises:
        UserError: an unknown system, one that is neither in metres nor in degrees, a lattice that is rotated or south
            up, or not one of `metres` and `transform`.
    """

    crs: str
    metres: float | None = None
    transform: Sequence[float] | None = field(default=None)

    def __post_init__(self) -> None:
        try:
            system = CRS(self.crs)
        except CRSError as error:
            raise UserError(f"{self.crs!r} is no coordinate system: give one as EPSG:32718") from error
        if (self.metres is None) == (self.transform is None):
            raise UserError("pixels are given by metres or by a transform: give one of them")
        if self.metres is not None:
            if self.metres <= 0:
                raise UserError(f"pixels of {self.metres} metres: give a side above 0")
            if not system.is_geographic and any(axis.unit_conversion_factor != 1 for axis in system.axis_info):
                raise UserError(f"{self.crs} is neither in metres nor in degrees: give the pixels' transform")
            side = self.metres / METRES_PER_DEGREE if system.is_geographic else float(self.metres)
            object.__setattr__(self, "transform", (side, 0.0, 0.0, 0.0, -side, 0.0))
        else:
            self._check([float(number) for number in tuple(self.transform or ())[:6]])

    def _check(self, transform: list[float]) -> None:
        if len(transform) != 6:
            raise UserError("a transform has six numbers: width, 0, left, 0, −height, top")
        if transform[1] or transform[3]:
            raise UserError("the training pixels are rotated: warp them to a north-up lattice first")
        if transform[0] <= 0 or transform[4] >= 0:
            raise UserError("the training pixels are south up: a transform is width, 0, left, 0, −height, top")
        object.__setattr__(self, "transform", tuple(transform))

    @property
    def lattice(self) -> tuple[float, ...]:
        """The transform."""
        assert self.transform is not None
        return tuple(self.transform)
