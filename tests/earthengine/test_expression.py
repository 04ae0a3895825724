"""Calls of algorithms: as the wheel's list has them, and as the client sends them."""

from __future__ import annotations

import json
from pathlib import Path

import ee
import numpy as np
import pytest

from waterscape.earthengine.expression import (
    ARGUMENTS,
    PICTURE,
    call,
    chain,
    computed,
    constant,
    in_order,
    in_pairs,
    nesting,
    on,
    request,
)

WHEEL = Path(ee.__file__).parent / "tests" / "algorithms.json"


def test_arguments_are_those_of_the_service_in_its_order():
    if not WHEEL.exists():
        pytest.skip("this earthengine-api carries no list of algorithms")
    listed = {each["name"].removeprefix("algorithms/"): each for each in json.loads(WHEEL.read_text())["algorithms"]}
    for name, arguments in ARGUMENTS.items():
        theirs = [argument["argumentName"] for argument in listed[name].get("arguments", [])]
        assert theirs[: len(arguments)] == list(arguments), name
        needed = [each["argumentName"] for each in listed[name].get("arguments", []) if not each.get("optional")]
        assert set(needed) <= set(arguments), name


def test_it_is_what_the_client_writes_by_itself():
    """The client's own objects, made with functions by name, give the same request."""
    image = ee.ComputedObject("Image.load", {"id": "x"})
    sums = call("Image.add", call("Image.multiply", PICTURE, constant(2.5)), PICTURE)
    two = ee.ComputedObject("Image.constant", {"value": 2.5})
    product = ee.ComputedObject("Image.multiply", {"image1": image, "image2": two})
    theirs = ee.ComputedObject("Image.add", {"image1": product, "image2": image})
    assert request(computed(sums, image)) == ee.serializer.encode(theirs)


def test_a_shared_call_is_sent_once():
    last = PICTURE
    for _ in range(20):
        last = call("Image.add", last, last)
    expression = request(computed(last, ee.ComputedObject("Image.load", {"id": "x"})))
    assert json.dumps(expression).count("Image.add") == 20
    assert chain(last) == 21
    assert len(in_order(last)) == 21
    assert chain(on(last, constant(1))) == 21


def test_joined_in_pairs_stays_shallow():
    calls = [constant(number) for number in range(37)]
    joined = in_pairs(lambda one, other: call("Image.add", one, other), calls)
    assert chain(joined) == 1 + 6
    constants = [each.arguments[0] for each in in_order(joined) if each.algorithm == "Image.constant"]
    assert constants == list(range(37))


def test_nesting_is_that_of_the_text():
    value = {"a": [[1, 2], [[3]]], "b": {"c": 0}}
    assert nesting(value) == 4
    assert nesting(np.zeros((2, 3)).tolist()) == 2
    assert nesting(3) == 0
