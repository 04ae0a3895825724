"""The water VAE's networks: any folding and number of layers leads from 64×64 to 16 numbers and back."""

import pytest
import torch

from waterscape.models.water_vae import LATENT, PRESETS, WaterVAE, strides


@pytest.mark.parametrize(
    ("fold", "widths"), [(1, (4,) * 4), (1, (4,) * 8), (2, (4,) * 5), (4, (4, 8)), (4, (4,) * 8), (8, (4,))]
)
def test_networks_lead_there_and_back(fold, widths):
    networks = WaterVAE(fold=fold, widths=widths).networks({})
    mean, log_variance = networks["encoder"](torch.rand(3, 1, 64, 64))
    assert mean.shape == log_variance.shape == (3, LATENT)
    assert networks["decoder"](mean).shape == (3, 1, 64, 64)


def test_the_published_strides():
    assert strides(8, 1) == [2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize(("fold", "widths"), [(1, (4, 4, 4)), (3, (4,) * 8), (4, (4,)), (0, (4,) * 8)])
def test_networks_that_cannot_be_are_refused(fold, widths):
    with pytest.raises(ValueError, match="--fold"):
        WaterVAE(fold=fold, widths=widths).networks({})


def test_recommended_shows_its_averages():
    assert set(PRESETS["recommended"].averages()) == {"encoder", "decoder"}
    assert not PRESETS["reference"].averages()
