"""The script for the Code Editor makes the same graph as the Python client: run by node with a recording `ee`."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch
from grown_networks import BANDS, Grown
from torch import nn

from waterscape.earthengine import Pixels, compile  # noqa: A004
from waterscape.earthengine.expression import PICTURE, Call, in_order
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.sources.landsat.bands import BANDS as EIGHT

RECORDING = """
const calls = [];
function record(algorithm, given) {
  const written = given.map(value => value instanceof Object && 'number' in value ? {call: value.number} : {is: value});
  const made = {number: calls.push([algorithm, written]) - 1};
  return new Proxy(made, {get: (target, word) => word === 'number' || typeof word === 'symbol' ? target[word] :
    (...more) => record('Image.' + word, [made, ...more])});
}
const family = name => new Proxy({}, {get: (_, word) => (...given) => record(name + '.' + word, given)});
const ee = {Array: value => record('Array', [value]), Projection: crs => record('Projection', [crs]),
            Image: family('Image'), Kernel: family('Kernel'), Reducer: family('Reducer')};
const result = network(record('picture', []));
console.log(JSON.stringify({calls, result: result.number}));
"""
PIXELS = Pixels("EPSG:4326", metres=30)
STEPS = [
    ("convolution", 3, (3, 2), 2, True),
    ("norm",),
    ("activation", "leaky"),
    ("residual",),
    ("activation", "sigmoid"),
    ("activation", "hardtanh"),
    ("arithmetic",),
    ("activation", "softmax"),
]


def recorded(script):
    if not shutil.which("node"):
        pytest.skip("needs node")
    done = subprocess.run(["node"], input=script + RECORDING, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return json.loads(done.stdout)


def as_text(algorithm, arguments):
    return f"{algorithm}({', '.join(arguments)})"


def test_it_makes_the_same_graph():
    torch.manual_seed(0)
    reference = nn.Sequential(PixelNetwork(8, widths=(4, 4, 6, 5)), nn.Softmax(1))
    for network, bands, backend in [(reference, EIGHT, None), (Grown(STEPS, 1), BANDS, "kernels")]:
        compiled = compile(network, bands, PIXELS, backend=backend)
        found = recorded(compiled.javascript())
        theirs: list[int] = []  # a number for each different call, so that equal calls have equal numbers
        numbers: dict[str, int] = {}
        for algorithm, arguments in found["calls"]:
            words = [f"#{theirs[each['call']]}" if "call" in each else json.dumps(each["is"]) for each in arguments]
            theirs.append(numbers.setdefault(as_text(algorithm, words), len(numbers)))
        ours: dict[Call, int] = {}
        for each in in_order(compiled.graph):
            words = [
                f"#{ours[value]}" if isinstance(value, Call) else json.dumps(as_javascript(value))
                for value in each.arguments
            ]
            text = as_text("picture" if each is PICTURE else each.algorithm, words)
            assert text in numbers, text[:300]
            ours[each] = numbers[text]
        assert ours[compiled.graph] == theirs[found["result"]]


def as_javascript(value):
    """JavaScript writes 1.0 as 1."""
    if isinstance(value, list | tuple):
        return [as_javascript(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_its_head_says_what_goes_in_and_comes_out():
    compiled = compile(PixelNetwork(8), EIGHT, PIXELS, names=["water", "land"])
    head = compiled.javascript().partition("function network(image)")[0]
    assert "B2, B3, B4, B5, B6, MNDWI, line, elevation" in head
    assert "water, land" in head
    assert "EPSG:4326" in head
    assert all(line.startswith("//") for line in head.splitlines())
