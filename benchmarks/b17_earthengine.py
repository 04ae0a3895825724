"""B17: the reference network compiled to Earth Engine, against a node for each kernel as converters write it.

Ours: `waterscape.earthengine.compile` of `PixelNetwork(8)` with softmax, and the request that the client makes of it.
Peer: the same network with the same rounded weights, written with the client's objects as is usual: a `convolve` for
each channel in and out, added up one after another, the bias, the ReLU.

`MB` and `seconds` are ours, against the project's goals; `smaller` and `faster` are ratios to the peer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import ee
import torch
from torch import nn

from benchmarks.figure import Figure, note
from waterscape.earthengine import Pixels, compile  # noqa: A004 (the word of the field)
from waterscape.earthengine.expression import computed, request
from waterscape.earthengine.operations import Convolution, Program
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.sources.landsat.bands import BANDS

VERSIONS = {"earthengine-api": ee.__version__}
ROUNDS = 7
BRIEF = {"ROUNDS": 1}


def figures() -> Iterator[Figure]:
    """Size and time of a request, ours and the peer's."""
    torch.manual_seed(0)
    network = nn.Sequential(PixelNetwork(8), nn.Softmax(1)).eval()
    image = ee.ComputedObject("Image.load", {"id": "image"})
    ours = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        compiled = compile(network, BANDS, Pixels("EPSG:4326", metres=30))
        size = len(json.dumps(request(computed(compiled.graph, image))))
        ours.append(time.perf_counter() - began)
    began = time.perf_counter()
    peer_size = len(json.dumps(ee.serializer.encode(node_per_kernel(compiled.program, image))))
    peer = time.perf_counter() - began
    note(f"B17 ours {size / 1e6:.2f} MB in {min(ours):.2f} s, peer {peer_size / 1e6:.2f} MB in {peer:.1f} s")
    yield Figure("B17", "MB", size / 1e6, "<=", 0.5)
    yield Figure.over("B17", "seconds", ours, "<=", 1.5)
    yield Figure("B17", "smaller", peer_size / size, ">=", 10)
    yield Figure.over("B17", "faster", [peer / seconds for seconds in ours], ">=", 5)


def node_per_kernel(program: Program, image: Any) -> Any:
    """The reference network with a `convolve` for each channel in and out."""

    def made(name: str, **arguments: Any) -> Any:
        return ee.ComputedObject(name, arguments)

    def number(value: float) -> Any:
        return made("Image.constant", value=value)

    def layer(convolution: Convolution, bands: list[Any], last: bool) -> list[Any]:
        outputs = []
        for weights, bias in zip(convolution.weight.tolist(), convolution.bias.tolist(), strict=True):
            total = number(bias)
            for band, kernel in zip(bands, weights, strict=True):
                fixed = made("Kernel.fixed", width=len(kernel[0]), height=len(kernel), weights=kernel)
                total = made("Image.add", image1=total, image2=made("Image.convolve", image=band, kernel=fixed))
            outputs.append(total if last else made("Image.max", image1=total, image2=number(0)))
        return outputs

    first, second, third, fourth, fifth = (each for each in program.operations if isinstance(each, Convolution))
    bands = [made("Image.select", input=image, bandSelectors=[name]) for name in BANDS]
    hidden = layer(second, layer(first, bands, last=False), last=False)
    hidden = layer(third, hidden + bands, last=False)
    water, land = layer(fifth, layer(fourth, hidden + bands, last=False), last=True)
    difference = made("Image.exp", value=made("Image.subtract", image1=land, image2=water))
    return made("Image.divide", image1=number(1), image2=made("Image.add", image1=number(1), image2=difference))
