"""A trained network on Earth Engine's servers: what it is compiled to and what is exported."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import CRS, Proj, Transformer
from torch import Tensor, nn

from waterscape.earthengine.compile import Compiled, compile  # noqa: A004
from waterscape.earthengine.expression import REQUEST_BYTES
from waterscape.earthengine.pixels import Pixels
from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.composite import composite, summer
from waterscape.sources.server_tasks.task_list import Export
from waterscape.sources.utm import NORTHING

if TYPE_CHECKING:
    import ee

    from waterscape.sources.area import Area

ASSET = re.compile(r"projects/([a-z][-a-z0-9.:]{2,60})/assets/[\w/-]*\w")
NAME = re.compile(r"[^A-Za-z0-9_-]+")
LONGEST_NAME = 80  # characters of a region's: a year follows, and a description has 100 at most
TRUE_TO_SCALE = 0.02  # how far a metre of a coordinate system may be from one on the ground
LANDSAT_METRES, LANDSAT_CORNER = 30.0, 15.0  # of Landsat's pixels in the northern half of a zone of UTM
BEYOND = 3.0  # degrees that a region may reach beyond the use of its coordinate system
SPARE_BYTES = 500_000  # of a request, for all that is neither network nor outline
MOST_PIXELS = 10**10
"""Of one export."""
PROBABILITY, WATER = "probability", "water"
BYTES_PER_PIXEL = 5  # of an asset, before compression: a float and a byte


class Probability(nn.Module):
    """Bands N 8 H W → the probability of water, N 1: the first of a network's scores after softmax."""

    def __init__(self, scores: nn.Module) -> None:
        super().__init__()
        self.scores = scores
        self.softmax = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """N 2 H W: water, land."""
        probabilities: Tensor = self.softmax(self.scores(x))
        return probabilities


def compiled_water(network: nn.Module, pixels: Pixels, samples: Tensor | None = None) -> Compiled:
    """The graph of a network that scores water and land (N 2), as probabilities `probability` and `land`.

    Raises `UserError` where a layer has no exact form on the servers.
    """
    return compile(Probability(network).eval(), BANDS, pixels, names=(PROBABILITY, "land"), samples=samples)


def training_pixels(facts: Mapping[str, Any], area: Area, crs: str | None = None) -> tuple[Pixels, str]:
    """The lattice that a run's tiles had, and a sentence about it; `crs` takes another coordinate system.

    Metres on the ground are what a network learnt: a run of a zone of UTM, or of tiles without a system, is deployed
    in the zone of the area's middle. Pixels of 30 m in a zone of UTM are Landsat's own. Degrees are those of the tiles
    to the last digit: lattices are counted from 0° 0°, where a millionth part of a pixel more moves those far away.

    Raises `UserError` for a run that does not say how large its pixels are, and for degrees where it learnt metres.
    """
    tiles = facts.get("tiles") or {}
    metres, trained = tiles.get("metres_per_pixel"), tiles.get("crs")
    if not metres:
        raise UserError("the run does not say how large its pixels are: pack its tiles with --metres-per-pixel")
    if list(tiles.get("bands") or BANDS) != list(BANDS):
        raise UserError(f"the run was trained on other bands ({', '.join(tiles['bands'])}), Earth Engine's are {BANDS}")
    if crs is None:
        crs = trained if trained and CRS(trained).is_geographic else _utm(area)
    pixels = _lattice(crs, float(metres))
    if CRS(crs).is_geographic:
        if not (trained and CRS(trained).is_geographic):
            raise UserError(
                f"--crs {crs} is in degrees, and the run's tiles were not: leave it out, or give a zone of UTM"
            )
        if exact := tiles.get("degrees_per_pixel"):
            pixels = Pixels(crs, transform=(exact[0], 0.0, 0.0, 0.0, -exact[1], 0.0))
    origin = f"tiles of {metres:g} m in {trained or 'no coordinate system'}"
    return pixels, f"{metres:g} m in {crs} (trained on {origin})"


