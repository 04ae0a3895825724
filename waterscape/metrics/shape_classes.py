"""Classes of water bodies by their shape, told apart by stated thresholds.

Shape alone decides, so a name says what a body looks like: `coast` is the shore of water larger than the tile, be it
a sea or a great lake; an oxbow is a lake; a pan that floods now and then is a wetland. What the tile's edge cuts so
that no rule holds is unclassifiable. The numbers were set on one seed of the synthetic world and looked at on real
tiles of occurrence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

CLASSES = (
    "lake",
    "lake district",
    "river",
    "braided river",
    "dendritic reservoir",
    "delta",
    "coast",
    "wetland",
    "unclassifiable",
)


@dataclass(frozen=True)
class Thresholds:
    """Where one class ends and the next begins. Lengths in pixels, shares from 0 to 1."""

    water: int = 20
    """Percent of the time under water that makes a pixel water: below it lie flood plains."""
    smallest: int = 16
    """Pixels of the smallest body that gets a row."""
    smallest_hole: int = 6
    """Pixels of the smallest island; smaller ones are taken for gaps in the data."""
    whole_tile: float = 0.97
    """A body that fills more of its tile shows no shape."""
    wet_seldom: float = 66.0
    """A wetland's mean occurrence is below this, in percent;"""
    wet_core: float = 82.0
    """so is its core's occurrence below this;"""
    wet_smallest: int = 120
    """it has at least so many pixels: smaller ones are ponds that dry up;"""
    wet_solidity: float = 0.56
    """and it is a patch, not a thread: its solidity is at least this."""
    open_border: float = 0.15
    """Water larger than the tile, a sea, takes at least this share of the tile's border,"""
    open_share: float = 0.15
    """and this share of the tile,"""
    open_side: float = 0.3
    """and where it is no delta, its outline is the tile's edge for at least this share."""
    narrow: float = 5.0
    """Channels are parts that lie at most this far from a shore."""
    delta_channels: float = 170.0
    """A delta's sea has at least this length of channels,"""
    delta_islands: int = 2
    """and encloses at least this many islands."""
    slender: float = 10.0
    """A stream's longest way is at least so many times its mean width, where the tile cuts it,"""
    slender_whole: float = 14.0
    """and so many times where the tile shows all of it: shorter ones are lakes (oxbows);"""
    stream_length: float = 40.0
    """it is at least so long;"""
    stream_solidity: float = 0.68
    """and it leaves much of its hull dry, its solidity is at most this,"""
    straight: float = 8.0
    """or it is straight: its elongation is at least this."""
    single_thread: float = 0.7
    """A river's longest way is at least this share of its skeleton; the rest are side arms."""
    band: float = 3.5
    """A wide river crosses the tile as a band at least so many times longer than wide,"""
    band_share: float = 0.06
    """which fills at least this share of the tile,"""
    band_crossing: float = 1.5
    """meets the tile's edge for at least so many times its width, and"""
    banks: float = 1.7
    """whose banks together are at most so many times twice its longest way."""
    braided_islands: int = 2
    """A braided river is a stream with at least this many islands;"""
    braided_threads: float = 0.85
    """its longest way is at most this share of its skeleton;"""
    braided_elongation: float = 2.5
    """its elongation is at least this;"""
    braided_sinuosity: float = 1.35
    """and it runs rather straight, at most this sinuous (Leopold & Wolman 1957),"""
    many_islands: int = 8
    """unless it has so many islands that no loops of a meandering river explain them."""
    dendritic_development: float = 2.1
    """A dendritic reservoir's shoreline development is at least this,"""
    dendritic_solidity: float = 0.68
    """its solidity at most this,"""
    dendritic_arms: float = 0.25
    """and its arms, the skeleton off the longest way, are at least this share of the skeleton."""
    crowd: int = 10
    """A lake district has at least this many lakes,"""
    crowd_share: float = 0.5
    """none of which has this share of all the tile's water, and which together have at least this share."""


USUAL = Thresholds()


def classify(columns: Mapping[str, Values], t: Thresholds) -> Values:
    """The class of each body from its columns in pixels; the first rule that holds decides."""
    c = columns
    cut = c["cut"] > 0
    outline = c["edge_contact"] / np.maximum(c["edge_contact"] + c["perimeter"], 1e-9)
    slender = c["longest_path"] / np.maximum(c["mean_width"], 1e-9)
    stream = (slender >= np.where(cut, t.slender, t.slender_whole)) & (c["longest_path"] >= t.stream_length)
    stream &= (c["solidity"] <= t.stream_solidity) | (c["elongation"] >= t.straight)
    width = 2 * c["area"] / np.maximum(c["perimeter"], 1e-9)  # of a band: two banks of one length
    band = (c["edge_stretches"] >= 2) & (outline < t.open_side) & (c["tile_share"] >= t.band_share)
    band &= (c["perimeter"] >= t.band * 2 * width) & (c["perimeter"] <= t.banks * 2 * c["longest_path"])
    band &= c["edge_contact"] >= t.band_crossing * width
    main = c["longest_path"] / np.maximum(c["skeleton_length"], 1)
    sea = (c["border_share"] >= t.open_border) & (c["tile_share"] >= t.open_share)
    seldom = (c["mean_occurrence"] < t.wet_seldom) & (c["core_occurrence"] < t.wet_core)
    braids = (c["holes"] >= t.braided_islands) & (c["sinuosity"] <= t.braided_sinuosity)
    braids |= c["holes"] >= t.many_islands
    braids &= (main <= t.braided_threads) & (c["elongation"] >= t.braided_elongation)
    arms = (c["shoreline_development"] >= t.dendritic_development) & (c["solidity"] <= t.dendritic_solidity)
    rules = {
        "unclassifiable": c["tile_share"] >= t.whole_tile,
        "braided river": stream & braids & ~sea,
        "wetland": seldom & (c["area"] >= t.wet_smallest) & (c["solidity"] >= t.wet_solidity),
        "delta": sea & (c["narrow_length"] >= t.delta_channels) & (c["holes"] >= t.delta_islands),
        "coast": sea & (outline >= t.open_side),
        "river": (stream & (main >= t.single_thread)) | band,
        "dendritic reservoir": arms & (main <= 1 - t.dendritic_arms),
        "lake": ~cut | (outline < t.open_side),
    }
    number = np.select(list(rules.values()), [CLASSES.index(name) for name in rules], CLASSES.index("unclassifiable"))
    return _with_lake_districts(number, c["tile_share"], t).astype(np.float64)


def _with_lake_districts(number: NDArray[np.intp], share: Values, t: Thresholds) -> NDArray[np.intp]:
    """Lakes that are many in one tile, and none of them rules it, become a lake district.

    So do their neighbours that run into one another in uneven outlines, and pieces at the tile's edge.
    """
    lakes = number == CLASSES.index("lake")
    named = ("lake", "dendritic reservoir", "unclassifiable")
    members = np.isin(number, [CLASSES.index(name) for name in named]) & (share < t.crowd_share * share.sum())
    crowded = lakes.sum() >= t.crowd and share[members].sum() >= t.crowd_share * share.sum()
    return np.where(members & crowded, CLASSES.index("lake district"), number)
