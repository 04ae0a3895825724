"""Other views of a photo, on the device: one warp for all that moves pixels, one step for all that changes colours.

The steps of a usual chain (random crop, rotation, mirroring, random resized crop) are composed into one map from the
new picture's pixels to the old one's, so each picture is interpolated once. Parameters come from a `Draw`: a picture's
view is the same on any number of processes and in any batch.

Kornia's `warp_affine` makes the same of the same maps to 3e-5 of 0..1, since both call torch's `grid_sample`; it gets
its places from `affine_grid`, so on a CPU it is slower (`python -m benchmarks B18` sets both speeds and pictures
against one another). It wants maps the other way round, and where a part is cut out first the part's edge fades to
black over one pixel (1 % of all in the augmentation that `scene_classifier` is published with), where ours is sharp.
Its change of saturation keeps the range by itself, so its colour steps are no one matrix. So torch's own operation is
called here, and every process starts with one library less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.nn.constants import constant
from waterscape.randomness import Draw

TRIES = 10  # of a random resized crop to lie within the picture, as torchvision has it; then the whole is taken
GREY = (0.299, 0.587, 0.114)  # BT.601


@dataclass(frozen=True)
class Views:
    """How far views differ from the picture. Steps in this order; a share of one is that of a side."""

    crop: float = 1.0
    """A square of this share of the side, anywhere."""
    degrees: float = 0.0
    """Turned by up to so many, either way."""
    mirrored: float = 0.0
    """How often left and right change places."""
    upside_down: float = 0.0
    """How often top and bottom do."""
    area: tuple[float, float] = (1.0, 1.0)
    """A rectangle of this share of the area is brought to the full size,"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """width over height within these (a random resized crop)."""
    brightness: float = 0.0
    """Times 1 ± this,"""
    contrast: float = 0.0
    """the distance from middle grey times 1 ± this,"""
    saturation: float = 0.0
    """and that from the pixel's own grey times 1 ± this."""
    black: bool = True
    """What lies outside of the turned crop is black, as in a chain of steps; else the picture goes on, mirrored."""

    def of(self, images: Tensor, draw: Draw) -> Tensor:
        """One view of each picture (N 3 S S, in 0..1): the same shape and range."""
        return self.coloured(self.warped(images, draw), draw)

    def warped(self, images: Tensor, draw: Draw) -> Tensor:
        """The warp: bilinear, each picture by a map of its own."""
        side = images.shape[-1]
        kept = round(self.crop * side)
        first = torch.floor(draw.uniform("crop", 2) * (side - kept + 1))  # whole pixels, as a crop takes
        half, middle = kept / side, (2 * first + kept) / side - 1
        maps = self._maps(draw) * half  # into the first crop, and from there into the picture
        maps[:, :, 2] += middle
        places = grid(maps, side)
        beyond = "zeros" if self.black else "reflection"
        found = F.grid_sample(images, places, mode="bilinear", padding_mode=beyond, align_corners=False)
        if not self.black:
            return found
        right, down = ((places[..., axis] - middle[:, None, None, axis]).abs_() <= half for axis in (0, 1))
        return found.mul_((right & down)[:, None])

    def _maps(self, draw: Draw) -> Tensor:
        """Places in the view → places in the first crop, both in −1 … 1: N 2 3."""
        angle = (2 * draw.uniform("angle") - 1) * math.radians(self.degrees)
        turn = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
        chances = draw.uniform("mirror", 2)
        often = constant(chances, self.mirrored, self.upside_down)
        turn = turn * (1 - 2 * (chances < often).to(turn.dtype))[:, None, :]
        sides, middle = self._rectangle(draw)
        return torch.cat([turn * sides[:, None, :], turn @ middle[:, :, None]], 2)

    def _rectangle(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """The last rectangle's width and height, as shares of the side, and its middle in −1 … 1: N 2 each."""
        chances = draw.uniform("rectangle", TRIES, 2)
        area = self.area[0] + chances[..., 0] * (self.area[1] - self.area[0])
        low, high = (math.log(end) for end in self.ratio)
        ratio = torch.exp(low + chances[..., 1] * (high - low))
        tried = torch.sqrt(torch.stack([area * ratio, area / ratio], 2))  # N TRIES 2
        fits = (tried <= 1).all(2)
        first = fits.to(torch.int8).argmax(1)
        sides = tried.gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0]
        sides = torch.where(fits.any(1)[:, None], sides, torch.ones_like(sides))
        return sides, (2 * draw.uniform("place of the rectangle", 2) - 1) * (1 - sides)

    def coloured(self, images: Tensor, draw: Draw) -> Tensor:
        """The colour step: one matrix and one offset a picture, then the range is kept."""
        if not (self.brightness or self.contrast or self.saturation):
            return images
        most = constant(images, self.brightness, self.contrast, self.saturation)
        light, contrast, colour = (1 + (2 * draw.uniform("colours", 3) - 1) * most).unbind(1)
        grey = constant(images, *GREY).expand(3, 3)
        own = torch.eye(3, dtype=images.dtype, device=images.device)
        matrix = (light * contrast)[:, None, None] * (grey + colour[:, None, None] * (own - grey))
        offset = 0.5 * (1 - contrast)
        made = torch.einsum("nij,njhw->nihw", matrix, images) + offset[:, None, None, None]
        return made.clamp(0, 1)


def grid(maps: Tensor, side: int) -> Tensor:
    """Where the pixels of a square picture come from by maps of places in −1 … 1 (N 2 3): N side side 2.

    As `affine_grid` gives it, to rounding; that multiplies matrices of three columns, a tenth as fast on a CPU.
    """
    pixels = (2 * torch.arange(side, dtype=maps.dtype, device=maps.device) + 1) / side - 1
    along, down, middle = maps.unbind(2)  # N 2
    places = maps.new_empty(len(maps), side, side, 2)
    for axis in (0, 1):
        columns, rows = along[:, axis, None] * pixels, down[:, axis, None] * pixels + middle[:, axis, None]
        torch.add(columns[:, None, :], rows[:, :, None], out=places[..., axis])
    return places
