"""The ship GAN trains as its source does: rates, clipping, labels, dropout, the chips' way through the networks."""

import json
import math

import numpy as np
import pytest
import torch
from programs import run
from torch import nn

from waterscape import models
from waterscape.data.pack import SetWriter
from waterscape.models.ship_gan import SIDE, Discriminator, Generator, ShipGAN, cross_entropy, features
from waterscape.randomness import Draw
from waterscape.recipe import Progress
from waterscape.training.events import read_events

DRAW = Draw(0, torch.arange(4000))


def sizes(network, of, *given):
    """The pixels a side after each layer of a kind."""
    found = []
    hooks = [
        layer.register_forward_hook(lambda *called: found.append(called[2].shape[-1]))
        for layer in network.modules()
        if isinstance(layer, of)
    ]
    network(*given)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(("full", "after"), [(False, [77, 38, 19]), (True, [77, 38, 19, 9, 4, 2, 1])])
def test_a_chip_shrinks_as_published(full, after):
    judge = Discriminator(2, full=full)
    assert sizes(judge, nn.Conv2d, torch.zeros(1, 3, SIDE, SIDE)) == after
    assert judge.last.in_features == features(2, full=full)
    assert features(64, full=full) == (128 if full else 46_208)


@pytest.mark.parametrize(("full", "after"), [(False, [20, 40, 80, 80, 80]), (True, [20, 40, 80, 80, 80, 80])])
def test_a_chip_grows_as_published(full, after):
    assert sizes(Generator(2, full=full), (nn.Conv2d, nn.ConvTranspose2d), torch.zeros(1, 80)) == after


def test_keras_rmsprop_with_clipped_gradients_and_a_rate_that_decays_by_steps():
    """Against the formulas of Keras, in numpy: clip, mean square, step."""
    recipe, layer = ShipGAN(), nn.Linear(3, 1, bias=False).double()
    optimizer = recipe.optimizer("discriminator", layer)
    weight, mean_square = layer.weight.detach().numpy().copy(), np.zeros((1, 3))
    for step, gradient in enumerate(([[5.0, -0.3, 0.01]], [[-80.0, 0.7, 0.0]], [[0.2, 3.0, -1.0]])):
        layer.weight.grad = torch.tensor(gradient, dtype=torch.float64)
        rate = recipe.rate("discriminator", Progress(20 * step, step, 0.1 * step))
        assert rate == pytest.approx(1 / (1 + 1e-7 * step), abs=1e-15)
        optimizer.param_groups[0]["lr"] = 6e-4 * rate
        optimizer.step()
        clipped = np.clip(gradient, -1, 1)
        mean_square = 0.9 * mean_square + 0.1 * clipped**2
        weight -= 6e-4 / (1 + 1e-7 * step) * clipped / (np.sqrt(mean_square) + 1e-7)
        assert np.allclose(layer.weight.detach(), weight, atol=1e-12)
    assert recipe.optimizer("generator", layer).param_groups[0]["lr"] == 3e-4


def test_labels_miss_by_up_to_half_and_the_loss_is_that_of_keras():
    """Keras' cross entropy of probabilities 10⁻⁷ away from 0 and 1, true 0 and made 1, each with noise added."""
    recipe = ShipGAN()
    logits = torch.linspace(-25, 25, len(DRAW), dtype=torch.float64)
    draw = Draw(0, DRAW.numbers, torch.float64)
    made = np.clip(1 / (1 + np.exp(logits.numpy())), 1e-7, 1 - 1e-7)  # the source's network says how surely it is made

    def keras(label):
        return -(label * np.log(made) + (1 - label) * np.log(1 - made))

    noise = {name: 0.5 * draw.uniform(f"label noise, {name}").numpy() for name in ("true", "made")}
    assert all(0 <= drawn.min() < 0.001 < 0.499 < drawn.max() < 0.5 for drawn in noise.values())
    joined = np.concatenate([keras(noise["true"]), keras(1 + noise["made"])]).mean()
    found = recipe.loss_on_true(logits, draw) + recipe.loss_on_made(logits, draw)
    assert found.item() == pytest.approx(joined, rel=1e-9)


def test_who_is_surer_than_keras_allows_learns_nothing_more():
    logits = torch.tensor([-30.0, 0.0, 30.0], requires_grad=True)
    cross_entropy(logits, torch.tensor([-0.4, -0.4, 1.3])).backward()
    assert logits.grad.tolist() == pytest.approx([0, (0.5 + 0.4) / 3, 0])


@pytest.mark.parametrize("layout", ["full", "printed"])
def test_dropout_takes_three_tenths_and_is_drawn_per_chip(layout):
    recipe = ShipGAN(layout=layout, width=2)
    networks, masks = recipe.networks({}), []
    networks["discriminator"].register_forward_pre_hook(lambda _, given: masks.append(given[1]))
    draw = DRAW.rows(slice(0, 64))
    chips = torch.rand(64, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    whole = recipe.logits(networks, chips, draw, "true")
    part = recipe.logits(networks, chips[10:20], draw.rows(slice(10, 20)), "true")
    recipe.logits(networks, chips, draw, "made for the generator")
    assert torch.allclose(whole[10:20], part, atol=1e-5)
    assert torch.equal(masks[0][10:20], masks[1])
    assert not torch.equal(masks[0], masks[2]), "each purpose draws its own"
    assert sorted(masks[0].unique().tolist()) == pytest.approx([0, 1 / 0.7])
    assert (masks[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.1 if layout == "full" else 0.01)


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Synthetic chips as tools/pack_ships.py stores them: a bright bar on dark water."""
    out, random = tmp_path_factory.mktemp("ships") / "set", np.random.default_rng(0)
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=32) as writer:
        for number in range(40):
            chip = np.clip(random.normal((40, 60, 70), 6, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            row = int(random.integers(10, 60))
            chip[row : row + 8, 20:60] = 200
            writer.add("train" if number < 32 else "valid", {"image.npy": chip})
        writer.finish()
    return out


@pytest.mark.long
@pytest.mark.parametrize("preset", models.presets("ship_gan"))
def test_each_preset_trains_on_packed_chips_and_leaves_a_strip(chips, tmp_path, preset):
    words = ["--data", chips, "--out", tmp_path / "run", "--width", 2, "--batch", 4, "--images", 12, "--held-out", 8]
    run("train", f"ship_gan:{preset}", *words, "--no-tensorboard", "--picture-every", 4)
    assert (tmp_path / "run" / "strip.png").stat().st_size > 10_000
    with np.load(sorted((tmp_path / "run" / "pictures").glob("*.npz"))[-1]) as pictured:
        assert pictured["new"].shape == pictured["true"].shape == (8, SIDE, SIDE, 3)
    figures = [event for event in read_events(tmp_path / "run") if event["event"] == "picture"]
    assert all(0 <= event["measured"]["held-out pictures taken for true"] <= 1 for event in figures)
    assert models.load(tmp_path / "run").sample(3).shape == (3, 3, SIDE, SIDE)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["preset"] == preset
    assert math.isfinite(figures[-1]["measured"]["held-out pictures taken for true"])
