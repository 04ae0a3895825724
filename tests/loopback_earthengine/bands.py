"""What works on the bands of images and on their masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Image, Node, Pixels
from loopback_earthengine.operations import World, divide, operation, pointwise, wider
from loopback_earthengine.values import Geometry, as_image, constant


@operation("Image.load")
def load(world: World, name: str, _version: int) -> Image:
    if name not in world.assets:
        message = f"Image.load: Image asset '{name}' not found (does not exist or caller does not have access)."
        raise ServiceError(400, message)
    return world.assets[name].image(name, world.assumptions.shared_edge)


@operation("Image.constant")
def constant_image(_world: World, value: Any) -> Image:
    try:
        return as_image(value)
    except TypeError:
        raise ServiceError(400, f"Image.constant: cannot make an image of {str(value)[:40]!r}.") from None


@operation("Image.select")
def select(_world: World, image: Image, selectors: list, names: list[str] | None) -> Image:
    found: list[Band] = []
    for selector in selectors:
        if isinstance(selector, int | float):
            if not -len(image.bands) <= selector < len(image.bands):
                raise ServiceError(400, f"Image.select: Band index {int(selector)} is out of range.")
            found.append(image.bands[int(selector)])
            continue
        fitting = [band for band in image.bands if band.name == selector]
        fitting = fitting or [band for band in image.bands if re.fullmatch(selector, band.name)]
        if not fitting:
            there = ", ".join(band.name for band in image.bands)
            message = f"Image.select: Band pattern '{selector}' did not match any bands. Available bands: [{there}]"
            raise ServiceError(400, message)
        found += fitting
    if names is not None:
        return rename(_world, image.with_bands(found), names)
    return image.with_bands(found)


@operation("Image.rename")
def rename(_world: World, image: Image, names: list[str]) -> Image:
    if len(names) != len(image.bands):
        message = f"Image.rename: The number of names ({len(names)}) must match the number of bands "
        raise ServiceError(400, f"{message}({len(image.bands)}).")
    if len(set(names)) < len(names):
        raise ServiceError(400, "Image.rename: Duplicate band names.")
    return image.with_bands([replace(band, name=name) for band, name in zip(image.bands, names, strict=True)])


@operation("Image.slice")
def slice_bands(_world: World, image: Image, start: int, end: int | None) -> Image:
    return image.with_bands(image.bands[start:end])


@operation("Image.addBands")
def add_bands(_world: World, image: Image, more: Image, names: list[str] | None, overwrite: bool) -> Image:
    bands = list(image.bands)
    for band in more.bands if names is None else select(_world, more, names, None).bands:
        there = [each.name for each in bands]
        if overwrite and band.name in there:
            bands[there.index(band.name)] = band
        else:
            bands.append(replace(band, name=free_name(band.name, there)))
    return image.with_bands(bands)


@operation("Image.cat")
def cat(world: World, images: list) -> Image:
    joined = Image(())
    for number, image in enumerate(as_image(each) for each in images):
        joined = add_bands(world, joined if number else image.with_bands(()), image, None, False)
    return joined


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, with the first number behind it that makes it one that is not taken."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def each_with(image: Image, other: Image, name: str) -> list[tuple[Band, Band]]:
    """An image's bands, each with its own of another image's or with its only one."""
    if len(other.bands) not in (1, len(image.bands)):
        raise ServiceError(400, f"{name}: {len(other.bands)} bands for an image of {len(image.bands)}.")
    others = other.bands * len(image.bands) if len(other.bands) == 1 else other.bands
    return list(zip(image.bands, others, strict=True))


@operation("Image.where")
def where(_world: World, image: Image, test: Image, value: Image) -> Image:
    bands = []
    triples = zip(each_with(image, test, "Image.where"), each_with(image, value, "Image.where"), strict=True)
    for (band, tested), (_, valued) in triples:

        def compute(_grid: Any, old: Pixels, asked: Pixels, new: Pixels) -> Pixels:
            taken = (asked.values != 0) & (asked.mask > 0) & (new.mask > 0)
            return Pixels(np.where(taken, new.values, old.values), old.mask)

        kind = wider(band.kind, valued.kind)
        bands.append(band.with_node(Node(compute, [band.node, tested.node, valued.node]), kind))
    return image.with_bands(bands)


@operation("Image.updateMask")
def update_mask(world: World, image: Image, mask: Image) -> Image:
    def masks(old: Pixels, new: Pixels) -> np.ndarray:
        return np.where(old.mask > 0, np.minimum(old.mask, np.clip(new.values, 0, 1) * new.mask), 0)

    pairs = each_with(image, mask, "Image.updateMask")
    return image.with_bands(
        [band.with_node(pointwise(world, [band, by], lambda old, _: old, band.kind, masks)) for band, by in pairs]
    )


@operation("Image.selfMask")
def self_mask(world: World, image: Image) -> Image:
    return update_mask(world, image, image)


@operation("Image.mask")
def mask_of(_world: World, image: Image, mask: Image | None) -> Image:
    if mask is None:

        def shown(_grid: Any, pixels: Pixels) -> Pixels:
            return Pixels(pixels.mask, np.ones_like(pixels.mask))

        return image.with_bands([band.with_node(Node(shown, [band.node]), "float32", 0) for band in image.bands])

    def masks(_old: Pixels, new: Pixels) -> np.ndarray:
        return np.clip(new.values, 0, 1) * new.mask

    def filled(_grid: Any, old: Pixels, new: Pixels) -> Pixels:
        known = old.mask.reshape(old.mask.shape + (1,) * (old.values.ndim - 2)) > 0
        return Pixels(np.where(known, old.values, 0), masks(old, new))

    pairs = each_with(image, mask, "Image.mask")
    return image.with_bands([band.with_node(Node(filled, [band.node, by.node])) for band, by in pairs])


@operation("Image.unmask")
def unmask(_world: World, image: Image, value: Image | None, same_footprint: bool) -> Image:
    value = value or Image((constant(0),))
    bands = []
    for band, by in each_with(image, value, "Image.unmask"):

        def compute(grid: Any, old: Pixels, new: Pixels) -> Pixels:
            known = old.mask > 0
            kept = known.reshape(known.shape + (1,) * (old.values.ndim - 2))
            mask = np.where(known, old.mask, new.mask)
            if same_footprint and image.footprint is not None:
                mask = mask * Geometry(image.footprint).contains(*grid.centres(), grid.projection.crs)
            return Pixels(np.where(kept, old.values, new.values), mask)

        bands.append(band.with_node(Node(compute, [band.node, by.node]), wider(band.kind, by.kind)))
    return replace(image.with_bands(bands), footprint=image.footprint if same_footprint else None)


@operation("Image.clamp")
def clamp(world: World, image: Image, low: float, high: float) -> Image:
    return image.with_bands(
        [band.with_node(pointwise(world, [band], lambda v: np.clip(v, low, high), band.kind)) for band in image.bands]
    )


@operation("Image.normalizedDifference")
def normalised_difference(world: World, image: Image, names: list[str] | None) -> Image:
    one, other = (select(world, image, names, None) if names else image).bands[:2]

    def masks(left: Pixels, right: Pixels) -> np.ndarray:
        return np.minimum(left.mask, right.mask) * (left.values >= 0) * (right.values >= 0)

    def index(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return divide(left - right, left + right)

    band = replace(one.with_node(pointwise(world, [one, other], index, "float32", masks), "float32"), name="nd")
    return Image((band,), {}, image.footprint)
