"""The autoencoder and VAE of scenes: published sizes, a bound that is one, a ladder whose divergence is exact."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from waterscape import models
from waterscape.models.scene_vae import NUMBERS, PRESETS, SIDE, STEP
from waterscape.nn.ladder import Ascent, Descent, map_sides
from waterscape.randomness import Draw

SMALL = {"widths": (8, 8), "latents": (2, 3)}


def count(networks):
    return sum(parameter.numel() for network in networks.values() for parameter in network.parameters())


def built(preset, **options):
    recipe = dataclasses.replace(PRESETS[preset], **options)
    torch.manual_seed(0)
    return recipe, models.build(recipe)


def photos(count, dtype=torch.float32):
    return 2 * Draw(3, torch.arange(count), dtype).uniform("photos", 3, SIDE, SIDE) - 1


def test_published_parameters():
    assert count(models.build(PRESETS["autoencoder"])) == 210_947
    assert count(models.build(PRESETS["reference"])) == 12_859_523


def test_an_autoencoder_makes_nothing_new_and_a_vae_does():
    assert PRESETS["autoencoder"].can("reconstruct")
    assert not PRESETS["autoencoder"].can("generate")
    assert PRESETS["reference"].can("generate")


@pytest.mark.parametrize("preset", PRESETS)
def test_photos_come_back_in_their_range(preset):
    recipe, networks = built(preset)
    low, high = recipe.inputs()["image"].range
    made = recipe.reconstruct(networks, {"image": low + (high - low) * (photos(2) + 1) / 2})
    assert made.shape == (2, 3, SIDE, SIDE)
    assert 0 <= made.min() <= made.max() <= 1


def test_the_loss_of_the_reference_is_its_bound():
    """Against torch's own distributions: −ln p(x|z) + β KL, summed over a photo, mean over the batch."""
    recipe, networks = built("reference", latent=3, beta=0.7)
    image, draw = photos(2), Draw(1, torch.arange(2))
    with torch.no_grad():
        loss = recipe.bound(networks, {"image": image}, draw)["loss"]
        mean, log_variance = networks["encoder"](image)
        posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
        made = networks["decoder"](posterior.mean + posterior.stddev * draw.normal("latent 0", 3))
        likelihood = torch.distributions.Normal(made, recipe.deviation).log_prob(image).sum((1, 2, 3))
        prior = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
        nats = torch.distributions.kl_divergence(posterior, prior).sum(1)
    assert loss == pytest.approx((0.7 * nats - likelihood).mean().item(), rel=1e-5)


def test_the_measured_bits_are_those_of_stored_bytes():
    """Where decoding is exact to σ, a number costs the entropy of its Gaussian in steps of 1/255, and no divergence."""
    recipe, networks = built("recommended", **SMALL)
    with torch.no_grad():
        networks["deviation"].logarithm.fill_(math.log(0.1))
        for layer in (*networks["decoder"].take, *networks["decoder"].posterior):
            layer.weight.zero_()  # so that no latent is seen, and none differs from its prior
        grey = networks["decoder"]([torch.zeros(4, z, s, s) for z, s in zip((2, 3), (38, 19), strict=True)])[0]
        image = grey + 0.1 * Draw(2, torch.arange(4)).normal("noise", 3, SIDE, SIDE)
        found = recipe.measure(networks, {"image": image})
    expected = math.log2(0.1 / STEP * math.sqrt(2 * math.pi * math.e))
    assert found["divergence"] == pytest.approx(0, abs=1e-3)
    assert (found["bits per number"] / 4).item() == pytest.approx(expected, abs=0.01)
    assert found["squared error per pixel"].item() / 4 == pytest.approx(0.05**2, rel=0.03)


def test_a_ladders_divergence_is_that_of_its_gaussians():
    """The mean of ln q(z|x) − ln p(z) over many draws of all levels."""
    torch.manual_seed(1)
    ascent, descent = Ascent((8, 8)), Descent(16, (8, 8), (2, 3))
    for layer in (*descent.prior, *descent.posterior):
        torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(layer.bias, std=0.3)
    told = []

    def note(_layer, _inputs, output):
        told.append(output.chunk(2, 1))

    for layer in (*descent.prior, *descent.posterior):
        layer.register_forward_hook(note)
    draws = 2000
    draw = Draw(5, torch.arange(draws), torch.float64)
    noise = [
        draw.normal(f"{level}", z, s, s) for level, (z, s) in enumerate(zip((2, 3), map_sides(16, 2), strict=True))
    ]
    image = photos(1, torch.float64)[..., :16, :16].expand(draws, -1, -1, -1)
    with torch.no_grad():
        _, nats = descent.double()(noise, ascent.double()(image))
    ratio = torch.zeros(draws, dtype=torch.float64)
    for level, (prior, change) in zip((1, 0), zip(told[::2], told[1::2], strict=True), strict=True):
        p = torch.distributions.Normal(prior[0], prior[1].exp())
        q = torch.distributions.Normal(prior[0] + change[0], (prior[1] + change[1]).exp())
        z = q.mean + q.stddev * noise[level]
        ratio += (q.log_prob(z) - p.log_prob(z)).sum((1, 2, 3))
    error = (nats - ratio).std() / math.sqrt(draws)
    assert nats.mean() > 10 * error
    assert abs(nats.mean() - ratio.mean()) < 4 * error


def test_without_maps_a_ladder_draws_from_its_prior_alone():
    _, networks = built("recommended", **SMALL)
    noise = [torch.randn(3, z, s, s) for z, s in zip((2, 3), (38, 19), strict=True)]
    made, nats = networks["decoder"](noise)
    assert made.shape == (3, 3, SIDE, SIDE)
    assert nats.tolist() == [0, 0, 0]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_sigma_descends_to_the_error(factor):
    """Of all σ the likelihood is highest at the root of the mean squared error."""
    recipe, networks = built("recommended", **SMALL, views=False)
    image, draw = photos(1), Draw(7, torch.arange(1))
    with torch.no_grad():
        made, _ = recipe.decoded(networks, image, draw)
        error = (made - image).square().mean().sqrt()
        networks["deviation"].logarithm.copy_((factor * error).log())
    recipe.bound(networks, {"image": image}, draw)["loss"].backward()
    slope = networks["deviation"].logarithm.grad.item() / NUMBERS
    assert slope == pytest.approx(1 - factor**-2, abs=1e-3)
