"""Collections of images, and reducers over images and over bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Grid, Image, Node, Pixels, Projection, evaluate
from loopback_earthengine.operations import World, operation, wider
from loopback_earthengine.values import (
    Collection,
    Function,
    Geometry,
    Reducer,
    as_geometry,
)

DEFAULT = Projection()  # of composites: one degree a pixel
SOMEWHERE = Grid(DEFAULT, 0, 0, 2, 2)
CONSTANTS = ("int32", "float64")
"""The types of numbers as they are written."""


def _masked(function: Callable[..., Any]) -> Callable[[np.ndarray, np.ndarray], Any]:
    def reduce(values: np.ndarray, known: np.ndarray) -> Any:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all NaN: nothing there
            return function(np.where(known, values, np.nan), axis=-1)

    return reduce


def _lower_median(values: np.ndarray, axis: int) -> np.ndarray:
    return np.nanquantile(values, 0.5, axis=axis, method="lower")


def _sum(values: np.ndarray, axis: int) -> np.ndarray:
    return np.where(np.isnan(values).all(axis), np.nan, np.nansum(values, axis=axis))


def _first(values: np.ndarray, axis: int) -> np.ndarray:
    known = ~np.isnan(values)
    return np.take_along_axis(values, np.expand_dims(known.argmax(axis), axis), axis).squeeze(axis)


REDUCERS = {
    "mean": np.nanmean,
    "min": np.nanmin,
    "max": np.nanmax,
    "sum": _sum,
    "first": _first,
    "firstNonNull": _first,
    "stdDev": np.nanstd,
    "product": lambda values, axis: np.where(np.isnan(values).all(axis), np.nan, np.nanprod(values, axis=axis)),
    "count": lambda values, axis: (~np.isnan(values)).sum(axis).astype(float),
}


def reducer_of(world: World, word: str) -> Reducer:
    """The reducer of that name."""
    if word == "median":
        return Reducer(word, _masked(np.nanmedian if world.assumptions.median_of_even == "mean" else _lower_median))
    return Reducer(word, _masked(REDUCERS[word]))


def _register(word: str) -> None:
    @operation(f"Reducer.{word}")
    def make(world: World, *_: Any) -> Reducer:
        return reducer_of(world, word)

    if word in ("mean", "min", "max", "sum", "median", "count", "product"):

        @operation(f"reduce.{word}")
        def over_images(world: World, images: Collection) -> Image:
            return _reduced(images, reducer_of(world, word), "")


for _word in (*REDUCERS, "median"):
    _register(_word)


@operation("Reducer.toList")
def to_list_reducer(_w: World, size: int | None, optional: int) -> Reducer:
    if size is not None or optional:
        raise ServiceError(501, "the loopback lists single numbers only")
    return Reducer("list", lambda values, known: [values[known].tolist()] if values.ndim == 1 else NotImplemented)


def _reduced(images: Collection, reducer: Reducer, suffix: str) -> Image:
    if not images.elements:
        return Image(())
    _check_homogeneous(images)
    names = [band.name for band in images.elements[0].bands]
    made = []
    for name in names:
        bands = [band for image in images.elements for band in image.bands if band.name == name]
        made.append(_over(bands, reducer, name + suffix))
    return Image(tuple(made), {}, _union(images))


def _check_homogeneous(images: Collection) -> None:
    """What is reduced must have the same bands, each of one type: constants' types are their range of one number."""
    expected = {band.name: _type(band) for band in images.elements[0].bands}
    for image in images.elements[1:]:
        said = "Expected a homogeneous image collection, but an image with incompatible bands was encountered"
        names = [band.name for band in image.bands]
        if names != list(expected):
            raise ServiceError(400, f"{said}: {len(expected)} bands {list(expected)}, {len(names)} bands {names}.")
        for band in image.bands:
            first, this = expected[band.name], _type(band)
            if first != this:
                message = f"Mismatched type for band '{band.name}': Expected type: {first}. Actual type: {this}"
                raise ServiceError(400, f"{said}. {message}. Some bands might require explicit casts.")


def _type(band: Band) -> str:
    """A band's type; with its range where it is the same number everywhere and was not cast to another type."""
    if band.kind in CONSTANTS and not band.axes:
        (pixels,) = evaluate([band.node], SOMEWHERE)
        if pixels.values.strides == (0, 0):
            return f"{band.kind}<{pixels.values[0, 0]:g}, {pixels.values[0, 0]:g}>"
    return band.kind


def _union(images: Collection) -> Any:
    import shapely

    shapes = [image.footprint for image in images.elements]
    return None if any(each is None for each in shapes) else shapely.union_all(shapes)


def _over(bands: list[Band], reducer: Reducer, name: str) -> Band:
    def compute(_grid: Grid, *pixels: Pixels) -> Pixels:
        values = np.stack([each.values for each in pixels], -1)
        known = np.stack([each.mask for each in pixels], -1) > 0
        found = np.asarray(reducer.reduce(values, known), float)
        there = known.any(-1)
        return Pixels(np.where(there, found, 0), there.astype(float))

    kind = wider(*(band.kind for band in bands))
    kind = {"mean": "float64", "median": "float64", "stdDev": "float64", "count": "int32"}.get(reducer.name, kind)
    return Band(name, Node(compute, [band.node for band in bands]), kind, DEFAULT)


