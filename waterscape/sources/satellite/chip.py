"""What a satellite saw around a point on the clear days of some seasons: an image that Earth Engine's servers make.

Each pixel's red, green and blue are the medians of the scenes in which it was clear, stretched to 8 bits by fixed
limits of reflectance, so that tiles of all places and years are alike: 255 · (median − low) / (high − low), rounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from waterscape.errors import UserError
from waterscape.sources.utm import HIGHEST, LOWEST, ZONE_DEGREES, ZONES

if TYPE_CHECKING:
    import ee

Satellite = Literal["sentinel-2", "landsat-8", "landsat-9"]
COLOURS = ("red", "green", "blue")
CLEAR = "clear"
LANDSAT_LICENCE = "Landsat {years}, courtesy of the U.S. Geological Survey: public domain"


@dataclass(frozen=True)
class Imagery:
    """A collection of surface reflectances."""

    collection: str
    first_year: int
    metres: float
    """Of a pixel."""
    corner: float
    """Metres by which the pixels' corners lie beyond multiples of their size."""
    bands: tuple[str, str, str]
    """Red, green, blue."""
    scale: float
    offset: float
    """Reflectance = scale · number + offset."""
    quality: str
    unclear: tuple[int, ...]
    """Of `quality`: classes, or bits where `by_bits`."""
    by_bits: bool
    licence: str

    def clear(self, scene: ee.Image) -> ee.Image:
        """1 where a scene shows the ground or water, 0 under clouds, their shadows, haze and where nothing was seen."""
        import ee

        quality = scene.select([self.quality])
        if self.by_bits:
            found: ee.Image = quality.bitwiseAnd(sum(1 << bit for bit in self.unclear)).eq(0)
            return found
        found = ee.Image(1)
        for number in self.unclear:
            found = found.multiply(quality.neq(number))
        return found


def _landsat(number: int, first_year: int) -> Imagery:
    """Collection 2, Level 2: QA_PIXEL's bits are fill, dilated cloud, cirrus, cloud, shadow."""
    collection, bands = f"LANDSAT/LC0{number}/C02/T1_L2", ("SR_B4", "SR_B3", "SR_B2")
    quality = ("QA_PIXEL", (0, 1, 2, 3, 4), True)
    return Imagery(collection, first_year, 30.0, 15.0, bands, 2.75e-5, -0.2, *quality, LANDSAT_LICENCE)


IMAGERY: dict[Satellite, Imagery] = {
    # Level 2A; SCL's classes: no data, saturated, cloud shadow, clouds of medium and high probability, thin cirrus
    "sentinel-2": Imagery(
        "COPERNICUS/S2_SR_HARMONIZED",
        2017,
        10.0,
        0.0,
        ("B4", "B3", "B2"),
        1e-4,
        0.0,
        "SCL",
        (0, 1, 3, 8, 9, 10),
        False,
        "contains modified Copernicus Sentinel data {years}",
    ),
    "landsat-8": _landsat(8, 2013),
    "landsat-9": _landsat(9, 2022),
}


@dataclass(frozen=True)
class Seasons:
    """The days of which a chip is the median."""

    first: int = 2020
    last: int = 2024
    """Years, both counted."""
    months: tuple[int, int] | None = None
    """First and last, both counted; 12 to 2 goes over the turn of the year. None: summer, by the half of the Earth."""

    @classmethod
    def of(cls, years: str, months: str | None, imagery: Imagery) -> Seasons:
        """From `2020-2024` or `2022`, and `6-8`. Raises `UserError`."""
        first, last = _range(years, "--years", "2020-2024")
        if not imagery.first_year <= first <= last:
            raise UserError(f"--years {years}: {imagery.collection} begins with {imagery.first_year}")
        if last >= datetime.now(UTC).year:
            raise UserError(f"--years {years}: {last} is not over, so its tiles would not stay the same")
        season = None if months is None else _range(months, "--months", "6-8")
        if season and not all(1 <= month <= 12 for month in season):
            raise UserError(f"--months {months}: give 1 to 12, as in 6-8")
        return cls(first, last, season)

    @property
    def years(self) -> str:
        """As they are told."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def months_at(self, latitude: float) -> tuple[int, int]:
        """First and last month of the season at a latitude."""
        return self.months or ((6, 8) if latitude >= 0 else (12, 2))


def _range(text: str, name: str, example: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text)
    if not match:
        raise UserError(f"{name} {text}: give a number or a range, as in {example}")
    return int(match[1]), int(match[2] or match[1])


@dataclass(frozen=True)
class ChipGrid:
    """The pixels of a chip: north up, in the zone of UTM that its middle lies in, on the satellite's own grid."""

    crs: str
    left: float
    top: float
    """Metres east and north."""
    metres: float
    width: int
    height: int

    @classmethod
    def around(cls, latitude: float, longitude: float, size: tuple[int, int], metres: float, corner: float) -> ChipGrid:
        """The one whose middle is nearest to a place. Raises `ValueError` outside of UTM's latitudes."""
        from pyproj import Transformer

        if not LOWEST <= latitude <= HIGHEST:
            raise ValueError(f"UTM reaches from {LOWEST:g}° to {HIGHEST:g}°")
        zone = int((longitude + 180) // ZONE_DEGREES) % ZONES + 1
        crs = f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
        left = round((x - size[0] / 2 * metres - corner) / metres) * metres + corner
        top = round((y + size[1] / 2 * metres - corner) / metres) * metres + corner
        return cls(crs, left, top, metres, *size)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Of `a b c d e f`: column, row → x = a·column + c, y = e·row + f."""
        return self.metres, 0.0, self.left, 0.0, -self.metres, self.top

    def region(self) -> ee.Geometry:
        """Its ground."""
        import ee

        right, bottom = self.left + self.width * self.metres, self.top - self.height * self.metres
        ground: ee.Geometry = ee.Geometry.Rectangle([self.left, bottom, right, self.top], self.crs, False)
        return ground


def chip(
    imagery: Imagery, region: ee.Geometry, seasons: Seasons, latitude: float, reflectance: tuple[float, float]
) -> ee.Image:
    """The bands `COLOURS` of 8 bits, 0 where no scene was clear, and `CLEAR`, which is 1 where one was."""
    import ee

    def measured(scene: ee.Image) -> ee.Image:
        numbers = scene.select(list(imagery.bands), list(COLOURS)).multiply(imagery.scale).add(imagery.offset)
        found: ee.Image = numbers.updateMask(imagery.clear(scene)).toFloat()  # of one type: else none are reduced
        return found

    first_month, last_month = seasons.months_at(latitude)
    everything = ee.ImageCollection(imagery.collection)
    scenes = (
        everything.filterBounds(region)
        .filterDate(f"{seasons.first}-01-01", f"{seasons.last + 1}-01-01")
        .filter(ee.Filter.calendarRange(first_month, last_month, "month"))
    )
    none = measured(ee.Image(everything.first())).updateMask(0)  # without any image there would be no bands
    middle = scenes.map(measured).merge(ee.ImageCollection([none])).median()
    low, high = reflectance
    stretched = middle.subtract(low).multiply(255 / (high - low)).round().clamp(0, 255)
    clear = middle.select([COLOURS[0]]).mask().gt(0).unmask(0, False).rename([CLEAR])
    image: ee.Image = stretched.unmask(0, False).addBands(clear).toByte()
    return image
