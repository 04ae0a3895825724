"""A synthetic world of water: tiles as an export of the JRC occurrence band would hold them.

Everything here is synthetic and says so. A tile is a pure function of (seed, number): its region's mix of landscapes
picks one, waters are drawn into its terrain, and occurrence is the share of stages at which a pixel is wet. The stage
follows Gumbel's law of floods (Gumbel 1941, doi:10.1214/aoms/1177731747): high water is rarer than low water is deep.
Tiles are independent places: neighbours in a region's grid share a climate, not a shoreline.

    from waterscape.sources.world.regions import tile
    made = tile(seed=7, number=0)
    made.occurrence, made.mask, made.setting, made.bodies()
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from waterscape.sources.world import lakes, rivers
from waterscape.sources.world.noise import Lot, octave
from waterscape.sources.world.terrain import SIZE, Site
from waterscape.sources.world.waters import DEEP, DRY, Water

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field

METRES_PER_PIXEL = 100.0
WATER = 20  # percent of the time that makes a pixel part of a recorded body
SMALLEST = 16  # pixels of the smallest recorded body

SETTINGS: dict[str, Callable[[Site], list[Water]]] = {
    "lake": lakes.lake,
    "lake district": lakes.lake_district,
    "river": rivers.river,
    "braided river": rivers.braided_river,
    "dendritic reservoir": lakes.reservoir,
    "wetland": lakes.wetland,
    "coast": rivers.coast,
    "delta": rivers.delta,
    "open water": lambda _: [Water("open water", np.full((SIZE, SIZE), DEEP))],
    "dry land": lambda _: [],
}

SEAS = ("coast", "delta")
GROUND = {name: {"inflow": 4e4, "trough": 2.0} for name in ("river", "braided river")}  # a river from outside comes in


@dataclass(frozen=True)
class Region:
    """A landscape's climate: shares of settings in percent, and where on Earth it pretends to lie (UTM, metres)."""

    shares: dict[str, int]
    utm_zone: int
    northing: float


