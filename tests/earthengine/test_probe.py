"""The probes find out in which world they are, and refuse where a compiled network assumes another."""

from __future__ import annotations

import dataclasses
import itertools

import ee
import pytest
from grown_networks import BANDS
from loopback_earthengine import Assumptions, serve
from torch import nn

from waterscape.earthengine import ASSUMED, Conventions, Pixels, compile  # noqa: A004
from waterscape.earthengine.probe import check, every_convention, measure, probes
from waterscape.errors import UserError

PIXELS = [Pixels("EPSG:32718", metres=30), Pixels("EPSG:4326", metres=30), Pixels("EPSG:3413", metres=100)]


@pytest.fixture(scope="module")
def server():
    with serve() as running:
        running.connect()
        yield running


def test_the_assumed_world_is_first_and_all_are_different():
    found = list(every_convention())
    assert found[0] == ASSUMED
    assert len(set(found)) == len(found) == 32


@pytest.mark.parametrize("pixels", PIXELS, ids=lambda pixels: pixels.crs)
def test_nothing_is_refused_where_all_is_as_assumed(server, pixels):
    server.world.assumptions = Assumptions()
    asked = len(server.requests)
    assert measure(pixels) == ASSUMED
    assert len(server.requests) == asked + 2
    check(compile(nn.Conv2d(3, 2, 3), BANDS, pixels))


@pytest.mark.parametrize(
    ("kernel", "order", "bands"),
    list(
        itertools.product(
            ["as written", "flipped"], ["rows", "columns", "rows flipped"], ["band first", "neighbour first"]
        )
    ),
)
def test_every_world_is_measured(server, kernel, order, bands):
    world = Assumptions(convolve_kernel=kernel, neighbour_order=order, neighbour_bands=bands)
    server.world.assumptions = world
    step = -1 if order == "rows flipped" else 1
    expected = Conventions(kernel == "flipped", bands == "band first", order != "columns", step, step)
    found = measure(PIXELS[0])
    assert found == expected
    compiled = compile(nn.Conv2d(3, 2, 3), BANDS, PIXELS[0])
    check(compiled.under(found))
    if expected != ASSUMED:
        with pytest.raises(UserError, match=r"Earth Engine answers the probe '(kernel|order)' otherwise"):
            check(compiled)


def test_masked_neighbours_and_precision_make_no_difference(server):
    for change in ({"masked_neighbours": "skipped"}, {"precision": "single"}, {"array_with_number": "refused"}):
        server.world.assumptions = dataclasses.replace(Assumptions(), **change)
        check(compile(nn.Conv2d(3, 2, 3), BANDS, PIXELS[0]))


@pytest.mark.parametrize(
    ("change", "probe"),
    [({"matrix_rows": "second axis"}, "network of matrices"), ({"reprojected_scale": "request"}, "scale")],
)
def test_a_world_in_which_nothing_would_be_right_is_refused(server, change, probe):
    server.world.assumptions = dataclasses.replace(Assumptions(), **change)
    with pytest.raises((UserError, ee.EEException), match=f"'{probe}'|Matrix|matri|dimension"):
        check(compile(nn.Conv2d(3, 2, 3), BANDS, PIXELS[0]))


def test_answers_that_fit_nothing_are_refused():
    def nonsense(expression):  # noqa: ARG001
        return {"down": 0.5, "right": 0.5}

    with pytest.raises(UserError, match=r"answers the probe 'kernel' otherwise.*down is 0\.5, expected -1\.0"):
        measure(PIXELS[0], compute=nonsense)


def test_probes_are_small():
    for probe in probes(PIXELS[0]):
        assert len(ee.serializer.toJSON(probe.expression)) < 25_000
