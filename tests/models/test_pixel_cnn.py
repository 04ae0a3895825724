"""What the pixel CNN learns from, and what it says where it cannot see."""

import dataclasses

import numpy as np
import pytest
import torch
from programs import run
from torch import nn
from torch.nn import functional as F  # noqa: N812

from waterscape import models
from waterscape.errors import UserError
from waterscape.metrics.segmentation import confusion
from waterscape.models.pixel_cnn import PixelCnn, a_block
from waterscape.nn.balanced_pixels import balanced_chances
from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.proof.made_set import write_made_set
from waterscape.randomness import Draw
from waterscape.recipe import Recipe
from waterscape.sources.landsat.bands import BANDS, UNKNOWN

SIDE = 40
NARROW = {"side": SIDE, "widths": (4, 4, 6, 6)}


def made(count=3, seed=0, dtype=torch.float32):
    """Windows of noise with a lake in each, nodata and a row of unknown labels in the first."""
    random = torch.Generator().manual_seed(seed)
    bands = torch.rand(count, len(BANDS), SIDE, SIDE, generator=random, dtype=dtype)
    water = torch.zeros(count, 1, SIDE, SIDE, dtype=dtype)
    water[:, :, 10:20, 5:25] = 1
    bands[0, 2, 30, 30] = torch.nan
    water[0, 0, 25] = UNKNOWN
    return {"bands": bands, "water": water}


def recipe(preset="reference", **options):
    return dataclasses.replace(models.presets("pixel_cnn")[preset], **NARROW, **options)


def built(made_recipe, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: network.to(dtype) for name, network in made_recipe.networks({}).items()}


def test_keras_starts_with_uniform_kernels_and_no_bias():
    network = built(PixelCnn())["pixels"]
    assert sum(part.numel() for part in network.parameters()) == 38_514
    for layer in (part for part in network.modules() if isinstance(part, nn.Conv2d)):
        limit = (6 / (layer.weight[0, 0].numel() * (layer.in_channels + layer.out_channels))) ** 0.5
        assert layer.bias.eq(0).all()
        assert 0.9 * limit < layer.weight.abs().max() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.1)


def test_the_loss_is_that_of_the_drawn_patches():
    """The reference's step: of each window the pixels that were drawn, their 7 × 7 patches gathered, in float64."""
    taught, batch = recipe(), made(dtype=torch.float64)
    networks, draw = built(taught, torch.float64), Draw(1, torch.arange(3), torch.float64)
    bands, water, weight = taught.part(batch, draw)
    assert 0 < weight.sum() < weight.numel()
    assert set(weight.unique().tolist()) == {0, 1}
    losses = taught.wrong(networks, batch, draw)
    parameters = list(networks["pixels"].parameters())
    dense = torch.autograd.grad(losses["loss"], parameters)

    places = weight[:, 0].nonzero().tolist()
    reach = 2 * MARGIN + 1
    patches = torch.stack([bands[n, :, row : row + reach, column : column + reach] for n, row, column in places])
    kinds = (~water[:, 0])[weight[:, 0] > 0].long()
    mean = F.cross_entropy(networks["pixels"](patches)[:, :, 0, 0], kinds)
    gathered = torch.autograd.grad(mean, parameters)
    factor = len(places) / weight.numel()
    assert losses["loss"].item() == pytest.approx(factor * mean.item(), rel=1e-12)
    for one, other in zip(dense, gathered, strict=True):
        assert torch.allclose(one, factor * other, rtol=1e-10, atol=1e-15)


