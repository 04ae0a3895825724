"""Is the photo neither night-dark nor washed out?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen

SIDE = 64  # pixels a side to which the photo is brought
DARK, BRIGHT = 40.0, 210.0


@dataclass(frozen=True)
class Exposure(Filter):
    """Rejects photos that are, as a whole, too dark or too bright.

    Of 919 real photos of landscapes and towns (scenes, landscapes, exif_gps) the default levels reject ten as too dark,
    six nights and deep shadows, three woods and a canyon, and one as too bright. Nights with lit streets are kept: ask
    for the sun.
    """

    name: ClassVar[str] = "exposure"

    darkest: float = DARK
    """The least mean of grey levels, 0 to 255."""
    brightest: float = BRIGHT
    """The greatest."""

    def check(self) -> None:
        """See `Filter`."""
        if not 0 <= self.darkest < self.brightest <= 255:
            raise UserError(
                f"--darkest is {self.darkest:g} and --brightest {self.brightest:g}; give grey levels from 0 to 255, "
                "the darkest first"
            )

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the mean grey level (ITU-R 601), 0 to 255."""
        grey = seen.image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        mean = float(np.asarray(grey, np.float64).mean())
        reason = "too dark" if mean < self.darkest else "too bright" if mean > self.brightest else ""
        return Opinion(not reason, round(mean, 1), reason)
