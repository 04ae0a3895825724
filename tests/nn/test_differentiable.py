"""Differentiable augmentation: each operation against numpy, its gradient, its bounds, its draws."""

import numpy as np
import pytest
import torch

from waterscape.nn.differentiable import augmented, cut_out, mirrored, recoloured, shifted
from waterscape.randomness import Draw

KINDS = ("colour", "translation", "cutout")


def pictures(count=6, side=16):
    return 2 * Draw(3, torch.arange(count), torch.float64).uniform("pictures", 3, side, side) - 1


def test_the_gradient_is_that_of_finite_differences():
    draw = Draw(1, torch.arange(2), torch.float64)
    images = pictures(2, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augmented(x, draw, "true", KINDS), (images,))


@pytest.mark.parametrize("kinds", [KINDS, *[(kind,) for kind in KINDS]])
def test_a_sample_is_augmented_alike_whatever_else_is_in_its_batch(kinds):
    images, draw = pictures(), Draw(1, torch.arange(6), torch.float64)
    whole = augmented(images, draw, "true", kinds)
    parts = [augmented(images[rows], draw.rows(rows), "true", kinds) for rows in (slice(0, 1), slice(1, 6))]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, images)
    assert not torch.equal(whole, augmented(images, draw, "made", kinds)), "each purpose draws its own"


def test_nothing_is_done_unless_asked_for():
    images = pictures()
    assert augmented(images, Draw(1, torch.arange(6)), "true", ()) is images


def test_colours_are_changed_as_the_source_says():
    images = pictures(3)
    brightness, saturation, contrast = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0, 0.2], [0, 1, 1]], dtype=torch.float64).T
    found = recoloured(images, brightness, saturation, contrast).numpy()
    assert np.allclose(found[0], images[0]), "the middle of each range leaves a picture as it is"
    for row in (1, 2):
        one = images[row].numpy() + brightness[row].item() - 0.5
        grey = one.mean(0)
        one = grey + (one - grey) * 2 * saturation[row].item()
        assert np.allclose(found[row], one.mean() + (one - one.mean()) * (0.5 + contrast[row].item()))
    assert np.allclose(found[1][0], found[1][2]), "no saturation: grey"


def test_a_picture_moves_by_whole_pixels_and_leaves_zeros():
    images = pictures(3)
    found = shifted(images, torch.tensor([0, 2, -1]), torch.tensor([0, -3, 2])).numpy()
    true = images.numpy()
    assert np.array_equal(found[0], true[0])
    assert np.array_equal(found[1][:, 2:, :-3], true[1][:, :-2, 3:])
    assert not found[1][:, :2].any()
    assert not found[1][:, :, -3:].any()
    assert np.array_equal(found[2][:, :-1, 2:], true[2][:, 1:, :-2])
    assert not found[2][:, -1:].any()


def test_half_a_side_is_cut_out_about_any_place():
    images = torch.ones(3, 3, 16, 16)
    holes = cut_out(images, torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.999, 0.25]])) == 0
    assert holes[0].sum() == 3 * 7 * 7 or holes[0].sum() == 3 * 8 * 8
    assert holes[0, :, 8, 8].all()
    assert holes[1, :, 0, 0].all()
    assert not holes[1, :, 8:].any()
    assert not holes[1, :, :, 8:].any()
    assert holes[2, :, 15, 4].all()


def test_translation_stays_within_an_eighth_and_reaches_it():
    images = torch.zeros(500, 3, 16, 16)
    images[:, :, 8, 8] = 1
    moved = augmented(images, Draw(1, torch.arange(500)), "true", ("translation",))[:, 0].nonzero()[:, 1:] - 8
    assert sorted(set(moved[:, 0].tolist())) == sorted(set(moved[:, 1].tolist())) == [-2, -1, 0, 1, 2]


def test_about_half_are_mirrored_left_to_right():
    images = pictures(200)
    found = mirrored(images, Draw(1, torch.arange(200)))
    same = (found == images).all(dim=3).all(2).all(1)
    other = (found == images.flip(3)).all(dim=3).all(2).all(1)
    assert (same ^ other).all()
    assert 70 < same.sum() < 130
