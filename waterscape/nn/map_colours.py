"""Maps of water as people look at them: false colour, labels, and where a map is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

SHOWN = (4, 3, 2)  # SWIR1, near infrared and red as red, green and blue: water is black to blue
BRIGHTEST = 0.4  # reflectance
Colour = tuple[float, float, float]
BLUE, SAND, GREY = (0.13, 0.40, 0.68), (0.93, 0.89, 0.80), (0.55, 0.55, 0.55)
MISSED, INVENTED = (0.95, 0.60, 0.05), (0.80, 0.10, 0.16)  # orange: water called land; red: land called water


def false_colour(bands: Tensor) -> Tensor:
    """The eight bands (N 8 H W) as SWIR1, near infrared and red: N 3 H W, in 0..1; nodata is grey."""
    return (bands[:, SHOWN].float() / BRIGHTEST).clamp(0, 1).nan_to_num(GREY[0])


def label_colours(water: Tensor, known: Tensor) -> Tensor:
    """Water blue, land sand, what is not known grey: N 1 H W twice, bool → N 3 H W, in 0..1."""
    return _painted((water, BLUE), (~water, SAND), (~known, GREY))


def error_colours(called: Tensor, water: Tensor, known: Tensor) -> Tensor:
    """As `label_colours`, with water that was missed in orange and water that is none in red."""
    wrong = ((water & ~called, MISSED), (called & ~water, INVENTED))
    return _painted((water, BLUE), (~water, SAND), *wrong, (~known, GREY))


def _painted(*layers: tuple[Tensor, Colour]) -> Tensor:
    """Colours where masks are true, a later one over an earlier one."""
    made = torch.zeros(1, 3, 1, 1, device=layers[0][0].device)
    for where, colour in layers:
        made = torch.where(where, made.new_tensor(colour)[:, None, None], made)
    return made
