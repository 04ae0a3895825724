"""A source of satellite tiles by the word that names it on a command line."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from waterscape.errors import UserError
from waterscape.options import comma_separated
from waterscape.sources.earthengine import MOST_AT_ONCE
from waterscape.sources.earthengine import MOST_PER_SECOND as EARTH_ENGINE_MOST
from waterscape.sources.satellite.chip import IMAGERY, Satellite, Seasons
from waterscape.sources.satellite.earthengine import EarthEngine
from waterscape.sources.satellite.mosaic import MosaicFile
from waterscape.sources.satellite.source import EQUATOR_METRES
from waterscape.sources.satellite.yandex import MOST_ZOOM, Yandex

if TYPE_CHECKING:
    from waterscape.sources.satellite.source import TileSource
    from waterscape.sources.web import Limits

YANDEX, EARTH_ENGINE = SERVICES = ("yandex", "earthengine")
MOST_AT_ONCE_ELSEWHERE = 16
FEW_ATTEMPTS, MOST_WAITED_SECONDS = 3, 50.0
"""At a tile that somebody waits for, and for all of them together: whoever comes next waits as long."""


@dataclass(frozen=True)
class Choices:
    """What tiles are like; each source has its own."""

    size: Annotated[tuple[int, ...], comma_separated(int, "WIDTH,HEIGHT")] = (450, 450)
    """Of a tile in pixels. Yandex: 650,450 at most."""
    zoom: int | None = None
    """yandex: of the web map, 0 to 21; 15 where left out. A pixel is 156543.03392 · cos(latitude) / 2^zoom metres."""
    collection: Satellite | None = None
    """earthengine: whose pictures; sentinel-2 (10 m) where left out. Landsat's pixels are of 30 m."""
    years: str | None = None
    """earthengine: of which the median is taken, 2020-2024 where left out."""
    months: str | None = None
    """earthengine: the season, as in 6-8 or 12-2. Left out: summer, by the half of the Earth."""
    reflectance: Annotated[tuple[float, ...], comma_separated(float, "LOW,HIGH")] = ()
    """earthengine: reflectances that become 0 and 255; 0,0.3 where left out."""
    project: str | None = None
    """earthengine: Google Cloud project that the work is counted to; or set GOOGLE_CLOUD_PROJECT."""
    metres_per_pixel: float | None = None
    """earthengine, mosaic: another scale than their own."""
    at_once: int | None = None
    """Requests at a time: 2 of Yandex, 10 of Earth Engine."""
    per_second: float | None = None
    """Requests in a second at most: 5 of Yandex, 100 of Earth Engine. Parts (--part) share it."""


USUAL_CHOICES = Choices()
OWN = {
    "zoom": (YANDEX,),
    **dict.fromkeys(("collection", "years", "months", "reflectance", "project"), (EARTH_ENGINE,)),
    "metres_per_pixel": (EARTH_ENGINE, "a mosaic"),
    "per_second": (YANDEX, EARTH_ENGINE),
}


def source_of(word: str, choices: Choices = USUAL_CHOICES, *, parts: int = 1) -> TileSource:
    """The source that `yandex`, `earthengine` or a GeoTIFF's path names; not entered yet. Raises `UserError`.

    `parts`: as many programs share what may be asked in a second.
    """
    kind = word if word in (YANDEX, EARTH_ENGINE) else "a mosaic"
    for name, kinds in OWN.items():
        if getattr(choices, name) not in (None, ()) and kind not in kinds:
            raise UserError(f"--{name.replace('_', '-')} is for --source {' or '.join(kinds)}, and this is {kind}")
    if len(choices.size) != 2:
        raise UserError("--size wants two numbers, as in 450,450")
    size = (choices.size[0], choices.size[1])
    if kind == YANDEX:
        yandex = Yandex(15 if choices.zoom is None else choices.zoom, size)
        yandex.limits = _limits(yandex.limits, choices, MOST_AT_ONCE_ELSEWHERE, 100.0, parts)
        return yandex
    if kind == EARTH_ENGINE:
        return _earth_engine(choices, size, parts)
    if "/" not in word and not Path(word).suffix and not Path(word).exists():
        raise UserError(f"--source {word}: give {YANDEX}, {EARTH_ENGINE} or a GeoTIFF")
    at_once = 2 if choices.at_once is None else choices.at_once
    if not 1 <= at_once <= MOST_AT_ONCE_ELSEWHERE:
        raise UserError(f"--at-once {at_once}: give 1 to {MOST_AT_ONCE_ELSEWHERE}")
    return MosaicFile(Path(word), size, choices.metres_per_pixel, at_once)


def source_at_scale(
    word: str, size: tuple[int, int], metres_per_pixel: float, latitude: float, *, waited_for: bool = False
) -> TileSource:
    """One of `SERVICES`, whose tiles are nearest to a scale: exactly so from Earth Engine. Raises `UserError`.

    `waited_for`: somebody sits before it, who hears after a few attempts that no answer came.
    """
    if word == EARTH_ENGINE:
        source = source_of(word, Choices(size=size, metres_per_pixel=metres_per_pixel))
    else:
        across = max(EQUATOR_METRES * math.cos(math.radians(latitude)), 1e-6)
        zoom = round(math.log2(across / metres_per_pixel))
        source = source_of(word, Choices(size=size, zoom=min(max(zoom, 0), MOST_ZOOM)))
    if waited_for and isinstance(source, EarthEngine | Yandex):
        source.limits = dataclasses.replace(source.limits, attempts=FEW_ATTEMPTS, total_seconds=MOST_WAITED_SECONDS)
    return source


def _earth_engine(choices: Choices, size: tuple[int, int], parts: int) -> EarthEngine:
    satellite = choices.collection or "sentinel-2"
    low_and_high = choices.reflectance or (0.0, 0.3)
    if len(low_and_high) != 2:
        raise UserError("--reflectance wants two numbers, as in 0,0.3")
    source = EarthEngine(
        satellite,
        size,
        Seasons.of(choices.years or "2020-2024", choices.months, IMAGERY[satellite]),
        (low_and_high[0], low_and_high[1]),
        choices.metres_per_pixel,
        choices.project,
    )
    source.limits = _limits(source.limits, choices, MOST_AT_ONCE, EARTH_ENGINE_MOST, parts)
    return source


def _limits(usual: Limits, choices: Choices, most: int, most_per_second: float, parts: int) -> Limits:
    at_once = usual.at_once if choices.at_once is None else choices.at_once
    per_second = usual.per_second if choices.per_second is None else choices.per_second
    if not 1 <= at_once <= most:
        raise UserError(f"--at-once {at_once}: give 1 to {most}")
    if not 0.01 <= per_second <= most_per_second:
        raise UserError(f"--per-second {per_second:g}: give 0.01 to {most_per_second:g}")
    return dataclasses.replace(usual, at_once=max(1, at_once // parts), per_second=per_second / parts)
