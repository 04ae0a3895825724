"""Views of photos: one warp is the chain of steps, whatever batch a photo comes in."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from waterscape.models.scene_classifier import STATED, WIDER
from waterscape.nn.photo_views import Views, grid
from waterscape.randomness import Draw

SIDE = 150


def photos(count, side=SIDE):
    """Smooth pictures: interpolated twice or once, they are nearly the same."""
    coarse = Draw(1, torch.arange(count), torch.float64).uniform("photo", 3, 6, 6)
    return F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def chain(images, draw):
    """The stated steps one after another, each interpolated by itself."""
    kept, made = 125, []
    first = torch.floor(draw.uniform("crop", 2) * (SIDE - kept + 1)).long()
    angle = (2 * draw.uniform("angle") - 1) * math.radians(45)
    mirror = draw.uniform("mirror", 2)
    sides, middle = STATED._rectangle(draw)
    for n, image in enumerate(images):
        x, y = first[n].tolist()
        picture = image[None, :, y : y + kept, x : x + kept]
        cos, sin = math.cos(angle[n]), math.sin(angle[n])
        turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0]], dtype=image.dtype)
        places = F.affine_grid(turn[None], picture.shape, align_corners=False)
        picture = F.grid_sample(picture, places, align_corners=False) * (places.abs() <= 1).all(-1)[:, None]
        picture = picture.flip(3) if mirror[n, 0] < 0.5 else picture
        picture = picture.flip(2) if mirror[n, 1] < 0.05 else picture
        # What is left after mirroring lies where the view's own axes say.
        (w, h), (cx, cy) = sides[n].tolist(), middle[n].tolist()
        box = torch.tensor([[w, 0, cx], [0, h, cy]], dtype=image.dtype)
        places = F.affine_grid(box[None], [1, 3, SIDE, SIDE], align_corners=False)
        made.append(F.grid_sample(picture, places, align_corners=False)[0])
    return torch.stack(made)


def test_one_warp_is_the_chain_of_the_stated_steps():
    images, draw = photos(24), Draw(3, torch.arange(24), torch.float64)
    difference = (STATED.warped(images, draw) - chain(images, draw)).abs()
    assert difference.mean() < 0.004  # black corners' edges are softer where they are interpolated twice
    assert difference.flatten(1).quantile(0.95, dim=1).max() < 0.01


@pytest.mark.parametrize("views", [STATED, WIDER])
def test_a_view_does_not_depend_on_the_batch(views):
    images, draw = photos(7).float(), Draw(5, torch.arange(7))
    whole = views.of(images, draw)
    for rows in (slice(0, 3), slice(3, 7), slice(4, 5)):
        assert torch.equal(views.of(images[rows], draw.rows(rows)), whole[rows])
    for processes in (2, 4):  # as they share a global batch, each drawing for its own samples alone
        shares = torch.arange(7).tensor_split(processes)
        found = [views.of(images[mine], Draw(5, mine)) for mine in shares]
        assert torch.equal(torch.cat(found), whole)


def test_no_change_is_no_change():
    images = photos(3)
    assert torch.allclose(Views().of(images, Draw(0, torch.arange(3), torch.float64)), images, atol=1e-12)


def test_rectangles_lie_within_and_have_the_stated_area_and_ratio():
    draw = Draw(2, torch.arange(4000), torch.float64)
    sides, middle = STATED._rectangle(draw)
    area, ratio = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert (middle.abs() + sides <= 1 + 1e-12).all()
    assert 0.8 <= area.min() < 0.81
    assert 0.99 < area.max() <= 1
    assert 3 / 4 <= ratio.min() < 0.82
    assert 1.22 < ratio.max() <= 4 / 3


def test_mirroring_is_as_often_as_stated():
    grey = torch.linspace(0, 1, 20, dtype=torch.float64).expand(4000, 3, 20, 20)
    draw = Draw(4, torch.arange(4000), torch.float64)
    only = dataclasses.replace(Views(), mirrored=0.5, upside_down=0.05)
    mirrored = only.of(grey, draw)[:, 0, 0, 0] > 0.5
    upside_down = only.of(grey.transpose(2, 3), draw)[:, 0, 0, 0] > 0.5
    assert mirrored.double().mean() == pytest.approx(0.5, abs=0.03)
    assert upside_down.double().mean() == pytest.approx(0.05, abs=0.012)


def test_brightness_is_a_factor_within_the_stated_range():
    draw = Draw(6, torch.arange(2000), torch.float64)
    flat = torch.full((2000, 3, 2, 2), 0.5, dtype=torch.float64)
    made = Views(brightness=0.4).of(flat, draw)[:, :, 0, 0] / 0.5
    assert torch.allclose(made, made[:, :1].expand(-1, 3))
    assert 0.6 <= made.min() < 0.61
    assert 1.39 < made.max() <= 1.4
    bright = Views(brightness=0.4).of(flat * 1.9, draw)
    assert bright.max() == 1


@pytest.mark.parametrize("side", [1, 2, 7, 150])
def test_places_are_torch_s_own(side):
    maps = torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    expected = F.affine_grid(maps, [5, 3, side, side], align_corners=False)
    torch.testing.assert_close(grid(maps, side), expected, rtol=0, atol=1e-14)