def _lattice(crs: str, metres: float) -> Pixels:
    """Pixels of a system; of 30 m in a zone of UTM: Landsat's, so that none of its pixels is between two of ours.

    Landsat counts northings from the equator in both halves (negative ones in the south), and corners lie at odd
    multiples of 15 m; the southern half's own northings are 10,000,000 m more.
    """
    pixels = Pixels(crs, metres)
    zone = CRS(crs).utm_zone
    if zone is None or metres != LANDSAT_METRES:
        return pixels
    top = (LANDSAT_CORNER + (NORTHING if zone.endswith("S") else 0)) % metres
    return Pixels(crs, transform=(metres, 0.0, LANDSAT_CORNER, 0.0, -metres, top))


def _utm(area: Area) -> str:
    middle = area.shape.representative_point()
    zone = min(int((middle.x + 180) // 6), 59) + 1
    return f"EPSG:{(326 if middle.y >= 0 else 327) * 100 + zone}"


def check_asset(asset: str) -> None:
    """Raises `UserError` for a name that no collection can have."""
    if not ASSET.fullmatch(asset):
        raise UserError(f"--asset {asset}: give projects/PROJECT/assets/NAME, where the images are put")


@dataclass(frozen=True)
class Region:
    """A study area with a name, which is part of its assets' names."""

    name: str
    area: Area

    @classmethod
    def named(cls, text: str, area: Area) -> Region:
        """With a name that an asset may have, of 80 characters at most."""
        return cls(NAME.sub("-", text).strip("-")[:LONGEST_NAME].strip("-") or "region", area)

    @property
    def southern(self) -> bool:
        """Whether its middle lies south of the equator: its summer is then December to February."""
        return bool(self.area.shape.centroid.y < 0)

    def geometry(self) -> ee.Geometry:
        """For the servers, edges straight in degrees."""
        import ee

        shape: ee.Geometry = ee.Geometry(self.area.geojson(), "EPSG:4326", False)
        return shape

    def box(self) -> ee.Geometry:
        """What its scenes are chosen by: shorter to send than its outline."""
        import ee

        box: ee.Geometry = ee.Geometry.Rectangle(list(self.area.shape.bounds), "EPSG:4326", False)
        return box

    def scales(self, crs: str) -> tuple[float, float]:
        """Least and largest of a projection's scale factors here, in any direction; 1 and 1 for degrees.

        Snyder 1987 (doi:10.3133/pp1395), pp. 20-26.
        """
        import shapely

        if not CRS(crs).is_projected:
            return 1.0, 1.0
        places = [shapely.get_coordinates(shapely.segmentize(self.area.shape, 0.1))]
        places.append(shapely.get_coordinates(self.area.shape.representative_point()))
        longitudes, latitudes = np.concatenate(places).T
        found = Proj(crs).get_factors(longitudes, latitudes)
        return float(np.min(found.tissot_semiminor)), float(np.max(found.tissot_semimajor))

    def pixels(self, lattice: Pixels) -> int:
        """Pixels of the rectangle around it, which an export computes and counts."""
        import shapely

        ring = shapely.segmentize(self.area.shape, 0.1)
        x, y = shapely.get_coordinates(ring).T
        if CRS(lattice.crs) != CRS("EPSG:4326"):
            x, y = Transformer.from_crs("EPSG:4326", lattice.crs, always_xy=True).transform(x, y)
        width, _, _, _, height, _ = lattice.lattice
        return int(math.ceil(np.ptp(x) / width) * math.ceil(np.ptp(y) / -height))


@dataclass(frozen=True)
class Deployment:
    """What is deployed where: the same plan is gone on with, another one in the same folder is refused."""

    compiled: Compiled
    regions: tuple[Region, ...]
    years: tuple[int, ...]
    asset: str
    facts: Mapping[str, Any]
    """About the network, which every asset has as properties: plain text and numbers."""
    threshold: float = 0.5
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_asset(self.asset)
        names = [region.name for region in self.regions]
        if len(set(names)) < len(names):
            raise UserError(f"two regions are called {max(names, key=names.count)}: name their files differently")
        for region in self.regions:
            self._check_place(region)
            outline = len(json.dumps(region.area.geojson()))
            if outline + self.compiled.bytes + SPARE_BYTES > REQUEST_BYTES:
                raise UserError(f"the outline of {region.name} takes {outline / 1e6:.1f} MB of a request: simplify it")
            for year in self.years:
                summer(year, southern=region.southern)
            if (pixels := region.pixels(self.compiled.pixels)) > MOST_PIXELS:
                raise UserError(
                    f"{region.name} has {pixels:.1e} pixels, an export {MOST_PIXELS:.0e} at most: cut it into several"
                )

    def _check_place(self, region: Region) -> None:
        """Raises `UserError` for a region where the pixels' coordinate system is not true to scale."""
        crs = self.compiled.pixels.crs
        there = CRS(crs).area_of_use
        west, south, east, north = region.area.shape.bounds
        if east - west > 180:
            raise UserError(
                f"{region.name} crosses 180°: cut it there into two files and deploy each with its own --out"
            )
        if there is not None:
            inside = there.west - BEYOND <= west and east <= there.east + BEYOND
            if not inside or south < there.south - BEYOND or north > there.north + BEYOND:
                raise UserError(
                    f"{region.name} reaches beyond {crs} ({there.name}): deploy it by itself, or in parts, or give "
                    "--crs"
                )
        worst = max(region.scales(crs), key=lambda scale: abs(scale - 1))
        if not abs(worst - 1) <= TRUE_TO_SCALE:
            raise UserError(
                f"a metre of {crs} is {1 / worst:.2f} m on the ground in {region.name}, and the network learnt those "
                "of the ground: leave --crs out, or give a zone of UTM"
            )

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What makes a deployment another one, as plain JSON."""
        graph = hashlib.sha256(self.compiled.javascript().encode()).hexdigest()
        regions = {region.name: region.area.digest for region in self.regions}
        made = {"asset": self.asset, "regions": regions, "years": self.years, "graph_sha256": graph, **self.facts}
        plan: dict[str, Any] = json.loads(json.dumps({**made, "threshold": self.threshold}))
        return plan

    def image(self, region: Region, year: int) -> ee.Image:
        """What an asset holds: the probability of water, and whether it is above the threshold."""
        first, after = summer(year, southern=region.southern)
        known = self.compiled(composite(region.box(), year, southern=region.southern)).select([PROBABILITY])
        water = known.gt(self.threshold).toByte().rename([WATER])
        times = {"system:time_start": _milliseconds(first), "system:time_end": _milliseconds(after)}
        made: ee.Image = known.toFloat().addBands(water).set({**times, "year": year, **self.facts})
        return made

    def exports(self) -> list[Export]:
        """An asset for each region and year."""
        return [self._export(region, year) for region in self.regions for year in self.years]

    def _export(self, region: Region, year: int) -> Export:
        name = f"{region.name}_{year}"
        return Export(
            name=name,
            asset=f"{self.asset}/{name}",
            image=lambda: self.image(region, year),
            region=region.geometry,
            crs=self.compiled.pixels.crs,
            transform=self.compiled.pixels.lattice,
            overwrite=self.overwrite,
            pyramids={".default": "mean", WATER: "mode"},
        )

    def estimate(self) -> list[str]:
        """Lines about what it takes: what is counted, and what cannot be known."""
        pixels = [region.pixels(self.compiled.pixels) for region in self.regions]
        total, exports = sum(pixels) * len(self.years), len(self.regions) * len(self.years)
        return [
            f"{exports} exports: {len(self.regions)} regions × {len(self.years)} years, "
            f"{max(pixels):,} pixels the largest, {total:,} in all",
            f"at most {total * BYTES_PER_PIXEL / 1e9:,.2f} GB of assets, before Earth Engine's compression",
            f"a request of {self.compiled.bytes / 1e6:.2f} MB each, of 10 MB that may be; rounding the weights moved a "
            f"probability by {self.compiled.error:.1e} at most",
            "compute time (EECU) cannot be told before: each task's is shown when it has ended",
        ]


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