REGIONS = {
    "synthetic-taiga": Region(
        {"river": 27, "lake": 15, "wetland": 18, "dendritic reservoir": 16, "lake district": 12, "braided river": 8,
         "open water": 1, "dry land": 3}, 43, 6.8e6),
    "synthetic-steppe": Region(
        {"river": 22, "lake": 22, "wetland": 8, "dendritic reservoir": 22, "lake district": 4, "braided river": 16,
         "open water": 1, "dry land": 5}, 42, 5.7e6),
    "synthetic-tundra": Region(
        {"river": 14, "lake": 8, "wetland": 16, "lake district": 30, "braided river": 16, "delta": 12,
         "open water": 2, "dry land": 2}, 52, 7.8e6),
    "synthetic-coast": Region(
        {"river": 8, "lake": 6, "wetland": 6, "lake district": 4, "braided river": 4, "coast": 40, "delta": 24,
         "open water": 6, "dry land": 2}, 55, 6.6e6),
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """One connected body of a tile as it was drawn.

    `kind` is the kind of water that covers most of it and `share` how much; (`row`, `column`) one of its pixels, by
    which to find it; `pixels` its size; `whole` says that it does not touch the tile's edge.
    """

    kind: str
    row: int
    column: int
    pixels: int
    share: float
    whole: bool


@dataclass(frozen=True)
class Tile:
    """One synthetic tile.

    `occurrence` (H, W) uint8, percent of the time under water; `owner` (H, W) uint8, the number in `kinds` of the water
    that each pixel belongs to; `setting` the landscape drawn; `site` its place, with the ground beneath.
    """

    number: int
    region: str
    setting: str
    occurrence: NDArray[np.uint8]
    owner: NDArray[np.uint8]
    kinds: tuple[str, ...]
    site: Site

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where an export has a value: where there was ever water."""
        return self.occurrence > 0

    def cropped(self, height: int, width: int) -> Tile:
        """The tile's upper left part."""
        return replace(self, occurrence=self.occurrence[:height, :width], owner=self.owner[:height, :width])

    def bodies(self) -> tuple[Body, ...]:
        """The bodies of at least `SMALLEST` pixels that are water `WATER` percent of the time or more."""
        return _bodies(self.occurrence, self.owner, self.kinds)


def tile(seed: int, number: int) -> Tile:
    """Make tile `number` of the world `seed`: 256×256 pixels of 100 m."""
    region = list(REGIONS)[number % len(REGIONS)]
    setting = _pick(REGIONS[region].shares, Lot(seed, "setting", number).uniform("setting"))
    site = Site(seed, number, **GROUND.get(setting, {}))
    drawn = SETTINGS[setting](site)
    if setting not in ("open water", "lake district") and site.lot.chance("ponds", 0.2):
        drawn = [*drawn, lakes.ponds(site.lot.under("ponds"))]
    if setting != "open water" and site.lot.chance("specks", 0.4):
        drawn = [*drawn, lakes.specks(site.lot.under("specks"))]
    height, owner = _lowest(drawn)
    kinds = tuple(dict.fromkeys(water.kind for water in drawn))
    numbers = np.array([kinds.index(water.kind) for water in drawn] or [0], np.uint8)
    return Tile(number, region, setting, _occurrence(site.lot, height), numbers[owner], kinds, site)


def _pick(shares: dict[str, int], place: float) -> str:
    """The name at `place` (0 to 1) of a line divided by shares."""
    bounds = np.cumsum(list(shares.values()))
    return list(shares)[int(np.searchsorted(bounds, place * bounds[-1], side="right"))]


def _lowest(drawn: list[Water]) -> tuple[Field, NDArray[np.intp]]:
    """The height above the nearest water, and which water that is."""
    height = np.full((SIZE, SIZE), DRY)
    owner = np.zeros((SIZE, SIZE), np.intp)
    for number, water in enumerate(drawn):
        lower = water.height < height
        owner[lower] = number
        height = np.minimum(height, water.height)
    return height, owner


def _occurrence(lot: Lot, height: Field) -> NDArray[np.uint8]:
    """Percent of stages that reach a height: 1 - exp(-exp(-h)) of Gumbel's law, seen by a satellite.

    Pixels differ a little from their neighbours, and ice and cloud hide the deepest water now and then.
    """
    grain = np.float32(0.35) * lot.grain("grain", SIZE, SIZE)
    wet = 1 - np.exp(-np.exp(-(height + grain)))
    seen = np.minimum(1.0, np.float32(lot.uniform("seen", 0.97, 1.0)) + 0.02 * octave(lot, "seen", 6, SIZE))
    percent: NDArray[np.uint8] = np.rint(100 * wet * seen).astype(np.uint8)
    return percent


def _bodies(occurrence: NDArray[np.uint8], owner: NDArray[np.uint8], kinds: tuple[str, ...]) -> tuple[Body, ...]:
    label, count = ndimage.label(occurrence >= WATER, np.ones((3, 3)))
    if not count:
        return ()
    at = np.flatnonzero(label)
    body = label.ravel()[at] - 1
    votes = np.bincount(body * len(kinds) + owner.ravel()[at], minlength=count * len(kinds)).reshape(count, len(kinds))
    pixels, kind = votes.sum(axis=1), votes.argmax(axis=1)
    first = np.full(count, -1)
    mine = owner.ravel()[at] == kind[body]
    first[body[mine][::-1]] = at[mine][::-1]
    edge = np.zeros(count + 1, bool)
    for line in (label[0], label[-1], label[:, 0], label[:, -1]):
        edge[line] = True
    width = occurrence.shape[1]
    names = [kinds[k] for k in kind]
    # Water of the sea's level that the tile shows to be closed is a lake behind the shore.
    names = ["lake" if name in SEAS and not cut else name for name, cut in zip(names, edge[1:], strict=True)]
    return tuple(
        Body(
            kind=names[k],
            row=int(first[k] // width),
            column=int(first[k] % width),
            pixels=int(pixels[k]),
            share=round(float(votes[k, kind[k]] / pixels[k]), 3),
            whole=not edge[k + 1],
        )
        for k in np.flatnonzero(pixels >= SMALLEST)
    )
