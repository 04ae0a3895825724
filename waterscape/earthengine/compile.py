"""A torch network as a function of images on Earth Engine's servers: same numbers, no upload, no model hosting.

compiled = compile(network, bands=["B2", …, "elevation"], pixels=Pixels("EPSG:32718", metres=30))
probabilities = compiled(composite)        # an ee.Image; nothing is sent
print(compiled.javascript())               # the same for the Code Editor
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import ee
import numpy as np
from torch import Tensor, nn

from waterscape.earthengine import javascript
from waterscape.earthengine.conventions import ASSUMED, Conventions
from waterscape.earthengine.expression import LONGEST_CHAIN, Call, call, chain, check_size, computed, request
from waterscape.earthengine.lowering import Backend, lowered
from waterscape.earthengine.operations import Convolution, Program
from waterscape.earthengine.pixels import Pixels
from waterscape.earthengine.rounding import rounded
from waterscape.earthengine.trace import trace
from waterscape.errors import UserError

LEAST_BYTES = len("0.1, ")
"""What a weight takes in a request, at least."""


@dataclass(frozen=True)
class Compiled:
    """A network that Earth Engine can compute; `compile` makes it.

    Attributes:
        program: its operations, with rounded weights; called on a tensor (N C H W), they give what the servers give.
        bands: names of the input's bands, in the network's order.
        names: names of the output's bands.
        pixels: what every result is pinned to.
        backend: "kernels", "matrices", or None: the smaller form of each convolution.
        conventions: how the service is taken to lay kernels and order neighbours.
        error: the largest difference that rounding the weights made in an output, as measured.
        margin: rows above and below, and columns left and right of a pixel, that it depends on: a result is masked
            where one of them is masked, or beyond the image's edge.
    """

    program: Program
    bands: tuple[str, ...]
    names: tuple[str, ...]
    pixels: Pixels
    backend: Backend | None
    conventions: Conventions
    error: float
    title: str = field(default="a network")

    @cached_property
    def graph(self) -> Call:
        """The calls, of the image that is given later."""
        image = lowered(self.program, self.bands, self.backend, self.conventions)
        named = call("Image.rename", image, list(self.names))
        return call("Image.reproject", named, call("Projection", self.pixels.crs), list(self.pixels.lattice))

    @cached_property
    def margin(self) -> tuple[int, int]:
        """Rows, columns."""
        seen = self.program.alignments()[-1].seen()
        return max(abs(down) for down, _ in seen), max(abs(right) for _, right in seen)

    @cached_property
    def bytes(self) -> int:
        """Size of the request's JSON for a stored image; what another image is made of comes on top."""
        stored = ee.ComputedObject("Image.load", {"id": "image"})
        return len(json.dumps(request(computed(self.graph, stored))))

    def __call__(self, image: ee.Image) -> ee.Image:
        """What the network makes of an image that has the bands: an image, pinned to the pixels of training.

        Whatever scale the result is asked for, the servers compute it at these pixels and take the nearest of them;
        zoomed far out they refuse instead ("reprojection output too large"). The client must be initialised.

        Raises:
            UserError: an image whose graph and this one's together exceed what the service takes.
        """
        result = computed(self.graph, image)
        request(result)
        image_of_it: ee.Image = ee.Image(result)
        return image_of_it

    def javascript(self) -> str:
        """A script for the Code Editor with a function `network(image)` that computes the same."""
        return javascript.script(self.graph, self.title, self.bands, self.names, self.pixels)

    def under(self, conventions: Conventions) -> Compiled:
        """The same for a service of other conventions, as `probe.measure` finds them."""
        return replace(self, conventions=conventions)


def compile(  # noqa: A001 (the word of the field)
    network: nn.Module,
    bands: Sequence[str],
    pixels: Pixels,
    *,
    names: Sequence[str] = (),
    backend: Backend | None = None,
    tolerance: float = 1e-6,
    samples: Tensor | None = None,
    conventions: Conventions = ASSUMED,
) -> Compiled:
    """Turn a network into operations of Earth Engine's servers, without any request.

    Known are networks of Conv2d (any kernel, dilation and groups; stride 1, padding 0), Linear, BatchNorm (folded),
    ReLU, ReLU6, LeakyReLU, Hardtanh, Sigmoid, Softmax, concatenation, cropping, sums, and products with constants.

    Args:
        network: takes N C H W (or N C: each pixel by itself) and returns the same; evaluation mode is meant.
        bands: names of the image's bands that are its channels, in its order.
        pixels: those of the training tiles.
        names: of the output's bands; none: output0, output1, …
        backend: one form for all convolutions; None: the smaller form of each.
        tolerance: how far rounding the weights may move an output, absolute, as measured on `samples`.
        samples: pictures (N C H W) like those that will come; None: random numbers, most of them in −1 … 1.
        conventions: of the service, where they were measured.

    Raises:
        UserError: a layer that has no exact form, named with its place; wrong bands or names; a graph larger or deeper
            than the service takes.
    """
    _check_names("bands", bands)
    program = trace(network, len(bands))
    outputs = program.channels()[-1]
    names = tuple(names) or tuple(f"output{number}" for number in range(outputs))
    _check_names("names", names)
    if len(names) != outputs:
        raise UserError(f"names for {len(names)} bands, and the network gives {outputs}: name each of them")
    if samples is not None and (samples.ndim != 4 or samples.shape[1] != len(bands)):
        raise UserError(f"samples of shape {tuple(samples.shape)}: give N × {len(bands)} × H × W")
    _check_numbers(program)
    check_size(LEAST_BYTES * sum(each.weight.size for each in program.operations if isinstance(each, Convolution)))
    found = rounded(program, tolerance, samples)
    title = type(network).__name__
    made = Compiled(found.program, tuple(bands), names, pixels, backend, conventions, found.error, title)
    if (length := chain(made.graph)) > LONGEST_CHAIN:
        raise UserError(
            f"the network becomes {length} operations one after another, and the Earth Engine client writes at most "
            f"{LONGEST_CHAIN} without reaching Python's recursion limit: take a network of fewer layers"
        )
    assert made.bytes  # a graph that is too large is told here
    return made


def _check_numbers(program: Program) -> None:
    for each in program.operations:
        written = [value for value in vars(each).values() if isinstance(value, np.ndarray)]
        if not all(np.isfinite(numbers).all() for numbers in written):
            raise UserError(f"{each.place} has weights that are not finite: take a checkpoint from before they were")


def _check_names(what: str, names: Sequence[str]) -> None:
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{what}: give a list of names")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{what}: {name!r} comes twice")
        if not name.replace("_", "").isalnum() or not name.isascii():
            raise UserError(f"{what}: {name!r} may hold letters, digits and _ alone")
