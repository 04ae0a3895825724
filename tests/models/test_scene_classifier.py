"""The scene classifier: published sizes, rates by epochs, and frozen features where timm is installed."""

import dataclasses
import importlib.util

import pytest
import torch
from safetensors.torch import save_file

from waterscape import models
from waterscape.errors import UserError
from waterscape.models.scene_classifier import PRESETS, SCENES, head
from waterscape.recipe import Progress

TIMM = importlib.util.find_spec("timm") is not None
TINY = dataclasses.replace(PRESETS["efficientnet"], features="tf_efficientnetv2_b0", side=64)


def count(*networks):
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def test_published_parameters():
    assert count(*models.build(PRESETS["baseline"]).values()) == 11_235_271
    assert count(head(1280, 512, 256, len(SCENES))) == 788_999


def test_the_rate_of_efficientnet_falls_by_epochs():
    rates = [PRESETS["efficientnet"].rate("head", Progress(0, 0, epochs)) for epochs in (0, 6.99, 7, 14)]
    assert rates == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.skipif(TIMM, reason="timm is installed here")
def test_without_timm_its_absence_is_told_and_the_rest_goes_on():
    with pytest.raises(UserError, match="pip install timm"):
        models.build(PRESETS["efficientnet"])
    rows = {row["preset"]: row for row in models.count_parameters("scene_classifier")}
    assert rows["efficientnet"]["wants"] == "pip install timm"
    assert rows["small"]["parameters"] > 0


@pytest.mark.skipif(not TIMM, reason="needs timm: pip install timm")
def test_frozen_features_take_weights_from_a_file_and_never_move(tmp_path):
    torch.manual_seed(1)
    donor = models.build(TINY)["features"].body
    save_file(donor.state_dict(), tmp_path / "weights.safetensors")
    recipe = dataclasses.replace(TINY, weights=str(tmp_path / "weights.safetensors"))
    networks = recipe.fill(models.build(recipe))
    for name, value in donor.state_dict().items():
        assert torch.equal(networks["features"].body.state_dict()[name], value)
    assert recipe.phases()[0].trains == ("head",)
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for file, told in (("none.pth", "there is no such file"), ("bad.safetensors", "cannot be read")):
        with pytest.raises(UserError, match=told):
            dataclasses.replace(TINY, weights=str(tmp_path / file)).fill(models.build(TINY))
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="are of another network than"):
        dataclasses.replace(TINY, weights=str(tmp_path / "other.safetensors")).fill(models.build(TINY))
