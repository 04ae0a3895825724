"""Questions to the live service about what its documentation leaves open, each with the answer that is expected.

Each is one small `value:compute` request about a single pixel; nothing is stored. `measure` finds which conventions the
service follows, `check` refuses where a compiled network assumes others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import ee
import numpy as np
import torch
from pyproj import CRS, Transformer

from waterscape.earthengine.compile import Compiled
from waterscape.earthengine.conventions import ASSUMED, Conventions
from waterscape.earthengine.expression import Call, call, computed, constant, on
from waterscape.earthengine.lowering import Backend, fixed, lowered, names_of
from waterscape.earthengine.operations import Clamp, Concatenation, Convolution, Crop, Program
from waterscape.earthengine.pixels import Pixels
from waterscape.errors import UserError

Answer: TypeAlias = Mapping[str, float | None]  # None: masked
Compute: TypeAlias = Callable[[ee.ComputedObject], Any]

CLOSE = 1e-4
"""How far an answer may be off: single precision on numbers of the probes' size."""
SECOND = 10_000
"""What the second band's numbers have on top of the first one's."""
AROUND = {(down, right): 1 for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2)}
"""Three rows and five columns: rows and columns cannot be mistaken for one another."""


@dataclass(frozen=True)
class Probe:
    """An expression and what it must give; `settles` says what for."""

    name: str
    settles: str
    expression: ee.ComputedObject
    expected: Answer

    def agrees(self, answer: Answer) -> bool:
        """Whether the service gave what is expected."""
        return all(_close(value, answer.get(band)) for band, value in self.expected.items())


