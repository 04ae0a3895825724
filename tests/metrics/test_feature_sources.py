"""Features for distances: random ones, a classifier's, and a TorchScript network's from a file."""

import hashlib

import numpy as np
import pytest
import torch
from coloured_scenes import train_classifier, write_scenes

from waterscape import models
from waterscape.errors import UserError
from waterscape.metrics.feature_sources import features
from waterscape.metrics.features import FEATURES, random_features

PICTURES = torch.rand(40, 3, 48, 48, generator=torch.Generator().manual_seed(0))


class Means(torch.nn.Module):
    """Stands where Inception's network would: mean of each channel."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        assert pictures.shape[1:] == (3, 299, 299)
        return pictures.mean((2, 3))


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "means.pt"
    torch.jit.script(Means()).save(str(path))
    return path


def test_random_ones():
    found = features("random")
    assert found.name == FEATURES
    assert found(PICTURES) == pytest.approx(random_features(PICTURES).double().numpy(), abs=1e-5)


def test_a_network_from_a_file_sees_colours_of_0_to_255_at_its_own_size(scripted):
    found = features(f"inception={scripted}")
    assert found.sha256 == hashlib.sha256(scripted.read_bytes()).hexdigest()
    assert found.name == f"inception-{found.sha256[:12]}"
    flat = torch.tensor([0.2, 0.5, 1.0])[None, :, None, None].expand(2, -1, 64, 80)
    assert found(flat) == pytest.approx(np.array([[51, 127.5, 255]] * 2), rel=1e-5)
    grey = torch.full((3, 1, 32, 32), 0.4)
    assert found(grey) == pytest.approx(np.full((3, 3), 102), rel=1e-5)


@pytest.mark.long
def test_what_a_classifier_sees(tmp_path):
    scenes = write_scenes(tmp_path / "set")
    run = train_classifier(scenes, tmp_path / "classifier")
    trained = models.load(run)
    found = features(str(run))
    assert trained.sha256 == found.sha256
    side = trained.recipe.inputs()["image"].shape[1]
    pictures = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = trained.recipe.embed(trained.networks, {"image": pictures})
        last = trained.networks["head"][-1](seen).softmax(1)
        assert torch.allclose(last, trained.recipe.classify(trained.networks, {"image": pictures}), atol=1e-6)
    assert found(pictures) == pytest.approx(seen.double().numpy(), abs=1e-5)
    assert found(PICTURES).shape == (40, seen.shape[1])
    with pytest.raises(UserError, match="3 channels, these have 1"):
        found(torch.zeros(2, 1, 64, 64))


def test_what_makes_no_features_is_refused(tmp_path):
    for words, message in {
        "vgg": "give random, inception=FILE",
        "clip=x": "give random, inception=FILE",
        f"inception={tmp_path / 'missing.pt'}": "cannot be read",
        f"inception={__file__}": "no TorchScript network",
    }.items():
        with pytest.raises(UserError, match=message):
            features(words)
    with pytest.raises(UserError, match="not finite"):
        features("random")(torch.full((2, 3, 32, 32), torch.nan))
