"""The calls of a compiled network as a script for Earth Engine's Code Editor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from waterscape.earthengine.expression import PICTURE, Argument, Call, in_order
from waterscape.earthengine.pixels import Pixels

STATIC = {"Array": "ee.Array", "Projection": "ee.Projection", "Image.constant": "ee.Image.constant"}
"""Algorithms that are not methods of their first argument, besides those of `ee.Kernel` and `ee.Reducer`."""

HEAD = """\
// {title}, compiled to Earth Engine by waterscape.
// Input: an image with the bands {bands}.
// Output: the bands {names}, masked where a pixel that they depend on is masked.
// The result is pinned to pixels of {crs} with the transform {lattice}, those of training:
// it is the same at every zoom.
// Example: Map.addLayer(network(image).select(0), {{min: 0, max: 1}});
"""


def script(graph: Call, title: str, bands: Sequence[str], names: Sequence[str], pixels: Pixels) -> str:
    """A function `network(image)`, and a head that says what it takes and gives."""
    lattice = ", ".join(f"{number:g}" for number in pixels.lattice)
    head = HEAD.format(
        title=title, bands=", ".join(bands), names=", ".join(names), crs=pixels.crs, lattice=f"[{lattice}]"
    )
    return head + "\n".join(["function network(image) {", *_statements(graph), "}", ""])


def _statements(graph: Call) -> list[str]:
    """A variable for each image, so that none is written twice; kernels, arrays and reducers stand in place."""
    calls = in_order(graph)
    uses = Counter(argument for each in calls for argument in each.arguments if isinstance(argument, Call))
    written = {PICTURE: "image"}
    lines = []
    for each in calls:
        if each is PICTURE:
            continue
        text = _call(each, written)
        if each is graph:
            lines.append(f"  return {text};")
        elif uses[each] > 1 or (each.algorithm.startswith("Image.") and each.algorithm != "Image.constant"):
            written[each] = f"x{len(lines)}"
            lines.append(f"  var {written[each]} = {text};")
        else:
            written[each] = text
    return lines


def _call(each: Call, written: dict[Call, str]) -> str:
    words = [_written(argument, written) for argument in each.arguments]
    kind, _, method = each.algorithm.partition(".")
    if each.algorithm in STATIC or kind != "Image":
        return f"{STATIC.get(each.algorithm, f'ee.{each.algorithm}')}({', '.join(words)})"
    return f"{words[0]}.{method}({', '.join(words[1:])})"


def _written(argument: Argument, written: dict[Call, str]) -> str:
    return written[argument] if isinstance(argument, Call) else json.dumps(argument)
