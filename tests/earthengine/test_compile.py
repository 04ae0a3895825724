"""The compiled graph against torch, through the real client and the loopback: equal under its assumptions."""

from __future__ import annotations

import sys

import ee
import numpy as np
import pytest
import rasterio
import torch
from grown_networks import BANDS, CRS, TRANSFORM, Grown, networks, picture
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loopback_earthengine import Assumptions, Raster, serve
from loopback_earthengine.asking import pixels, stack
from torch import nn

from waterscape import models
from waterscape.earthengine import Conventions, Pixels, compile  # noqa: A004
from waterscape.earthengine.expression import LONGEST_CHAIN, PICTURE, call, chain, computed, request
from waterscape.errors import UserError
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.sources.landsat.bands import BANDS as EIGHT
from waterscape.sources.landsat.bands import band_stack

LATTICE = Pixels(CRS, transform=TRANSFORM)
WORLDS = [
    (Assumptions(masked_pixels="nan"), Conventions()),
    (
        Assumptions(masked_pixels="nan", convolve_kernel="flipped", neighbour_order="columns"),
        Conventions(turned_kernels=True, by_rows=False),
    ),
    (
        Assumptions(masked_pixels="nan", neighbour_bands="neighbour first", neighbour_order="rows flipped"),
        Conventions(bands_first=False, down=-1, right=-1),
    ),
    (
        Assumptions(
            masked_pixels="nan", masked_neighbours="skipped", array_with_number="refused", division_by_zero="masked"
        ),
        Conventions(),
    ),
]
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def server():
    with serve() as running:
        running.connect()
        yield running


def stored(server, bands, names=BANDS, assumptions=WORLDS[0][0], transform=TRANSFORM):
    """An asset of bands (C H W; NaN: masked) as the client's image."""
    server.world.assumptions = assumptions
    server.world.assets = {"scene": Raster(dict(zip(names, bands, strict=True)), CRS, transform)}
    return ee.Image("scene")


def asked(image, shape, transform=TRANSFORM):
    """Bands × rows × columns; NaN: masked."""
    return np.moveaxis(stack(pixels(image, CRS, transform, shape)), -1, 0)


def through_torch(network, bands):
    """The network in float64 on bands (C H W), at the servers' pixels: NaN where it does not reach.

    NaN in the input is NaN wherever torch sees it; where a tensor is shorter by an odd number, one more is cut off at
    the bottom and right.
    """
    with torch.no_grad():
        made = network.double()(torch.from_numpy(bands)[None].double())[0].numpy()
    whole = np.full((len(made), *bands.shape[1:]), np.nan)
    down, right = ((here - there) // 2 for here, there in zip(bands.shape[1:], made.shape[1:], strict=True))
    whole[:, down : down + made.shape[1], right : right + made.shape[2]] = made
    return whole


def same(found, expected, within=1e-5):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=within)


def reference():
    torch.manual_seed(0)
    return nn.Sequential(PixelNetwork(8), nn.Softmax(1))


TWICE_EVEN = Grown([("convolution", 3, (2, 2), 1, True), ("convolution", 2, (2, 2), 1, True), ("skip",)], 0)
UNEVEN = Grown([("convolution", 4, (3, 2), 2, True), ("residual",), ("depthwise",)], 1)


def check_against_torch(server, backend, network, world):
    assumptions, conventions = world
    bands = picture(network.rows + 3, network.columns + 4)
    compiled = compile(network, BANDS, LATTICE, backend=backend, conventions=conventions)
    found = asked(compiled(stored(server, bands, assumptions=assumptions)), bands.shape[1:])
    same(found, through_torch(network, bands))


@pytest.mark.parametrize("backend", [None, "kernels", "matrices"])
@FEW
@given(network=networks(), world=st.sampled_from(WORLDS))
@example(network=TWICE_EVEN, world=WORLDS[1])
@example(network=UNEVEN, world=WORLDS[2])
def test_random_networks_are_torch(server, backend, network, world):
    check_against_torch(server, backend, network, world)


@pytest.mark.long
@settings(FEW, max_examples=250)
@given(network=networks(), world=st.sampled_from(WORLDS), backend=st.sampled_from([None, "kernels", "matrices"]))
def test_many_random_networks_are_torch(server, backend, network, world):
    check_against_torch(server, backend, network, world)


