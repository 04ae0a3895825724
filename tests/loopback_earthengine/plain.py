"""Numbers, texts, lists, dictionaries, dates, arrays, geometries and properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Image, Projection
from loopback_earthengine.operations import World, operation
from loopback_earthengine.values import (
    Date,
    DateRange,
    ErrorMargin,
    Feature,
    Function,
    Geometry,
    as_array,
    as_date,
    as_projection,
)


@operation("String")
def text(_world: World, value: Any) -> str:
    return value if isinstance(value, str) else str(value)


@operation("String.cat")
def text_cat(_world: World, one: str, other: str) -> str:
    return one + other


@operation("List.get")
def list_get(_world: World, values: list, index: int) -> Any:
    if not -len(values) <= index < len(values):
        raise ServiceError(400, f"List.get: List index out of range: {index}")
    return values[index]


@operation("List.map")
def list_map(_world: World, values: list, function: Function, drop_nulls: bool) -> list:
    made = [function.call({function.arguments[0]: each}) for each in values]
    return [each for each in made if each is not None] if drop_nulls else made


@operation("List.iterate")
def list_iterate(_world: World, values: list, function: Function, first: Any) -> Any:
    for each in values:
        first = function.call(dict(zip(function.arguments, (each, first), strict=True)))
    return first


@operation("List.size", "List.length")
def list_size(_world: World, values: list) -> int:
    return len(values)


@operation("List.sequence")
def list_sequence(_world: World, start: float, end: float | None, step: float, count: int | None) -> list:
    if count is not None:
        return np.linspace(start, end, count).tolist() if end is not None else [start + step * n for n in range(count)]
    return np.arange(start, end + step / 2, step).tolist()


@operation("Dictionary")
def dictionary(_world: World, value: Any) -> dict:
    return dict(value or {})


@operation("Dictionary.get")
def dictionary_get(_world: World, values: dict, key: str, default: Any) -> Any:
    if key not in values and default is None:
        raise ServiceError(400, f"Dictionary.get: Dictionary does not contain key: '{key}'.")
    return values.get(key, default)


@operation("Dictionary.getNumber")
def dictionary_get_number(_world: World, values: dict, key: str) -> Any:
    return dictionary_get(_world, values, key, None)


@operation("Dictionary.combine")
def dictionary_combine(_world: World, one: dict, other: dict, overwrite: bool) -> dict:
    return {**one, **other} if overwrite else {**other, **one}


@operation("Dictionary.keys")
def dictionary_keys(_world: World, values: dict) -> list:
    return sorted(values)


@operation("Date")
def date(_world: World, value: Any, _zone: Any) -> Date:
    return as_date(value)


@operation("Date.millis")
def date_millis(_world: World, value: Date) -> int:
    return int(value.milliseconds)


@operation("Date.get")
def date_get(_world: World, value: Date, unit: str, _zone: Any) -> int:
    return getattr(datetime.fromtimestamp(value.milliseconds / 1000, UTC), unit)


@operation("Date.advance")
def date_advance(_world: World, value: Date, delta: float, unit: str, _zone: Any) -> Date:
    seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
    unit = unit.rstrip("s")
    if unit in seconds:
        return Date(value.milliseconds + delta * seconds[unit] * 1000)
    at = datetime.fromtimestamp(value.milliseconds / 1000, UTC)
    months = at.year * 12 + at.month - 1 + int(delta) * {"month": 1, "year": 12}[unit]
    return Date(at.replace(year=months // 12, month=months % 12 + 1).timestamp() * 1000)


@operation("DateRange")
def date_range(_world: World, start: Any, end: Any, _zone: Any) -> DateRange:
    first = as_date(start).milliseconds
    return DateRange(first, as_date(end).milliseconds if end is not None else first + 1)


@operation("ErrorMargin")
def error_margin(_world: World, value: float | None, _unit: str) -> ErrorMargin:
    return ErrorMargin(value or 0.0)


@operation("Projection")
def projection(_world: World, crs: Any, transform: list | None, _wkt: str | None) -> Projection:
    there = as_projection(crs)
    return replace(there, transform=tuple(float(each) for each in transform)) if transform else there


@operation("Projection.atScale")
def at_scale(_world: World, there: Projection, metres: float) -> Projection:
    return there.at_scale(metres)


@operation("Projection.nominalScale")
def nominal_scale(_world: World, there: Projection) -> float:
    return there.metres


@operation("Projection.crs")
def crs_of(_world: World, there: Projection) -> str:
    return there.crs


@operation("Array")
def array(_world: World, values: Any, _type: Any) -> np.ndarray:
    try:
        return as_array(values)
    except TypeError:
        raise ServiceError(400, "Array: Invalid values.") from None


@operation("Array.matrixMultiply")
def array_matrix_multiply(_world: World, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[0]:
        raise ServiceError(400, f"Array.matrixMultiply: Shapes {one.shape} and {other.shape} cannot be multiplied.")
    return one @ other


@operation("Array.reshape")
def array_reshape(_world: World, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return values.reshape([int(each) for each in lengths])


@operation("Array.cat")
def array_cat(_world: World, arrays: list[np.ndarray], axis: int) -> np.ndarray:
    grown = [each[..., None] if axis == each.ndim else each for each in arrays]
    return np.concatenate(grown, axis)


@operation("Array.slice")
def array_slice(_world: World, values: np.ndarray, axis: int, start: int, end: int | None, step: int) -> np.ndarray:
    return values[(slice(None),) * axis + (slice(start, end, step),)]


@operation("Array.transpose", "Array.matrixTranspose")
def array_transpose(_world: World, values: np.ndarray, one: int, other: int) -> np.ndarray:
    return np.swapaxes(values, one, other)


@operation("Array.get")
def array_get(_world: World, values: np.ndarray, position: list[int]) -> float:
    return float(values[tuple(position)])


@operation("Array.toList")
def array_to_list(_world: World, values: np.ndarray) -> list:
    return values.tolist()


@operation("GeometryConstructors.Point")
def point(_world: World, coordinates: list, crs: Projection | None) -> Geometry:
    return _geometry({"type": "Point", "coordinates": coordinates}, crs)


@operation("GeometryConstructors.Polygon")
def polygon(_world: World, coordinates: list, crs: Projection | None, *_: Any) -> Geometry:
    return _geometry({"type": "Polygon", "coordinates": coordinates}, crs)


@operation("GeometryConstructors.MultiPolygon")
def multi_polygon(_world: World, coordinates: list, crs: Projection | None, *_: Any) -> Geometry:
    return _geometry({"type": "MultiPolygon", "coordinates": coordinates}, crs)


@operation("GeometryConstructors.Rectangle")
def rectangle(_world: World, coordinates: list, crs: Projection | None, *_: Any) -> Geometry:
    numbers = np.ravel(coordinates)
    return _in(shapely.box(*numbers[:2], *numbers[-2:]), crs)


@operation("GeometryConstructors.BBox")
def bounding_box(_world: World, west: float, south: float, east: float, north: float) -> Geometry:
    return Geometry(shapely.box(west, south, east, north))


def _geometry(geojson: dict, crs: Projection | None) -> Geometry:
    try:
        return _in(shape(geojson), crs)
    except (ValueError, TypeError, IndexError) as error:
        raise ServiceError(400, f"Invalid GeoJSON geometry: {error}") from None


def _in(made: Any, crs: Projection | None) -> Geometry:
    if crs is None:
        return Geometry(made)
    return Geometry(shapely.transform(made, lambda at: np.stack(crs.places(*at.T), 1)), crs.crs)


@operation("Geometry.bounds")
def bounds(_world: World, geometry: Geometry, *_: Any) -> Geometry:
    return Geometry(shapely.box(*geometry.degrees().bounds))


@operation("Geometry.intersects")
def intersects(_world: World, one: Geometry, other: Geometry, *_: Any) -> bool:
    return bool(one.degrees().intersects(other.degrees()))


@operation("Geometry.coordinates")
def coordinates(_world: World, geometry: Geometry) -> list:
    return shape_coordinates(geometry)


def shape_coordinates(geometry: Geometry) -> list:
    """Nested lists, as in GeoJSON."""
    from shapely.geometry import mapping

    def lists(value: Any) -> Any:
        return [lists(each) for each in value] if isinstance(value, tuple | list) else value

    return lists(mapping(geometry.shape)["coordinates"])


@operation("Feature")
def feature(_world: World, geometry: Any, metadata: dict, _key: str | None) -> Feature:
    return Feature(geometry, dict(metadata))


@operation("Element.get", "Element.getNumber", "Element.getString", "Element.getArray")
def get(_world: World, element: Any, key: str) -> Any:
    return element.properties.get(key)


@operation("Element.set")
def set_(_world: World, element: Any, key: str, value: Any) -> Any:
    return replace(element, properties={**element.properties, key: value})


@operation("Element.setMulti")
def set_multi(_world: World, element: Any, values: dict) -> Any:
    return replace(element, properties={**element.properties, **values})


@operation("Element.copyProperties", "Image.copyProperties")
def copy_properties(_world: World, to: Any, source: Any, names: list | None, exclude: list | None) -> Any:
    kept = {key: value for key, value in source.properties.items() if names is None or key in names}
    kept = {key: value for key, value in kept.items() if key not in (exclude or []) and not key.startswith("system:")}
    return replace(to, properties={**to.properties, **kept})


@operation("Element.propertyNames")
def property_names(_world: World, element: Any) -> list:
    return list(element.properties)


@operation("Image.bandNames")
def band_names(_world: World, image: Image) -> list:
    return [band.name for band in image.bands]


@operation("Image.id")
def id_of(_world: World, image: Image) -> str:
    return image.properties.get("system:index", "")


@operation("Image.date")
def image_date(_world: World, image: Image) -> Date:
    return as_date(image.properties["system:time_start"])
