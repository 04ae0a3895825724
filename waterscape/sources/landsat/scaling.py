"""How the numbers of a file become reflectances, once: as stated, as the file says, or by what the numbers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.sources.landsat.bands import OFFSET, SCALE
from waterscape.sources.landsat.layers import SceneError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALREADY, NO_REFLECTANCE, PICTURE = "already reflectance", "no reflectances", "a picture of bytes"
HARMONIZED = (1e-4, 0.0)  # HLS (Claverie 2018) and MODIS store reflectance × 10 000


@dataclass(frozen=True)
class Scaling:
    """Reflectance = number · scale + offset."""

    scale: float
    offset: float
    how: str
    """From where that is known."""

    def plausible(self, numbers: NDArray[np.float64]) -> bool:
        """Whether such numbers would be reflectances: some dark, as some band is over any ground, few above 1."""
        low, middle, high = np.percentile(numbers, (2, 50, 98)) * self.scale + self.offset
        return bool(-0.1 < low < 0.5 and -0.05 < middle < 1.2 and high < 2 and high - low > 1e-3)

    def told(self) -> str:
        """As words."""
        return f"{self.how}: number × {self.scale:g} {'−' if self.offset < 0 else '+'} {abs(self.offset):g}"


AS_IT_IS = Scaling(1.0, 0.0, "reflectance as it is")
LANDSAT = Scaling(SCALE, OFFSET, "Landsat Collection 2, Level 2")


def scaling_of(
    path: Path,
    numbers: NDArray[np.float64],
    *,
    dtype: str,
    told: tuple[float, float] = (1.0, 0.0),
    scale: float | None = None,
    offset: float | None = None,
) -> Scaling:
    """The scaling of a file, given some of its numbers, without nodata.

    What is stated goes before what the file tells (GDAL's scale and offset); else whole numbers are those of Landsat
    Collection 2, Level 2, and others are reflectances already.

    Raises:
        SceneError: the file holds reflectances already although a scale is stated, or its numbers would not be
            reflectances.
    """
    fractions = not np.issubdtype(np.dtype(dtype), np.integer) and bool((numbers != np.round(numbers)).any())
    is_reflectance = fractions and AS_IT_IS.plausible(numbers)
    if scale is not None or offset is not None:
        stated = Scaling(1.0 if scale is None else scale, offset or 0.0, "as stated")
        if is_reflectance and (stated.scale, stated.offset) != (1, 0):
            raise SceneError(path, ALREADY, "leave --scale and --offset out, or say --scale 1 --offset 0")
        return _checked(path, numbers, stated)
    if told != (1.0, 0.0):
        return _checked(path, numbers, Scaling(*told, "as the file says"))
    if is_reflectance:
        return AS_IT_IS
    if np.dtype(dtype).itemsize == 1:
        raise SceneError(path, PICTURE, "8-bit numbers are made to look at: export reflectances, or say --scale")
    return _checked(path, numbers, LANDSAT)


def _checked(path: Path, numbers: NDArray[np.float64], scaling: Scaling) -> Scaling:
    if scaling.plausible(numbers):
        return scaling
    middle = float(np.median(numbers))
    here = f"its numbers, about {middle:g}, would be {middle * scaling.scale + scaling.offset:.3g} ({scaling.how})"
    others = [other for other in (Scaling(*HARMONIZED, ""), LANDSAT, AS_IT_IS) if other.plausible(numbers)]
    hint = f"--scale {others[0].scale:g} --offset {others[0].offset:g}" if others else "--scale and --offset of its own"
    raise SceneError(path, NO_REFLECTANCE, f"{here}: say {hint}")
