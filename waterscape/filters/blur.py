"""Is the photo sharp anywhere?

The variance of the Laplacian (Pech-Pacheco 2000, doi:10.1109/ICPR.2000.903548), at a fixed size, of the sharpest of
4 × 4 parts: an empty sky or a calm lake does not make a sharp landscape look blurred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.filters.seen import Seen

SIDE = 256  # pixels of the longer side to which larger photos are brought
PARTS = 4
SHARP = 60.0


@dataclass(frozen=True)
class Blur(Filter):
    """Rejects blurred photos.

    The default: 45 real photos of 640 × 480 and more have 250 or more as they are, 17 at most when blurred by 1 % of
    their longer side; 874 of 150 × 150 have 168 or more, and blurred by 2 % 22 at most.
    """

    name: ClassVar[str] = "blur"

    least_variance: float = SHARP
    """Of the Laplacian of grey levels 0 to 255, in the sharpest part."""

    def check(self) -> None:
        """See `Filter`."""
        if not 0 <= self.least_variance < math.inf:
            raise UserError(f"--sharpness is {self.least_variance:g}; give 0 or more, such as {SHARP:g}")

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the variance."""
        variance = sharpness(seen.image)
        keep = variance >= self.least_variance
        return Opinion(keep, round(variance, 1), "" if keep else "blurred")


def sharpness(image: Image.Image) -> float:
    """The variance of the Laplacian of grey levels in the sharpest of the picture's parts."""
    scale = min(1.0, SIDE / max(image.size))
    width, height = (max(PARTS + 2, round(side * scale)) for side in image.size)
    small = image.convert("L").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    edges = laplacian(np.asarray(small, np.float64))
    rows = np.array_split(edges, PARTS)
    return max(float(part.var()) for row in rows for part in np.array_split(row, PARTS, axis=1))


def laplacian(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """H W → H − 2, W − 2: the sum of the four neighbours less four times each pixel."""
    around = grey[1:-1, 2:] + grey[1:-1, :-2] + grey[2:, 1:-1] + grey[:-2, 1:-1]
    inner: NDArray[np.float64] = around - 4 * grey[1:-1, 1:-1]
    return inner
