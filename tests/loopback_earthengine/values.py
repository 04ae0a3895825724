"""What flows through an expression besides images, and what the service takes for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import mapping, shape

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import DEGREE, Band, Image, Node, Pixels, Projection, transformed


@dataclass(frozen=True)
class Date:
    """An instant, in milliseconds since 1970."""

    milliseconds: float


@dataclass(frozen=True)
class DateRange:
    """From `start` until before `end`, in milliseconds."""

    start: float
    end: float


@dataclass(frozen=True)
class ErrorMargin:
    """How exact a geometry must be; the loopback's are exact."""

    value: float = 0.0


@dataclass(frozen=True)
class Geometry:
    """A shapely geometry in a coordinate system."""

    shape: Any
    crs: str = "EPSG:4326"

    def degrees(self) -> Any:
        """The geometry in longitude and latitude."""
        if CRS(self.crs) == CRS("EPSG:4326"):
            return self.shape
        return shapely.transform(self.shape, lambda at: np.stack(transformed(*at.T, self.crs, "EPSG:4326"), 1))

    def contains(self, x: np.ndarray, y: np.ndarray, crs: str) -> np.ndarray:
        """Whether points in a coordinate system lie within."""
        return shapely.contains_xy(self.shape, *transformed(x, y, crs, self.crs))


@dataclass(frozen=True)
class Feature:
    """A geometry with properties."""

    geometry: Geometry | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kernel:
    """Weights (rows × columns) and the row and column of the focus."""

    weights: np.ndarray
    row: int
    column: int


@dataclass(frozen=True)
class Reducer:
    """Its output's name; from numbers (… × n) and whether each counts (the same) to one number, NaN where none."""

    name: str
    reduce: Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Filter:
    """Whether an element is kept."""

    keeps: Callable[[Any], bool]


@dataclass(frozen=True)
class Collection:
    """Images or features, in order."""

    elements: tuple[Any, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)


ImageCollection = Collection


@dataclass(frozen=True)
class Function:
    """A function of the expression: called with its arguments by name."""

    arguments: tuple[str, ...]
    call: Callable[[Mapping[str, Any]], Any]


REQUIRED = ("system:time_start", "system:time_end")


def constant(value: Any, name: str = "constant") -> Band:
    """A band that is the same number or array everywhere."""
    numbers = np.asarray(value, np.float64)

    def compute(grid: Any) -> Pixels:
        shape_ = (grid.height, grid.width)
        return Pixels(np.broadcast_to(numbers, shape_ + numbers.shape), np.ones(shape_))

    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return Band(name, Node(compute), "int32" if whole else "float64", axes=numbers.ndim)


def as_image(value: Any) -> Image:
    """An image: one, or a number, an array, a list of those."""
    if isinstance(value, Image):
        return value
    if isinstance(value, list) and value:
        bands = [as_image(entry).bands for entry in value]
        if len(bands) == 1:
            return Image(bands[0])
        return Image(tuple(Band(f"constant_{number}", *_rest(each[0])) for number, each in enumerate(bands)))
    if isinstance(value, int | float | np.ndarray) and not isinstance(value, bool):
        return Image((constant(value),))
    raise TypeError


def _rest(band: Band) -> tuple:
    return band.node, band.kind, band.projection, band.axes


def as_number(value: Any) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def as_array(value: Any) -> np.ndarray:
    """An array: one, a number or nested lists of them."""
    if isinstance(value, str | dict | bool):
        raise TypeError
    try:
        return np.asarray(value, np.float64)
    except (ValueError, TypeError):
        raise TypeError from None


def as_projection(value: Any) -> Projection:
    """A projection: one, or the name of a coordinate system."""
    if isinstance(value, Projection):
        return value
    if not isinstance(value, str):
        raise TypeError
    try:
        CRS(value)
        read = not value.startswith("+")  # codes and well-known text; PROJ's words are not the service's
    except CRSError:
        read = False
    if not read:
        raise ServiceError(400, f"The CRS of a map projection could not be parsed: '{value}'.")
    return Projection(value, DEGREE)


def as_geometry(value: Any) -> Geometry:
    """A geometry: one, GeoJSON, or that of a feature or image."""
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Feature) and value.geometry:
        return value.geometry
    if isinstance(value, Image) and value.footprint is not None:
        return Geometry(value.footprint)
    if isinstance(value, Collection):
        return Geometry(shapely.union_all([as_geometry(element).degrees() for element in value.elements]))
    if isinstance(value, dict) and "type" in value:
        return Geometry(shape(value))
    raise TypeError


def as_date(value: Any) -> Date:
    """A date: one, text, or milliseconds since 1970."""
    if isinstance(value, Date):
        return value
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return Date((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return Date(as_number(value))


def written(value: Mapping[str, Any]) -> Any:
    """A default that the algorithm list writes out."""
    if value["type"] == "Projection":
        return Projection(value["crs"], tuple(value["transform"]))
    return ErrorMargin(value["value"])


def answer(value: Any) -> Any:
    """A value as the JSON that the service answers with."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | float | np.number):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if isinstance(value, np.ndarray):
        return [answer(entry) for entry in value] if value.ndim else answer(value.item())
    if isinstance(value, list | tuple):
        return [answer(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: answer(entry) for key, entry in value.items()}
    if isinstance(value, Projection):
        return {"type": "Projection", "crs": value.crs, "transform": list(value.transform)}
    if isinstance(value, Date):
        return {"type": "Date", "value": answer(value.milliseconds)}
    if isinstance(value, DateRange):
        return {"type": "DateRange", "dates": [answer(value.start), answer(value.end)]}
    if isinstance(value, Geometry):
        return dict(mapping(value.shape))
    if isinstance(value, Feature):
        geometry = answer(value.geometry) if value.geometry else None
        return {"type": "Feature", "geometry": geometry, "properties": answer(value.properties)}
    if isinstance(value, Collection):
        kind = "ImageCollection" if value.elements and isinstance(value.elements[0], Image) else "FeatureCollection"
        return {"type": kind, "features": [answer(element) for element in value.elements], "bands": []}
    if isinstance(value, Image):
        bands = [answer_band(band) for band in value.bands]
        named = {"id": value.id} if value.id else {}
        return {"type": "Image", "bands": bands, "properties": answer(value.properties), **named}
    raise ServiceError(400, f"The value cannot be written as JSON: {type(value).__name__}.")


def answer_band(band: Band) -> dict:
    """What an image's description says of a band."""
    whole = band.kind.startswith(("int", "uint"))
    type_ = {"type": "PixelType", "precision": "int" if whole else {"float32": "float"}.get(band.kind, "double")}
    if band.axes:
        type_["dimensions"] = band.axes
    projection = band.projection
    return {"id": band.name, "data_type": type_, "crs": projection.crs, "crs_transform": list(projection.transform)}