@operation("ImageCollection.reduce")
def reduce_images(_world: World, images: Collection, reducer: Reducer, _scale: float) -> Image:
    return _reduced(images, reducer, f"_{reducer.name}")


@operation("Image.reduce")
def reduce_bands(_world: World, image: Image, reducer: Reducer) -> Image:
    band = replace(_over(list(image.bands), reducer, reducer.name), projection=image.bands[0].projection)
    return image.with_bands([band])


@operation("ImageCollection.mosaic")
def mosaic(_world: World, images: Collection) -> Image:
    """The last image on top."""
    last = Reducer("last", _masked(lambda values, axis: _first(values[..., ::-1], axis)))
    return _reduced(images, last, "")


@operation("ImageCollection.qualityMosaic")
def quality_mosaic(_world: World, images: Collection, quality: str) -> Image:
    scenes = images.elements
    by = [next((band for band in image.bands if band.name == quality), None) for image in scenes]
    if not scenes or None in by:
        raise ServiceError(400, f"ImageCollection.qualityMosaic: No band named '{quality}'.")
    _check_homogeneous(images)
    made = []
    for number, band in enumerate(scenes[0].bands):
        bands = [image.bands[number] for image in scenes]

        def compute(_grid: Grid, *pixels: Pixels) -> Pixels:
            values, quality_ = pixels[: len(pixels) // 2], pixels[len(pixels) // 2 :]
            scores = np.stack([np.where(each.mask > 0, each.values, -np.inf) for each in quality_])
            best = scores.argmax(0)[None]
            seen = np.take_along_axis(np.stack([each.values for each in values]), best, 0)[0]
            mask = np.take_along_axis(np.stack([each.mask for each in values]), best, 0)[0]
            return Pixels(seen, mask * np.isfinite(scores.max(0)))

        made.append(Band(band.name, Node(compute, [each.node for each in [*bands, *by]]), band.kind, DEFAULT))
    return Image(tuple(made), {}, _union(images))


@operation("ImageCollection.load")
def load_collection(world: World, name: str, _version: int | None) -> Collection:
    if name in world.collections:
        rasters = enumerate(world.collections[name])
        edge = world.assumptions.shared_edge
        return Collection(tuple(raster.image(f"{name}/{number:04d}", edge) for number, raster in rasters))
    inside = [asset for asset in world.assets if asset.rsplit("/", 1)[0] == name]
    if not inside:
        message = f"ImageCollection.load: ImageCollection asset '{name}' not found (does not exist or caller does not "
        raise ServiceError(400, message + "have access).")
    return Collection(tuple(world.assets[asset].image(asset) for asset in inside))


@operation("Collection.loadTable")
def load_table(world: World, name: str, _geometry: str | None, _version: int | None) -> Collection:
    if name not in world.collections:
        message = f"Collection.loadTable: Collection asset '{name}' not found (does not exist or caller does not "
        raise ServiceError(400, message + "have access).")
    return Collection(tuple(world.collections[name]))


@operation("ImageCollection.fromImages")
def from_images(_world: World, images: list[Image]) -> Collection:
    return Collection(tuple(images))


@operation("ImageCollection.merge", "Collection.merge")
def merge(_world: World, one: Collection, other: Collection) -> Collection:
    return Collection(one.elements + other.elements, one.properties)


@operation("Collection")
def collection(_world: World, features: list) -> Collection:
    return Collection(tuple(features))


@operation("Collection.map")
def map_collection(_world: World, images: Collection, function: Function, drop_nulls: bool) -> Collection:
    made = [function.call({function.arguments[0]: element}) for element in images.elements]
    if None in made and not drop_nulls:
        raise ServiceError(400, "Collection.map: A mapped algorithm must return a Feature or Image.")
    made = [
        replace(each, properties={"system:index": element.properties.get("system:index"), **each.properties})
        for each, element in zip(made, images.elements, strict=True)
        if each is not None
    ]
    return Collection(tuple(made), images.properties)


@operation("Collection.filter")
def filter_collection(_world: World, images: Collection, rule: Any) -> Collection:
    return Collection(tuple(element for element in images.elements if rule.keeps(element)), images.properties)


@operation("Collection.limit")
def limit(_world: World, images: Collection, number: int | None, key: str | None, ascending: bool) -> Collection:
    elements = list(images.elements)
    if key is not None:
        elements.sort(key=lambda element: element.properties.get(key, 0), reverse=not ascending)
    return Collection(tuple(elements[:number]), images.properties)


@operation("Collection.size")
def size(_world: World, images: Collection) -> int:
    return len(images.elements)


@operation("Collection.first")
def first(_world: World, images: Collection) -> Any:
    return images.elements[0] if images.elements else None


@operation("Collection.toList")
def to_list(_world: World, images: Collection, count: int, offset: int) -> list:
    return list(images.elements[offset : offset + count])


@operation("Collection.geometry")
def collection_geometry(_world: World, images: Collection, *_: Any) -> Geometry:
    return as_geometry(images)
