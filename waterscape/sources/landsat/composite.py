"""The eight bands and the water label of a summer, as an image that Earth Engine's servers compute.

Scenes of Landsat 8 (Collection 2, Level 2), each without its clouds and their shadows, become one by the median of each
reflectance; the indices are taken of that median, by the formulas of `bands`.

A kernel works on the pixels that are asked for, so the line enhancement is the one of `bands` only at the pixels of the
tiles: ask at their CRS and transform, as an export and `waterscape.earthengine` do.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS, ELEVATION_METRES, MARGIN, OFFSET, REFLECTANCES, SCALE

if TYPE_CHECKING:
    import ee

COLLECTION = "LANDSAT/LC08/C02/T1_L2"
ELEVATION = "CGIAR/SRTM90_V4"
ELEVATION_ELSEWHERE = "COPERNICUS/DEM/GLO30"
"""Where the first has no heights: north of 60° N, south of 60° S, and in voids; sea, which neither has, is 0."""
LABEL = "water"
"""Share of the clear scenes, 0 to 1, that saw water at a pixel; the usual label is a share of a half or more."""
FIRST_YEAR = 2013
UNCLEAR_BIT, UNCLEAR = 1, 0b1111
"""Of QA_PIXEL: dilated cloud, cirrus, cloud, shadow."""
WATER_BIT = 7


def summer(year: int, *, southern: bool = False) -> tuple[date, date]:
    """First day of a year's summer, and the first day after it: June to August, or December before to February.

    Raises `UserError` for a summer that Landsat 8 saw nothing of, or that is not over.
    """
    if year < FIRST_YEAR + southern:
        half = "southern " if southern else ""
        raise UserError(f"the first {half}summer that Landsat 8 saw is that of {FIRST_YEAR + southern}, not {year}")
    first, after = date(year, 6, 1), date(year, 9, 1)
    if southern:
        first, after = date(year - 1, 12, 1), date(year, 3, 1)
    if after > datetime.now(UTC).date():
        raise UserError(f"the summer of {year} is not over: its composite would not stay the same")
    return first, after


def composite(region: ee.Geometry, year: int, *, southern: bool = False) -> ee.Image:
    """A summer's cloud-free median: `BANDS` and `LABEL`, masked where no scene was clear.

    Args:
        region: scenes that touch it are used; the image reaches as far as they do.
        year: of the summer (see `summer`).
        southern: whether the region lies south of the equator.
    """
    import ee

    def clear(scene: ee.Image) -> ee.Image:
        quality = scene.select("QA_PIXEL")
        water = quality.rightShift(WATER_BIT).bitwiseAnd(1).rename(LABEL)
        cloudless = quality.rightShift(UNCLEAR_BIT).bitwiseAnd(UNCLEAR).eq(0)
        numbers = scene.select([f"SR_{name}" for name in REFLECTANCES], list(REFLECTANCES))
        measured: ee.Image = numbers.multiply(SCALE).add(OFFSET).addBands(water).updateMask(cloudless)
        return measured.toFloat()  # of the same type in every scene, whatever its range: else none are reduced

    first, after = summer(year, southern=southern)
    scenes = ee.ImageCollection(COLLECTION).filterBounds(region).filterDate(first.isoformat(), after.isoformat())
    none = clear(ee.Image(ee.ImageCollection(COLLECTION).first())).updateMask(0)  # any scene: for its bands' types
    clear_scenes = scenes.map(clear).merge(ee.ImageCollection([none]))  # without any image there would be no bands
    middle = clear_scenes.select(list(REFLECTANCES)).median()
    label = clear_scenes.select([LABEL]).mean()
    bands: ee.Image = band_image(middle.addBands(elevation())).addBands(label).toFloat()
    return bands


def elevation() -> ee.Image:
    """Metres above the sea, everywhere on the Earth: the band `elevation`."""
    import ee

    elsewhere = ee.ImageCollection(ELEVATION_ELSEWHERE).select(["DEM"]).mosaic()
    known = ee.Image(ELEVATION).select(["elevation"])
    metres: ee.Image = known.unmask(elsewhere, False).unmask(0, False).rename("elevation")
    return metres


def band_image(image: ee.Image) -> ee.Image:
    """`BANDS` of an image with the reflectances B2 … B6 and `elevation` in metres: the servers' `band_stack`.

    Masked is what `band_stack` has as NaN.
    """
    index = _mndwi(image.select(["B3"]), image.select(["B6"]))
    height = image.select(["elevation"]).divide(ELEVATION_METRES)
    computed = [index, _line_enhancement(index), height]
    bands: ee.Image = image.select(list(REFLECTANCES)).addBands(computed).rename(list(BANDS))
    return bands


def _mndwi(green: ee.Image, infrared: ee.Image) -> ee.Image:
    green, infrared = green.max(0), infrared.max(0)
    total = green.add(infrared)
    return green.subtract(infrared).divide(total.add(total.eq(0)))  # where both are 0, 0 / 1


def _line_enhancement(index: ee.Image) -> ee.Image:
    """The largest of the four kernels of `bands.line_enhancement`, masked where an end or the centre is masked.

    A kernel and its mirror image are the same, so it does not matter which of them `convolve` takes; what it makes of
    masked pixels does not matter either, as none are left when it comes.
    """
    import ee

    side, last = 2 * MARGIN + 1, 2 * MARGIN

    def kernel(ends: list[tuple[int, int]], end: int, centre: int) -> ee.Kernel:
        weights = [[0] * side for _ in range(side)]
        for row, column in ends:
            weights[row][column] = end
        weights[MARGIN][MARGIN] = centre
        return ee.Kernel.fixed(side, side, weights)

    opposite = (
        [(0, MARGIN), (last, MARGIN)],
        [(MARGIN, 0), (MARGIN, last)],
        [(0, 0), (last, last)],
        [(0, last), (last, 0)],
    )
    filled = index.unmask(0, False)
    ridges = [filled.convolve(kernel(ends, -1, 2)) for ends in opposite]
    largest = ridges[0].max(ridges[1]).max(ridges[2]).max(ridges[3])
    around = [place for ends in opposite for place in ends]
    known = index.mask().gt(0).unmask(0, False).convolve(kernel(around, 1, 1))
    return largest.updateMask(known.gt(len(around) + 0.5))
