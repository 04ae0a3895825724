"""Which split a sample belongs to: by place or group, never by tile, since neighbours would leak from train to test."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping

from waterscape.errors import UserError
from waterscape.randomness import hash64


@functools.cache
def _equal_area() -> Callable[[float, float], tuple[float, float]]:
    from pyproj import Transformer

    transform: Callable[[float, float], tuple[float, float]]
    transform = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True).transform
    return transform


def place(longitude: float, latitude: float, block_km: float) -> str:
    """Name of the block of an equal-area grid (EPSG:6933, EASE-Grid 2.0) that holds a point.

    Args:
        longitude: degrees east, -180 to 180 (WGS 84).
        latitude: degrees north, -90 to 90.
        block_km: side of a block in kilometres of the projection: each covers the same area on the ground.

    Raises:
        UserError: coordinates out of range, or a block that is no positive number.
    """
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise UserError(f"longitude {longitude}, latitude {latitude}: out of range; give degrees, longitude first")
    if not (block_km > 0 and math.isfinite(block_km)):
        raise UserError(f"a block of {block_km} km: give a positive number of kilometres")
    east, north = _equal_area()(longitude, latitude)
    return f"{block_km:g}km:{math.floor(east / 1000 / block_km)}:{math.floor(north / 1000 / block_km)}"


def assign(groups: Mapping[str, int], shares: Mapping[str, float], seed: int = 0) -> dict[str, str]:
    """Split whole groups by shares of their samples: group -> split.

    Groups are taken in the order of a hash of their names; each goes where most samples are still wanted. A split that
    has a share and got nothing is then given the smallest group of the one that has most beyond its share, as long as
    that keeps another. So no split gets more than its share and one group beyond it, and none is empty where there are
    groups enough. A pure function: the order of the mappings does not matter.

    Args:
        groups: samples in each group.
        shares: the part of all samples each split should get; they add up to 1.
        seed: another seed gives another split.

    Raises:
        UserError: shares that are negative or do not add up to 1.
    """
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"shares {dict(shares)} must be positive and add up to 1, as in train 0.8, val 0.1, test 0.1")
    total = sum(groups.values())
    wanted = {split: share * total for split, share in sorted(shares.items())}
    ordered = sorted(groups, key=lambda name: (hash64(seed, name), name))
    result = {}
    for group in ordered:
        split = max(wanted, key=wanted.__getitem__)
        wanted[split] -= groups[group]
        result[group] = split
    for empty in sorted(split for split in wanted if shares[split] > 0 and split not in result.values()):
        held = Counter(result.values())
        rich = [split for split in wanted if held[split] > 1]
        if not rich:
            break
        giver = min(rich, key=wanted.__getitem__)
        group = min((name for name in ordered if result[name] == giver), key=groups.__getitem__)
        wanted[giver] += groups[group]
        wanted[empty] -= groups[group]
        result[group] = empty
    return result
