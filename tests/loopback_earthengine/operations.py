"""The algorithms that the loopback computes, by name; here the operators, pixel by pixel.

Each takes the world and the arguments in the order of the algorithm list, defaults filled in and types checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from loopback_earthengine.assumptions import Assumptions
from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Image, Node, Pixels, Raster


@dataclass
class World:
    """What an expression can see: assets, collections, and how the service is taken to behave."""

    assets: Mapping[str, Raster] = field(default_factory=dict)
    collections: Mapping[str, Sequence[Raster]] = field(default_factory=dict)
    assumptions: Assumptions = field(default_factory=Assumptions)


OPERATIONS: dict[str, Callable[..., Any]] = {}


def operation(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what computes an algorithm."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def call(world: World, name: str, given: Mapping[str, Any]) -> Any:
    """Call an algorithm of the wheel's list with arguments by name."""
    from loopback_earthengine import signatures

    bound = signatures.bind(name, given)
    if name not in OPERATIONS:
        raise ServiceError(501, f"the loopback does not compute {name}")
    return OPERATIONS[name](world, *bound)


def rounded(world: World, values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers as their type holds them, in float64."""
    precision = world.assumptions.precision
    if precision == "14 bits" and kind in ("float32", "float64"):
        mantissa, exponent = np.frexp(values)
        return np.ldexp(np.rint(np.ldexp(mantissa, 14)), exponent - 14)
    if kind == "float32" or (precision == "single" and kind == "float64"):
        with np.errstate(over="ignore"):
            return values.astype(np.float32).astype(np.float64)
    return values


def pointwise(
    world: World,
    bands: Sequence[Band],
    function: Callable[..., np.ndarray],
    kind: str,
    masks: Callable[..., np.ndarray] | None = None,
) -> Node:
    """A node of a function of bands' values at the same pixel; masked where one is, unless `masks` says otherwise."""

    def compute(_grid: Any, *pixels: Pixels) -> Pixels:
        given = [each.values for each in pixels]
        alike = all(values.strides[:2] == (0, 0) for values in given)  # the same everywhere: computed once
        with np.errstate(all="ignore"):
            made = function(*(values[:1, :1] for values in given)) if alike else function(*given)
        values = rounded(world, np.asarray(made, np.float64), kind)
        if alike:
            values = np.broadcast_to(values, given[0].shape[:2] + values.shape[2:])
        mask = masks(*pixels) if masks else np.minimum.reduce([each.mask for each in pixels])
        return Pixels(values, mask)

    return Node(compute, [band.node for band in bands])


def paired(first: Image, second: Image, name: str) -> list[tuple[Band, Band, str]]:
    """The pairs of bands that an operator with two images works on, and the name of what comes out."""
    left, right = first.bands, second.bands
    if not left or not right:
        return []
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise ServiceError(
            400,
            f"{name}: Bands of images cannot be matched: {len(left)} and {len(right)} bands; "
            "the number must be the same, or one of them 1.",
        )
    if len(left) == 1:
        return [(left[0], each, each.name if len(right) > 1 else left[0].name) for each in right]
    if len(right) == 1:
        return [(each, right[0], each.name) for each in left]
    return [(one, other, one.name) for one, other in zip(left, right, strict=True)]


def wider(*kinds: str) -> str:
    """The type that holds numbers of all the types."""
    return np.result_type(*kinds).name


def divide(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A quotient, 0 where the divisor is 0."""
    left, right = np.broadcast_arrays(left, right)
    return np.divide(left, right, out=np.zeros(left.shape), where=right != 0)


def _bits(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda left, right: function(np.asarray(left).astype(np.int64), np.asarray(right).astype(np.int64))


TWO: dict[str, tuple[Callable[..., np.ndarray], str | None]] = {
    "add": (np.add, None),
    "subtract": (np.subtract, None),
    "multiply": (np.multiply, None),
    "divide": (divide, "real"),
    "mod": (np.fmod, None),
    "pow": (np.power, "real"),
    "max": (np.maximum, None),
    "min": (np.minimum, None),
    "hypot": (np.hypot, "real"),
    "atan2": (np.arctan2, "real"),
    "eq": (np.equal, "uint8"),
    "neq": (np.not_equal, "uint8"),
    "lt": (np.less, "uint8"),
    "lte": (np.less_equal, "uint8"),
    "gt": (np.greater, "uint8"),
    "gte": (np.greater_equal, "uint8"),
    "and": (lambda left, right: (left != 0) & (right != 0), "uint8"),
    "or": (lambda left, right: (left != 0) | (right != 0), "uint8"),
    "bitwiseAnd": (_bits(np.bitwise_and), None),
    "bitwiseOr": (_bits(np.bitwise_or), None),
    "bitwiseXor": (_bits(np.bitwise_xor), None),
    "leftShift": (_bits(np.left_shift), "int64"),
    "rightShift": (_bits(np.right_shift), None),
}
"""Operators of two images, numbers or arrays: the function, and the type of the result (None: the wider one)."""

ONE: dict[str, tuple[Callable[..., np.ndarray], str | None]] = {
    "abs": (np.abs, None),
    "exp": (np.exp, "real"),
    "log": (np.log, "real"),
    "log10": (np.log10, "real"),
    "sqrt": (np.sqrt, "real"),
    "sin": (np.sin, "real"),
    "cos": (np.cos, "real"),
    "tan": (np.tan, "real"),
    "tanh": (np.tanh, "real"),
    "floor": (np.floor, None),
    "ceil": (np.ceil, None),
    "round": (lambda value: np.floor(value + 0.5), None),
    "signum": (np.sign, None),
    "not": (lambda value: value == 0, "uint8"),
}
KINDS = {"Byte": "uint8", "Uint8": "uint8", "Int8": "int8", "Uint16": "uint16", "Int16": "int16", "Short": "int16"}
KINDS |= {"Uint32": "uint32", "Int32": "int32", "Int": "int32", "Int64": "int64", "Long": "int64"}
KINDS |= {"Float": "float32", "Double": "float64"}


SMALL = ("float32", "uint8", "int8", "int16", "uint16")
"""Types of which float32 holds every number."""


def _kind(rule: str | None, *kinds: str) -> str:
    if rule == "real":
        return (
            "float32" if all(kind in ("float32", "uint8", "int8", "int16", "uint16") for kind in kinds) else "float64"
        )
    return rule or wider(*kinds)


def _operator_of_two(word: str) -> None:
    function, rule = TWO[word]

    def on_pixels(world: World, one: Band, other: Band) -> tuple[Node, str, int]:
        if one.axes != other.axes and world.assumptions.array_with_number == "refused":
            raise ServiceError(400, f"Image.{word}: the operands are an array and a number.")
        if one.axes != other.axes and min(one.axes, other.axes):
            raise ServiceError(400, f"Image.{word}: Arrays of {one.axes} and {other.axes} dimensions.")
        axes, kind = max(one.axes, other.axes), _kind(rule, one.kind, other.kind)

        def compute(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            left = left.reshape(left.shape + (1,) * (axes - one.axes))
            right = right.reshape(right.shape + (1,) * (axes - other.axes))
            if axes and one.axes == other.axes and left.shape != right.shape:
                raise ServiceError(
                    400, f"Image.{word}: Array dimensions {left.shape[2:]} and {right.shape[2:]} differ."
                )
            return function(left, right)

        masks = None
        if word == "divide" and world.assumptions.division_by_zero == "masked":

            def masks(left: Pixels, right: Pixels) -> np.ndarray:
                return np.minimum(left.mask, right.mask) * (right.values != 0)

        return pointwise(world, [one, other], compute, kind, masks), kind, axes

    @operation(f"Image.{word}")
    def on_images(world: World, first: Image, second: Image) -> Image:
        bands = []
        for one, other, name in paired(first, second, f"Image.{word}"):
            node, kind, axes = on_pixels(world, one, other)
            bands.append(replace(one.with_node(node, kind, axes), name=name))
        return first.with_bands(bands)

    @operation(f"Number.{word}", f"Array.{word}")
    def on_numbers(_world: World, left: Any, right: Any) -> Any:
        with np.errstate(all="ignore"):
            made = np.asarray(function(np.asarray(left, float), np.asarray(right, float)), float)
        return made if made.ndim else float(made)


def _operator_of_one(word: str) -> None:
    function, rule = ONE[word]

    @operation(f"Image.{word}")
    def on_image(world: World, image: Image) -> Image:
        made = []
        for band in image.bands:
            kind = _kind(rule, band.kind)
            made.append(band.with_node(pointwise(world, [band], function, kind), kind))
        return image.with_bands(made)

    @operation(f"Number.{word}", f"Array.{word}")
    def on_numbers(_world: World, value: Any) -> Any:
        made = np.asarray(function(np.asarray(value, float)), float)
        return made if made.ndim else float(made)


def _cast(word: str, kind: str) -> None:
    def cast(values: np.ndarray) -> np.ndarray:
        if not kind.startswith(("int", "uint")):
            return values.astype(kind).astype(np.float64)
        limits = np.iinfo(kind)
        return np.clip(np.trunc(values), limits.min, limits.max)

    @operation(f"Image.to{word}", f"Image.{word[0].lower()}{word[1:]}")
    def on_image(world: World, image: Image) -> Image:
        return image.with_bands([band.with_node(pointwise(world, [band], cast, kind), kind) for band in image.bands])

    @operation(f"Array.to{word}", f"Array.{word[0].lower()}{word[1:]}")
    def on_array(_world: World, array: np.ndarray) -> np.ndarray:
        return cast(array)


for _word in TWO:
    _operator_of_two(_word)
for _word in ONE:
    _operator_of_one(_word)
for _word, _number in KINDS.items():
    _cast(_word, _number)