def _close(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return abs(expected - found) < CLOSE


def measure(pixels: Pixels, compute: Compute = ee.data.computeValue) -> Conventions:
    """The conventions that the service follows, by two requests: `compiled.under(…)` takes them.

    Args:
        pixels: those of training: the orientation of their rows plays a part.
        compute: sends an expression and returns its value.

    Raises:
        UserError: the service's answers fit no conventions that are known.
        ee.EEException: what the client raises where a request fails.
    """
    answers = {build: compute(build(pixels).expression) for build in (kernel_probe, order_probe)}
    for conventions in every_convention():
        if all(build(pixels, conventions).agrees(answer) for build, answer in answers.items()):
            return conventions
    for build, answer in answers.items():
        if not any(build(pixels, conventions).agrees(answer) for conventions in every_convention()):
            raise _disagreement(build(pixels), answer)
    raise AssertionError("the two probes settle different fields")


def check(compiled: Compiled, compute: Compute = ee.data.computeValue) -> None:
    """Raise `UserError` where the live service does not do what a compiled network assumes of it."""
    for probe in probes(compiled.pixels, compiled.conventions, compiled.backend):
        answer = compute(probe.expression)
        if not probe.agrees(answer):
            raise _disagreement(probe, answer)


def _disagreement(probe: Probe, answer: Answer) -> UserError:
    band = next(band for band, value in probe.expected.items() if not _close(value, answer.get(band)))
    return UserError(
        f"Earth Engine answers the probe '{probe.name}' otherwise than the network assumes ({probe.settles}): {band} "
        f"is {answer.get(band)}, expected {probe.expected[band]}; nothing is sent, since the results would be wrong"
    )


def every_convention() -> Iterator[Conventions]:
    """All that are known, the assumed ones first."""
    booleans = (False, True)
    for turned, bands, rows, down, right in itertools.product(booleans, booleans, booleans, (1, -1), (1, -1)):
        yield Conventions(
            turned != ASSUMED.turned_kernels, bands != ASSUMED.bands_first, rows != ASSUMED.by_rows, down, right
        )


def probes(pixels: Pixels, conventions: Conventions = ASSUMED, backend: Backend | None = None) -> list[Probe]:
    """All questions, with the answers under some conventions."""
    forms: tuple[Backend, ...] = (backend,) if backend else ("kernels", "matrices")
    networks = [network_probe(pixels, conventions, form) for form in forms]
    return [
        kernel_probe(pixels, conventions),
        order_probe(pixels, conventions),
        *networks,
        *(masked_probe(pixels, conventions, form) for form in forms),
        scale_probe(pixels, conventions),
    ]


def kernel_probe(pixels: Pixels, conventions: Conventions = ASSUMED) -> Probe:
    """A kernel of a single 1, one row up and two columns to the right: which neighbour does `convolve` take?"""
    place = _Place.in_area(pixels)
    taken = call("Image.convolve", place.steps(), fixed({(-1, 2): 1}))
    turn = -1 if conventions.turned_kernels else 1
    expected = {"down": -1.0 * turn, "right": 2.0 * turn}
    return Probe("kernel", "whether convolve turns its kernel", place.ask(taken), expected)


def order_probe(pixels: Pixels, conventions: Conventions = ASSUMED) -> Probe:
    """The neighbours of two bands whose numbers say where they come from: in which order does the service give them?"""
    place = _Place.in_area(pixels)
    neighbours = call("Image.neighborhoodToBands", place.codes(), fixed(dict.fromkeys(AROUND, 1)))
    names = names_of(2 * len(AROUND))
    listed = call("Image.arrayFlatten", call("Image.toArray", neighbours), [names])
    order = conventions.neighbours(2, AROUND)
    expected = {name: float(_code(*offset) + SECOND * band) for name, (band, offset) in zip(names, order, strict=True)}
    return Probe("order", "the order of neighborhoodToBands", place.ask(listed), expected)


def network_probe(pixels: Pixels, conventions: Conventions = ASSUMED, backend: Backend = "matrices") -> Probe:
    """Convolutions with weights that are all different and a skip connection, against torch."""
    place, program = _Place.in_area(pixels), _network()
    down, right = np.meshgrid(np.arange(-1, 2), np.arange(-1, 2), indexing="ij")
    value = program(torch.tensor(np.stack([down, right])[None] / 1.0)).reshape(-1).tolist()
    made = lowered(program, ["down", "right"], backend, conventions)
    made = call("Image.rename", on(made, place.steps()), names_of(2))
    expected = dict(zip(names_of(2), value, strict=True))
    return Probe(f"network of {backend}", "what a compiled network computes", place.ask(made), expected)


def masked_probe(pixels: Pixels, conventions: Conventions = ASSUMED, backend: Backend = "matrices") -> Probe:
    """The same beside a masked pixel: is the result masked, and the one that does not see it unchanged?"""
    place, program = _Place.in_area(pixels), _network()
    steps = place.steps()
    right = call("Image.select", steps, ["right"])
    asked = {}
    for name, gap in (("near", 1.0), ("far", 2.0)):  # columns to the right of it are masked from here on
        known = call("Image.gt", constant(gap - 0.5), right)
        made = on(lowered(program, ["down", "right"], backend, conventions), call("Image.updateMask", steps, known))
        asked[name] = call("Image.rename", call("Image.select", made, [0]), [name])
    both = call("Image.addBands", asked["near"], asked["far"])
    unchanged = network_probe(pixels, conventions, backend).expected["c0"]
    expected = {"near": None, "far": unchanged}
    return Probe(f"masked of {backend}", "what becomes of pixels beside masked ones", place.ask(both), expected)


def scale_probe(pixels: Pixels, conventions: Conventions = ASSUMED) -> Probe:
    """A neighbour asked for in pixels three times as large: is it still the neighbour in the training pixels?"""
    place = _Place.in_area(pixels)
    turn = -1 if conventions.turned_kernels else 1
    taken = call("Image.convolve", place.steps(), fixed({(-turn, 2 * turn): 1}))
    pinned = call("Image.reproject", taken, call("Projection", pixels.crs), list(pixels.lattice))
    expected = {"down": -1.0, "right": 2.0}
    return Probe("scale", "whether reproject pins the pixels that are computed with", place.ask(pinned, 3), expected)


def _code(down: int, right: int) -> int:
    return 100 * down + right


def _network() -> Program:
    """A small network with the operations of the reference one: bands 2 → 2, three by three pixels are seen."""
    weight = (np.arange(36, dtype=np.float64).reshape(2, 2, 3, 3) - 11) / 16
    last = np.array([[1.0, -0.5, 0.25, 2.0], [0.5, 1.0, -2.0, 0.125]])[:, :, None, None]
    operations = (
        Convolution(sources=(0,), weight=weight, bias=np.array([0.25, -1.5])),
        Clamp(sources=(1,), low=0.0),
        Crop(sources=(0,), top=1, left=1, bottom=1, right=1),
        Concatenation(sources=(2, 3)),
        Convolution(sources=(4,), weight=last, bias=np.array([0.5, 0.0])),
    )
    return Program(2, operations)


@dataclass(frozen=True)
class _Place:
    """A pixel of the lattice, in the middle of where its coordinate system is meant to be used."""

    pixels: Pixels
    column: int
    row: int

    @classmethod
    @cache
    def in_area(cls, pixels: Pixels) -> _Place:
        width, _, left, _, height, top = pixels.lattice
        area = CRS(pixels.crs).area_of_use
        if area is None:
            return cls(pixels, 0, 0)
        forward = Transformer.from_crs("EPSG:4326", pixels.crs, always_xy=True)
        x, y = forward.transform((area.west + area.east) / 2 + 0.1, (area.south + area.north) / 2 + 0.1)
        return cls(pixels, int((x - left) // width), int((y - top) // height))

    def centre(self) -> tuple[float, float]:
        width, _, left, _, height, top = self.pixels.lattice
        return left + width * (self.column + 0.5), top + height * (self.row + 0.5)

    def steps(self) -> Call:
        """Rows below (`down`) and columns to the right of (`right`) this pixel, as two bands."""
        lattice = call("Projection", self.pixels.crs, list(self.pixels.lattice))
        here = constant([self.row + 0.5, self.column + 0.5])
        coordinates = call("Image.select", call("Image.pixelCoordinates", lattice), ["y", "x"], ["down", "right"])
        return call("Image.subtract", coordinates, here)

    def codes(self) -> Call:
        """One number for each place, in two bands."""
        steps = self.steps()
        down, right = (call("Image.select", steps, [band]) for band in ("down", "right"))
        first = call("Image.add", call("Image.multiply", down, constant(_code(1, 0))), right)
        second = call("Image.rename", call("Image.add", first, constant(SECOND)), ["second"])
        return call("Image.addBands", call("Image.rename", first, ["first"]), second)

    def ask(self, image: Call, times: int = 1) -> ee.ComputedObject:
        """The values of an image at this pixel, or in one so many times as large around it."""
        width, _, _, _, height, _ = self.pixels.lattice
        x, y = self.centre()
        lattice = [times * width, 0.0, x - times * width / 2, 0.0, times * height, y - times * height / 2]
        if times == 1:
            lattice = list(self.pixels.lattice)
        back = Transformer.from_crs(self.pixels.crs, "EPSG:4326", always_xy=True)
        point = call("GeometryConstructors.Point", list(back.transform(x, y)))
        crs = call("Projection", self.pixels.crs)
        return computed(call("Image.reduceRegion", image, call("Reducer.first"), point, None, crs, lattice))