@pytest.mark.parametrize(("assumptions", "conventions"), WORLDS)
@pytest.mark.parametrize("backend", ["kernels", "matrices"])
def test_a_pixel_is_masked_where_it_sees_a_masked_one(server, backend, assumptions, conventions):
    steps = [
        ("convolution", 3, (3, 3), 2, True),
        ("activation", "softmax"),
        ("convolution", 2, (1, 3), 1, True),
        ("skip",),
    ]
    network, bands = Grown(steps, 4), picture(16, 18)
    bands[1, 3, 4] = bands[2, 9, 12] = bands[0, 15, 17] = np.nan
    compiled = compile(network, BANDS, LATTICE, backend=backend, conventions=conventions)
    found = asked(compiled(stored(server, bands, assumptions=assumptions)), bands.shape[1:])
    expected = through_torch(network, bands)
    assert compiled.margin == (2, 3)
    assert np.isnan(found).any(0).sum() == np.isnan(expected).any(0).sum()
    known = ~np.isnan(expected).any(0)  # all bands are masked where one is
    same(found, np.where(known, expected, np.nan))


def test_the_reference_network_on_real_tiles(server, real_data):
    network = reference()
    compiled = compile(network, EIGHT, LATTICE)
    for path in sorted((real_data / "hls_water" / "images").glob("*.tif"))[::25]:
        with rasterio.open(path) as file:
            tile = file.read()[:, :64, :64].astype(np.float32)
        elevation = np.where(tile[8] == -9999, np.nan, tile[8])
        bands = np.moveaxis(band_stack(np.moveaxis(tile[1:6] / 10_000, 0, -1), elevation), -1, 0)
        found = asked(compiled(stored(server, bands, EIGHT)), (64, 64))
        expected = through_torch(network, bands)
        assert np.isfinite(expected).any()
        same(found, expected)


def test_the_result_does_not_depend_on_the_scale_that_is_asked_for(server):
    """At any scale, from any corner: what the pinned pixels hold, nearest to what is asked for."""
    network, bands = Grown([("convolution", 2, (3, 3), 1, True), ("activation", "relu")], 2), picture(24, 24)
    image = compile(network, BANDS, LATTICE)(stored(server, bands))
    whole = through_torch(network, bands)
    for scale in (1 / 3, 0.5, 1, 3, 5):
        count = int(24 / scale)
        coarse = (30 * scale, 0, TRANSFORM[2], 0, -30 * scale, TRANSFORM[5])
        nearest = [np.floor((np.arange(count) + 0.5) * scale).astype(int)] * 2
        same(asked(image, (count, count), coarse), whole[:, *np.ix_(*nearest)])
    plain = compile(network, BANDS, LATTICE).graph.arguments[0]
    assert plain.algorithm == "Image.rename"  # without the pin, the same request gives something else
    unpinned = ee.Image(computed(plain, ee.Image("scene")))
    found = asked(unpinned, (8, 8), (90, 0, TRANSFORM[2], 0, -90, TRANSFORM[5]))
    assert np.nanmax(np.abs(found - whole[:, 1::3, 1::3])) > 0.01


def test_a_composite_is_computed_at_the_pixels_of_training(server):
    """An image without pixels of its own (a composite's are 1°) is read at the pinned lattice."""
    network, bands = Grown([("convolution", 2, (3, 3), 1, True)], 3), picture(20, 20)
    stored(server, bands)
    composite = ee.Image("scene").unmask(0, False).setDefaultProjection("EPSG:4326", [1, 0, 0, 0, 1, 0])
    inside = np.s_[:, 1:-1, 1:-1]
    found = asked(compile(network, BANDS, LATTICE)(composite), (20, 20))
    np.testing.assert_allclose(found[inside], through_torch(network, bands)[inside], atol=1e-5)


def test_bands_are_chosen_by_name_and_named(server):
    network, bands = Grown([("convolution", 2, (3, 3), 1, True)], 3), picture(9, 9)
    image = stored(server, [*bands[::-1], bands[0]], [*BANDS[::-1], "other"])
    made = compile(network, BANDS, LATTICE, names=["water", "land"])(image)
    assert made.bandNames().getInfo() == ["water", "land"]
    same(asked(made, (9, 9)), through_torch(network, bands))