def test_pixels_are_drawn_as_often_as_the_balance_says():
    taught, batch, rounds = recipe(block=0), made(), 400
    water, inner = batch["water"][..., 3:-3, 3:-3], slice(3, -3)
    nodata = torch.zeros(3, 1, SIDE, SIDE, dtype=torch.bool)
    nodata[0, 0, 27:34, 27:34] = True
    known = ~nodata[..., inner, inner] & (water <= 1)
    chances = balanced_chances((water == 1) & known, (water == 0) & known)
    total = sum(taught.part(batch, Draw(0, torch.arange(3) + 3 * number))[2] for number in range(rounds))
    assert total[chances == 0].eq(0).all(), "nodata within reach, and labels that are not known"
    deviation = (chances * (1 - chances) / rounds).sqrt().clamp(min=1e-9)
    assert ((total / rounds - chances).abs() <= 5 * deviation).all()
    sizes = chances.sum((1, 2, 3))
    assert sizes[1].item() == pytest.approx(min(200 * 5, 34 * 34 - 200) + 200)
    assert total.sum((1, 2, 3)).tolist() == pytest.approx((rounds * sizes).tolist(), rel=0.01)


@pytest.mark.parametrize("side", [16, 17, 34])
def test_each_pixel_is_in_one_block(side):
    """All blocks of a window of 34 pixels, drawn often enough to meet each: the weights make each pixel one."""
    count, whole = 600, 34
    numbers = torch.arange(whole * whole, dtype=torch.float32).view(1, 1, whole, whole).expand(count, -1, -1, -1)
    bands = F.pad(numbers, (MARGIN,) * 4, value=-1)
    draw = Draw(0, torch.arange(count))
    cut, water, weight = a_block(bands, numbers >= 500, torch.ones_like(numbers), side, draw)
    middle = cut[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert torch.equal(middle >= 500, water)
    found = {tuple(middle[n][weight[n] > 0].int().tolist()) for n in range(count)}
    assert len(found) == (-(-whole // side)) ** 2
    assert sorted(pixel for block in found for pixel in block) == list(range(whole * whole))


@pytest.mark.parametrize("preset", ["reference", "recommended"])
def test_nodata_and_unknown_labels_teach_nothing(preset):
    """Whatever is written where nothing is known changes neither loss nor gradient, and a dry window is no harm."""
    taught = recipe(preset, block=0)
    networks, found = built(taught), []
    for value in (0.0, torch.nan, torch.inf):
        batch = made()
        batch["bands"][0, :, 30, 30] = torch.nan
        batch["bands"][0, :4, 30, 30] = value
        batch["water"][0, 0, 27:34, 27:34] = 1 if value == 0 else 0
        batch["water"][2] = 0
        losses = taught.wrong(networks, batch, Draw(0, torch.arange(3)))
        gradients = torch.autograd.grad(losses["loss"], list(networks["pixels"].parameters()))
        assert all(part.isfinite().all() for part in gradients)
        found.append((losses["loss"].item(), torch.cat([part.flatten() for part in gradients])))
    for loss, gradient in found[1:]:
        assert loss == found[0][0]
        assert torch.equal(gradient, found[0][1])


def test_windows_without_any_known_pixel_give_zero():
    taught = recipe()
    batch = made()
    batch["water"][:] = UNKNOWN
    losses = taught.wrong(built(taught), batch, Draw(0, torch.arange(3)))
    assert losses["loss"].item() == 0
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("preset", ["reference", "recommended"])
def test_segment_is_known_where_all_that_is_seen_is(preset):
    taught, batch = recipe(preset), made(count=9)
    networks = built(taught)
    with torch.no_grad():
        found = taught.segment(networks, {"bands": batch["bands"]})
        clean = taught.segment(networks, {"bands": batch["bands"].nan_to_num(0.3)})
    known = torch.zeros(9, 1, SIDE, SIDE, dtype=torch.bool)
    known[..., 3:-3, 3:-3] = True
    assert torch.equal(clean.isfinite(), known)
    known[0, 0, 27:34, 27:34] = False
    assert torch.equal(found.isfinite(), known)
    assert torch.allclose(found[known], clean[known], atol=1e-6), "no NaN and no number of it beyond its reach"
    assert found[known].min() >= 0
    assert found[known].max() <= 1
    assert taught.margin() == 3
    assert type(taught).can("segment")
    assert not Recipe.can("segment")


def test_measured_sums_make_the_figures_of_all_pixels():
    taught, batch = recipe("recommended"), made()
    networks = built(taught)
    with torch.no_grad():
        sums = taught.measure(networks, batch)
        found = taught.segment(networks, batch)
    known = (found.isfinite() & (batch["water"] <= 1)).numpy()
    wanted = confusion((found > 0.5).numpy(), (batch["water"] == 1).numpy(), known)
    figures = taught.figures({name: value.item() / 3 for name, value in sums.items()})
    for name, value in (("IoU", wanted.iou), ("accuracy", wanted.accuracy), ("area error", wanted.area_error)):
        assert figures[name] == pytest.approx(value)


def test_outside_weights_are_the_same_function_in_both_presets(tmp_path):
    h5py = pytest.importorskip("h5py")
    network = built(PixelCnn(widths=NARROW["widths"]))["pixels"]
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for number, layer in enumerate(part for part in network.modules() if isinstance(part, nn.Conv2d)):
            group = file.create_group(f"layers/conv2d_{number}/vars")
            group["0"] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
            group["1"] = layer.bias.detach().numpy() + np.float32(0.01)
            nn.init.constant_(layer.bias, 0.01)
    bands = made()["bands"]
    wanted = None
    for preset in ("reference", "recommended"):
        taught = recipe(preset, from_keras=str(tmp_path / "w.weights.h5"))
        assert not taught.wants()
        with torch.no_grad():
            found = taught.segment(taught.fill(taught.networks({})), {"bands": bands})
            wanted = recipe().segment({"pixels": network}, {"bands": bands})
        assert torch.allclose(found, wanted, atol=1e-6, equal_nan=True)
    with pytest.raises(UserError, match=r"the kernel of conv2d_0 is 3 × 3 × 8 × 4 .* first is 3 × 3 × 8 × 16"):
        PixelCnn(from_keras=str(tmp_path / "w.weights.h5")).fill(PixelCnn().networks({}))


def test_a_run_begins_with_outside_weights_and_resumes_without_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    kernels, random = ((3, 3, 8, 4), (3, 3, 4, 4), (3, 3, 12, 6), (1, 1, 14, 6), (1, 1, 6, 2)), np.random.default_rng(0)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for number, shape in enumerate(kernels):
            file[f"layers/conv2d_{number}/vars/0"] = random.normal(0, 0.1, shape).astype(np.float32)
            file[f"layers/conv2d_{number}/vars/1"] = np.zeros(shape[-1], np.float32)
        first = torch.from_numpy(file["layers/conv2d_0/vars/0"][:]).permute(3, 2, 0, 1)
    tiles = write_made_set(tmp_path / "tiles", PixelCnn(side=16).inputs().values(), 16)
    words = ["--data", tiles, "--out", tmp_path / "run", "--side", 16, "--widths", 4, 4, 6, 6, "--learning-rate", 0]
    words += ["--from-keras", tmp_path / "w.h5", "--batch", 8, "--no-tensorboard", "--held-out", 0]
    run("train", "pixel_cnn:reference", *words, "--images", 16)
    (tmp_path / "w.h5").unlink()
    run("train", "pixel_cnn:reference", *words, "--images", 32)
    trained = models.load(tmp_path / "run")
    assert trained.images == 32
    assert torch.equal(trained.networks["pixels"].first.weight, first)


def test_the_recommended_network_is_a_plain_one_of_other_bands():
    """Its standardisation is a factor and a shift a band, and folds into the three layers that see the bands."""
    whole = built(recipe("recommended"), torch.float64)["pixels"]
    scale, plain = (1 / whole[0].deviation)[:, 0, 0], PixelNetwork(widths=NARROW["widths"]).double()
    plain.load_state_dict(whole[1].state_dict())
    shift = -whole[0].mean[:, 0, 0] * scale
    with torch.no_grad():
        for layer in (plain.first, plain.third, plain.fourth):
            of_bands = layer.weight[:, -len(BANDS) :]
            layer.bias += (of_bands.sum((2, 3)) * shift).sum(1)
            of_bands *= scale[:, None, None]
        bands = made(dtype=torch.float64)["bands"].nan_to_num(0.2)
        assert torch.allclose(plain(bands), whole(bands), rtol=1e-9, atol=1e-12)
