"""Calls of Earth Engine's algorithms, as values: for the Python client, for the size of a request, and for JavaScript.

The client's own objects are made when a picture is given: they need no credentials and no list of algorithms. Numbers
are handed over in whole blocks; the client would look at each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ee
from ee.encodable import Encodable

from waterscape.errors import UserError

REQUEST_BYTES = 10_000_000
"""What a request may hold (Earth Engine, usage quotas: 10 MB)."""
NESTING = 100
"""How deep a request's JSON may be nested (the client's serializer: "the backend's limit is 100")."""
LONGEST_CHAIN = 150
"""Calls one after another that the Python client can write: it recurs, and 1000 frames are Python's default limit."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "Array": ("values",),
    "GeometryConstructors.Point": ("coordinates",),
    "Image.add": ("image1", "image2"),
    "Image.addBands": ("dstImg", "srcImg"),
    "Image.arrayFlatten": ("image", "coordinateLabels"),
    "Image.arrayProject": ("input", "axes"),
    "Image.constant": ("value",),
    "Image.convolve": ("image", "kernel"),
    "Image.divide": ("image1", "image2"),
    "Image.exp": ("value",),
    "Image.gt": ("image1", "image2"),
    "Image.gte": ("image1", "image2"),
    "Image.mask": ("image",),
    "Image.matrixMultiply": ("image1", "image2"),
    "Image.max": ("image1", "image2"),
    "Image.min": ("image1", "image2"),
    "Image.multiply": ("image1", "image2"),
    "Image.neighborhoodToBands": ("image", "kernel"),
    "Image.pixelCoordinates": ("projection",),
    "Image.pow": ("image1", "image2"),
    "Image.reduce": ("image", "reducer"),
    "Image.reduceRegion": ("image", "reducer", "geometry", "scale", "crs", "crsTransform"),
    "Image.rename": ("input", "names"),
    "Image.reproject": ("image", "crs", "crsTransform"),
    "Image.select": ("input", "bandSelectors", "newNames"),
    "Image.subtract": ("image1", "image2"),
    "Image.toArray": ("image", "axis"),
    "Image.toFloat": ("value",),
    "Image.unmask": ("input", "value", "sameFootprint"),
    "Image.updateMask": ("image", "mask"),
    "Kernel.fixed": ("width", "height", "weights"),
    "Projection": ("crs", "transform"),
    "Reducer.first": (),
    "Reducer.max": (),
    "Reducer.min": (),
    "Reducer.sum": (),
}
"""The algorithms that are used, with the arguments that are given, in the order of the service's signatures."""

Argument: TypeAlias = "Call | float | str | Sequence[Any] | None"


@dataclass(frozen=True, eq=False)
class Call:
    """One algorithm with its arguments; a call that two others use is computed once."""

    algorithm: str
    arguments: tuple[Argument, ...]

    def named(self) -> Iterator[tuple[str, Argument]]:
        """The arguments with their names; those that are None are left to the service."""
        names = ARGUMENTS[self.algorithm][: len(self.arguments)]
        return ((name, value) for name, value in zip(names, self.arguments, strict=True) if value is not None)


PICTURE = Call("picture", ())
"""Stands for the image that is given later."""


def call(algorithm: str, *arguments: Argument) -> Call:
    """An algorithm of `ARGUMENTS`, with arguments in its order."""
    assert len(arguments) <= len(ARGUMENTS[algorithm]), algorithm
    return Call(algorithm, arguments)


def constant(value: Any) -> Call:
    """An image of one number, of a band for each number in a list, or of one array."""
    return call("Image.constant", value)


def in_order(last: Call) -> list[Call]:
    """All calls that one needs, each once, after those that it uses; without recursion."""
    done: dict[Call, None] = {}
    stack = [(last, False)]
    while stack:
        each, ready = stack.pop()
        if each in done:
            continue
        if ready:
            done[each] = None
        else:
            stack.append((each, True))
            stack += [(argument, False) for argument in reversed(each.arguments) if isinstance(argument, Call)]
    return list(done)


def on(last: Call, picture: Call) -> Call:
    """The same calls with another in the place of `PICTURE`."""
    made = {PICTURE: picture}
    for each in in_order(last):
        if each is not PICTURE:
            arguments = tuple(made[value] if isinstance(value, Call) else value for value in each.arguments)
            made[each] = Call(each.algorithm, arguments)
    return made[last]


def in_pairs(join: Callable[[Call, Call], Call], calls: Sequence[Call]) -> Call:
    """Many joined two by two, in order: as many joins, but a chain of only log2 of them."""
    row = list(calls)
    while len(row) > 1:
        row = [join(*row[at : at + 2]) if at + 1 < len(row) else row[at] for at in range(0, len(row), 2)]
    return row[0]


class _Numbers(Encodable):
    """A constant in one piece."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def encode_cloud_value(self, encoder: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"constantValue": self.value}


def computed(last: Call, picture: ee.ComputedObject | None = None) -> ee.ComputedObject:
    """The client's object for a call; `picture` stands for `PICTURE`."""
    made: dict[Call, Any] = {PICTURE: picture}
    for each in in_order(last):
        if each is not PICTURE:
            arguments = {
                name: made[value] if isinstance(value, Call) else _Numbers(value) for name, value in each.named()
            }
            made[each] = ee.ComputedObject(each.algorithm, arguments)
    result: ee.ComputedObject = made[last]
    return result


def request(computed_object: ee.ComputedObject) -> dict[str, Any]:
    """What the client sends for an object; checked against the service's limits, before anything is sent.

    Raises `UserError` where the service would refuse it.
    """
    try:
        expression: dict[str, Any] = ee.serializer.encode(computed_object, for_cloud_api=True)
    except RecursionError:
        raise UserError(
            "the image is made of too many operations one after another for the Earth Engine client: store what comes "
            "before the network as an asset, or take a network of fewer layers"
        ) from None
    check_size(len(json.dumps(expression)))
    if (depth := nesting(expression)) > NESTING:
        raise UserError(
            f"the graph is nested {depth} deep and Earth Engine takes {NESTING}: store what comes before the network "
            "as an asset"
        )
    return expression


def check_size(size: int) -> None:
    """Raise `UserError` where a request is larger, in bytes, than the service takes."""
    if size > REQUEST_BYTES:
        raise UserError(
            f"the graph is {size / 1e6:.1f} MB and Earth Engine takes {REQUEST_BYTES / 1e6:.0f} MB a request: take a "
            "smaller network or a larger tolerance"
        )


def nesting(value: Any) -> int:
    """How many objects and lists of a JSON value stand within one another, itself included."""
    deepest, row = 0, [value] if isinstance(value, dict | list) else []
    while row:
        deepest, row = deepest + 1, [inner for each in row for inner in _inner(each)]
    return deepest


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [entry for entry in value.values() if isinstance(entry, dict | list)]
    # a list of numbers has nothing within; one look at its first entry spares a look at the other thousands
    return (
        [entry for entry in value if isinstance(entry, dict | list)]
        if isinstance(value[0] if value else 0, dict | list)
        else []
    )


def chain(last: Call) -> int:
    """How many calls stand one after another, at most."""
    length: dict[Call, int] = {}
    for each in in_order(last):
        length[each] = 1 + max((length[other] for other in each.arguments if isinstance(other, Call)), default=0)
    return length[last]