def test_what_patches_give_a_raster_gives(server):
    """A classifier of 5 × 5 patches that flattens becomes a network of rasters."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 2))
    bands = picture(8, 9)
    patches = (
        torch.from_numpy(bands)[None].unfold(2, 5, 1).unfold(3, 5, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 5, 5)
    )
    expected = np.full((2, 8, 9), np.nan)
    expected[:, 2:-2, 2:-2] = network(patches).detach().T.reshape(2, 4, 5)
    same(asked(compile(network, BANDS, LATTICE)(stored(server, bands)), (8, 9)), expected)


def test_networks_of_single_pixels(server):
    class Pointwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(9, 2)

        def forward(self, x):
            y = torch.sigmoid(self.norm(self.first(x)))
            return torch.softmax(self.last(torch.cat([y, x], -1)), -1)

    network, bands = Pointwise().eval(), picture(5, 6)
    rows = torch.from_numpy(bands).reshape(3, -1).T
    expected = network(rows).detach().T.reshape(2, 5, 6).numpy()
    same(asked(compile(network, BANDS, LATTICE)(stored(server, bands)), (5, 6)), expected)


def test_the_smaller_form_is_taken():
    """Of each convolution, by its bytes."""
    for module, form in [(nn.Conv2d(12, 12, 3, groups=12), "kernels"), (nn.Conv2d(6, 7, 3), "matrices")]:
        names = [f"b{number}" for number in range(module.in_channels)]
        sizes = {
            backend: compile(module, names, LATTICE, backend=backend).bytes for backend in (None, "kernels", "matrices")
        }
        assert sizes[None] == sizes[form] == min(sizes.values())


def test_the_reference_network_is_within_its_limits():
    """Half a megabyte, and no more than half of Python's default recursion limit."""
    frames, frame = 0, sys._getframe()
    while frame:
        frames, frame = frames + 1, frame.f_back
    limit = sys.getrecursionlimit()
    network = reference()
    sys.setrecursionlimit(frames + 500)
    try:
        compiled = compile(network, EIGHT, LATTICE)
        assert compiled.bytes <= 500_000
    finally:
        sys.setrecursionlimit(limit)
    assert compiled.margin == (3, 3)
    assert chain(compiled.graph) < LONGEST_CHAIN / 2


@pytest.mark.parametrize(("preset", "times"), [("reference", 1), ("reference", 2), ("recommended", 1)])
def test_the_water_networks_are_within_half_a_megabyte(preset, times):
    """With weights as large as training makes them too."""
    torch.manual_seed(0)
    network = models.presets("pixel_cnn")[preset].networks({})["pixels"]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(times)
    assert compile(nn.Sequential(network, nn.Softmax(1)), EIGHT, LATTICE).bytes <= 500_000


def test_the_longest_chain_needs_no_more_than_pythons_recursion():
    """What is let through can be written by the client, with room for an image of forty operations."""
    assert sys.getrecursionlimit() == 1000
    image = ee.ComputedObject("Image.load", {"id": "x"})
    for _ in range(40):
        image = ee.ComputedObject("Image.add", {"image1": image, "image2": image})
    last = PICTURE
    for _ in range(LONGEST_CHAIN):
        last = call("Image.exp", last)
    assert request(computed(last, image))


def test_what_is_too_large_or_too_deep_is_told_before_anything_is_sent():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(3, 1500, 1), nn.Conv2d(1500, 1500, 1))
    with pytest.raises(UserError, match=r"the graph is .* MB and Earth Engine takes 10 MB a request"):
        compile(wide, BANDS, LATTICE)
    deep = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(30)))
    with pytest.raises(UserError, match="operations one after another"):
        compile(deep, BANDS, LATTICE)
    network = compile(nn.Conv2d(3, 1, 1), BANDS, LATTICE)
    image = ee.ComputedObject("Image.load", {"id": "x"})
    for _ in range(400):
        image = ee.ComputedObject("Image.add", {"image1": image, "image2": image})
    with pytest.raises(UserError, match="store what comes before the network as an asset"):
        network(image)


def test_weights_must_be_finite():
    layer = nn.Conv2d(3, 2, 1)
    nn.init.constant_(layer.weight, float("nan"))
    with pytest.raises(UserError, match=r"layer '0' .*has weights that are not finite"):
        compile(layer, BANDS, LATTICE)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"bands": ["B2", "B2", "B4"]}, "'B2' comes twice"),
        ({"bands": ["B2", "B3"]}, "2 channels come in and 3 are expected: name the bands that it was trained on"),
        ({"bands": ["B2", "B3", "B.*"]}, "letters, digits and _ alone"),
        ({"names": ["water"]}, "names for 1 bands, and the network gives 2"),
        ({"samples": torch.zeros(3, 4)}, "samples of shape"),
        ({"tolerance": 1e-30}, "finer than double precision"),
    ],
)
def test_what_is_given_wrongly(given, told):
    words = {"bands": BANDS, **given}
    with pytest.raises(UserError, match=told.replace("*", r"\*")):
        compile(nn.Conv2d(3, 2, 3), words.pop("bands"), LATTICE, **words)
