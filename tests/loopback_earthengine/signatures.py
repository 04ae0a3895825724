"""The algorithm list that the client's wheel carries, and what the service says to arguments that do not fit it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ee
import numpy as np

from loopback_earthengine import values
from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Image

WHEEL = Path(ee.__file__).parent / "tests"


@cache
def algorithms() -> dict[str, dict]:
    """Name → algorithm, as the wheel lists them."""
    listed = json.loads((WHEEL / "algorithms.json").read_text())["algorithms"]
    return {entry["name"].removeprefix("algorithms/"): entry for entry in listed}


def bind(name: str, given: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call in the order of the algorithm's list, defaults filled in, each of the right type."""
    if name not in algorithms():
        raise ServiceError(400, f"Unable to find function '{name}'.")
    listed = algorithms()[name].get("arguments", [])
    unknown = sorted(set(given) - {entry["argumentName"] for entry in listed})
    if unknown:
        raise ServiceError(400, f"{name}: Unrecognized argument '{unknown[0]}'.")
    bound = []
    for entry in listed:
        argument = entry["argumentName"]
        value = given.get(argument)
        if value is None:
            if not entry.get("optional"):
                raise ServiceError(400, f"{name}: Parameter '{argument}' is required and may not be null.")
            bound.append(_default(entry))
            continue
        try:
            bound.append(accept(value, entry["type"]))
        except TypeError:
            expected, actual = entry["type"], kind_of(value)
            raise ServiceError(
                400,
                f"{name}, argument '{argument}': Invalid type.\nExpected type: {expected}.\nActual type: {actual}.",
            ) from None
    return bound


def _default(entry: Mapping[str, Any]) -> Any:
    default = entry.get("defaultValue")
    if isinstance(default, dict) and default.get("type"):  # a projection or an error margin, written out
        return values.written(default)
    return int(default) if entry["type"] in ("Integer", "Long") and default is not None else default


def accept(value: Any, type_: str) -> Any:
    """A value as an argument of that type; raises `TypeError` where it is not one."""
    if type_.startswith("List<"):
        if isinstance(value, np.ndarray):
            value = value.tolist()
        return [accept(entry, type_[5:-1]) for entry in require(value, list)]
    if type_.startswith("Dictionary"):
        return require(value, dict)
    if type_.startswith("Image<"):
        return values.as_image(value)
    if type_ in ("Integer", "Long"):
        number = values.as_number(value)
        if number != int(number):
            raise TypeError
        return int(number)
    if type_ in ("Float", "Number"):
        return values.as_number(value)
    if type_ == "Boolean":
        return bool(value) if isinstance(value, int | float) else require(value, bool)
    if type_ == "Array":
        return values.as_array(value)
    converters = {"Projection": values.as_projection, "Geometry": values.as_geometry, "Date": values.as_date}
    if type_ in converters:
        return converters[type_](value)
    plain = {
        "String": str,
        "Kernel": values.Kernel,
        "Reducer": values.Reducer,
        "Filter": values.Filter,
        "ImageCollection": values.ImageCollection,
        "FeatureCollection": values.ImageCollection,
        "Algorithm": values.Function,
        "Element": (Image, values.Feature, values.ImageCollection),
        "Feature": (values.Feature, Image),
        "DateRange": values.DateRange,
        "ErrorMargin": (int, float, values.ErrorMargin),
    }
    if type_ in plain:
        return require(value, plain[type_])
    if type_ in ("Object", "<any>"):
        return value
    raise ServiceError(501, f"the loopback knows no arguments of type {type_}")


def require(value: Any, kinds: Any) -> Any:
    """The value, where it is of these kinds."""
    if not isinstance(value, kinds):
        raise TypeError
    return value


def kind_of(value: Any) -> str:
    """The service's word for a value's type."""
    names = {str: "String", bool: "Boolean", int: "Integer", float: "Float", list: "List", dict: "Dictionary<Object>"}
    if isinstance(value, Image):
        return "Image<" + ", ".join(band.name for band in value.bands) + ">"
    return names.get(type(value), "Array" if isinstance(value, np.ndarray) else type(value).__name__)
