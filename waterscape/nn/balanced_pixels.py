"""Which pixels of a tile a network learns from, and with what weight: as a balanced set of single patches would hold.

A network without padding sees a pixel's patch wherever it is run over a whole tile, so patches are never gathered: the
tile is run through it once, and each pixel's loss counts by how often its patch would have been in the set.
"""

from __future__ import annotations

import torch
from torch import Tensor

LAND_PER_WATER = 5
"""Patches of land to one of water, at most."""


def seen_whole(bands: Tensor, margin: int) -> Tensor:
    """Where no pixel within `margin` is nodata, in any band: N C H W with NaN → N 1 (H − 2·margin) (W − 2·margin)."""
    count, _, tall, wide = bands.shape
    width = 2 * margin + 1
    if bands.device.type == "cpu" and torch.isfinite(bands.sum()):  # on a GPU the host would wait for the answer
        return bands.new_ones((count, 1, tall - 2 * margin, wide - 2 * margin), dtype=torch.bool)
    known = torch.isfinite(bands.sum(1, keepdim=True))  # one walk through the bands
    return all_of(all_of(known, 2, width), 3, width)


def all_of(known: Tensor, axis: int, width: int) -> Tensor:
    """Whether all of each `width` neighbours along an axis are true. As few walks as doubling allows: 3 for 7."""
    length, seen = known.shape[axis], 1
    while seen < width:
        more = min(seen, width - seen)
        length -= more
        known = known.narrow(axis, 0, length) & known.narrow(axis, more, length)
        seen += more
    return known


def without_nodata(bands: Tensor) -> Tensor:
    """Bands with 0 for what is not finite. A fast convolution would else carry NaN beyond the patches that hold it."""
    return torch.nan_to_num(bands, nan=0.0, posinf=0.0, neginf=0.0)


def balanced_chances(water: Tensor, land: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Each pixel's chance to be in its tile's set of patches: N 1 H W, bool twice → N 1 H W, in 0..1.

    The set holds all water and up to `LAND_PER_WATER` times as much land, drawn without replacement; where there is
    more water than land, as much of it as of land. A tile of one kind alone has no set.
    """
    waters, lands = (kind.sum((1, 2, 3), keepdim=True).to(dtype) for kind in (water, land))
    of_water = torch.minimum(waters, lands) / waters.clamp(min=1)
    of_land = torch.minimum(lands, LAND_PER_WATER * waters) / lands.clamp(min=1)
    return water * of_water + land * of_land
