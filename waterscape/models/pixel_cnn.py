"""Pixel CNN: Landsat's eight bands → the probability of water, at each pixel by the 7 × 7 pixels around it.

Source: the water-extraction reference (38 514 parameters, 7 × 7 patches: all water of a tile and up to five times as
much land, water undersampled to equal where it dominates; cross-entropy, Adam 1e-5, batches of 4096, ten epochs).
Here whole windows run through the network and each pixel's loss is weighed as its patch would be drawn
(`nn/balanced_pixels.py`). `reference` draws patches anew whenever a window comes by, in one of its blocks of 16 × 16
pixels: 32 windows give 8192 pixels, of which about half are drawn.

    waterscape train pixel_cnn --data shards/landsat --out runs/pixels
    waterscape train pixel_cnn:reference --data shards/landsat --out runs/pixels --from-keras weights.h5

On 70 real windows of HLS with masks by hand, split by place (41 to train on, 18 in test), about 15 s of training on one
thread for each, three seeds (mean ± standard deviation; the masks count floods that no image shows):
                                            IoU             accuracy        boundary IoU
    reference, 5088 windows = 159 steps     0.449 ± 0.028   0.809 ± 0.003   0.083 ± 0.026
    the same at rate 4e-3                   0.503 ± 0.004   0.801 ± 0.001   0.163 ± 0.004
    recommended, 7072 windows = 221 steps   0.594 ± 0.014   0.859 ± 0.003   0.159 ± 0.008
    MNDWI > 0                               0.461           0.816           0.087
    Otsu on MNDWI, of each window           0.369           0.735           0.070
So `reference` is no better than the index after so few steps: its rate moves a weight by 1e-5 a step at most, and its
ten epochs are 640 visits to each window, 820 steps here. Built-up land is the one cover where `recommended` loses to
the index in accuracy (0.854 against 0.874).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics import segmentation
from waterscape.nn.augment import cut, turn_and_mirror
from waterscape.nn.balanced_pixels import balanced_chances, seen_whole, without_nodata
from waterscape.nn.blocks import glorot
from waterscape.nn.keras_weights import fill_convolutions, missing_library
from waterscape.nn.map_colours import error_colours, false_colour, label_colours
from waterscape.nn.normalised import Normalised
from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

BANDS = 8
TYPICAL = (0.05, 0.08, 0.10, 0.20, 0.20, -0.30, 0.0, 0.1)  # means of the bands over land and water
SPREAD = (0.03, 0.04, 0.05, 0.10, 0.11, 0.45, 0.3, 0.1)
WINDOWS_AT_ONCE = 8  # windows, where no gradient is kept: bounds the memory


@dataclass(frozen=True)
class PixelCnn(Recipe):
    """Options of the pixel CNN."""

    side: int = 128
    """Pixels a side of the windows in the shards (`--tile-size` of pack_landsat)."""
    block: int = 16
    """Pixels a side of the part of a window that a step learns from, anywhere in it; 0: all of it."""
    sampling: Literal["drawn", "expected", "all"] = "drawn"
    """Pixels that a step learns from. drawn: those of a balanced set of patches, each with its chance, anew each time.
    expected: all, weighed by that chance. all: all alike."""
    standardised: bool = False
    """Bring each band to about mean 0 and variance 1 first."""
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Channels of the convolutions."""
    learning_rate: float = 1e-5
    """Of Adam."""
    warm_up_images: int = 0
    """The rate rises linearly over so many windows."""
    average_images: int = 0
    """Half-life in windows of a running average of the weights; 0: none is kept."""
    smoothing: float = 0.0
    """Share of a label that is spread over both classes (Szegedy 2016, arXiv:1512.00567)."""
    turns: bool = False
    """Show each window in a random one of its eight orientations."""
    from_keras: str = ""
    """Begin with weights that Keras saved: a file, .h5, .weights.h5 or .keras."""

    def inputs(self) -> Mapping[str, Input]:
        return {
            "bands": Input("bands.npy", (BANDS, self.side, self.side)),
            "water": Input("water.npy", (1, self.side, self.side)),  # beyond 1: not known
        }

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        network: nn.Module = glorot(PixelNetwork(BANDS, self.widths))
        return {"pixels": nn.Sequential(Normalised(TYPICAL, SPREAD), network) if self.standardised else network}

    def wants(self) -> str:
        return missing_library() if self.from_keras else ""

    def fill(self, networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
        if self.from_keras:
            network = networks["pixels"]
            if isinstance(network, nn.Sequential):  # such weights were learnt from the bands as they are
                network[0] = Normalised((0.0,) * BANDS, (1.0,) * BANDS)
            fill_convolutions(network, self.from_keras)
        return networks

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("pixels", ("pixels",), self.wrong),)

    def wrong(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """Cross-entropy of each pixel as often as its patch is drawn, over the pixels of a block.

        So each patch counts the same whichever window it is of, as in batches of patches of all tiles: a window's own
        mean would count the patches of a window with little water more. Such a batch has a fixed number of patches
        where this has a fixed number of blocks, so in expectation the gradients are equal up to one factor for all
        steps, to which Adam is indifferent.
        """
        bands, water, weight = self.part(batch, draw)
        scores = networks["pixels"](bands).to(bands.dtype)
        kind = (~water[:, 0]).long()  # channel 0 is water
        errors = weight * F.cross_entropy(scores, kind, reduction="none", label_smoothing=self.smoothing)[:, None]
        right = weight * (scores.argmax(1) == kind)[:, None]
        each = weight.sum((1, 2, 3)).clamp(min=1e-6)
        return {
            "loss": errors.sum((1, 2, 3)).mean() / weight[0].numel(),
            "cross-entropy": (errors.sum((1, 2, 3)) / each).mean(),
            "accuracy in training": (right.sum((1, 2, 3)) / each).mean(),
            "pixels of a window": weight.sum((1, 2, 3)).mean(),
        }

    def part(self, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """What a step learns from: bands N 8 (S + 6) (S + 6), whether it is water N 1 S S, its weight N 1 S S."""
        bands, label = batch["bands"], batch["water"][..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        balanced, whole = self.sampling != "all", label.shape[2]
        weight = balanced_chances(*kinds(bands, label), bands.dtype) if balanced else torch.ones_like(label)
        if 0 < self.block < whole:
            bands, label, weight = a_block(bands, label, weight, self.block, draw)
        water, land = kinds(bands, label)
        weight = weight * (water | land)
        bands = without_nodata(bands)
        if self.turns:
            bands, water, weight = (turn_and_mirror(each, draw) for each in (bands, water, weight))
        if self.sampling == "drawn":
            weight = (draw.uniform("patches", *weight.shape[1:]) < weight).to(weight.dtype)
        return bands, water, weight

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, eps=1e-7, fused=True)  # Keras's eps

    def rate(self, name: str, progress: Progress) -> float:
        return min(1.0, (progress.images + 1) / self.warm_up_images) if self.warm_up_images else 1.0

    def averages(self) -> Mapping[str, float]:
        return {"pixels": float(self.average_images)} if self.average_images else {}

    def segment(self, networks: Networks, batch: Batch) -> Tensor:
        pieces = [self._segment(networks, bands) for bands in torch.split(batch["bands"], WINDOWS_AT_ONCE)]
        return torch.cat(pieces)

    def _segment(self, networks: Networks, bands: Tensor) -> Tensor:
        whole = seen_whole(bands, MARGIN)  # before the network, whose layers drive the bands out of the cache
        scores = networks["pixels"](without_nodata(bands)).to(bands.dtype)
        found = torch.sigmoid(scores[:, :1] - scores[:, 1:])  # the softmax of two, with one exponential
        return F.pad(torch.where(whole, found, torch.nan), (MARGIN,) * 4, value=torch.nan)

    def margin(self) -> int:
        return MARGIN

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Pixels told right and wrong, where there is a label and all is seen."""
        found = self.segment(networks, batch)
        called, label, judged = found > 0.5, batch["water"], found.isfinite() & (batch["water"] <= 1)
        true = label >= 0.5
        counts = (called & true, called & ~true, ~called & true, ~called & ~true)
        return {name: (count & judged).sum().double() for name, count in zip(segmentation.SUMMED, counts, strict=True)}

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        return segmentation.figures(means)

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        found, label = self.segment(networks, batch), batch["water"]
        true, known = label >= 0.5, found.isfinite() & (label <= 1)
        return {
            "SWIR1, NIR, red": false_colour(batch["bands"]),
            "label": label_colours(true, label <= 1),
            "probability\nof water": found.nan_to_num(0.0).clamp(0, 1),
            "errors: orange\nwas missed, red\nis no water": error_colours(found > 0.5, true, known),
        }


def kinds(bands: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Where there is water and where land to learn from: bands N C (H + 6) (W + 6), labels N 1 H W → N 1 H W each."""
    whole = seen_whole(bands, MARGIN)
    return whole & (label >= 0.5) & (label <= 1), whole & (label < 0.5)


def a_block(bands: Tensor, label: Tensor, weight: Tensor, side: int, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
    """One of the blocks that each window is divided in, with the pixels around it that the network sees.

    Each pixel is in exactly one block: where the last block of a row would go beyond the window it begins earlier, and
    what it shares with the one before has no weight there. So all pixels come equally often.
    """
    whole = weight.shape[2]
    blocks = -(-whole // side)
    first = side * draw.integers("block", blocks, 2)
    start = first.clamp(max=whole - side)
    top, left = start.unbind(1)
    places = torch.arange(side, device=weight.device)
    own = start[:, :, None] + places >= first[:, :, None]  # N 2 S
    owned = own[:, 0, :, None] & own[:, 1, None, :]
    weight = cut(weight, top, left, side) * owned[:, None]
    return cut(bands, top, left, side + 2 * MARGIN), cut(label, top, left, side), weight


SEARCH = {
    "learning_rate": (1e-3, 4e-3, 1e-2),
    "sampling": ("drawn", "expected", "all"),
    "block": (16, 32, 59),
}
"""Where to look, the same for each preset, when two are compared; first each is tried as it stands."""

PRESETS = {
    "reference": PixelCnn(),
    "recommended": PixelCnn(
        sampling="all",
        standardised=True,
        learning_rate=4e-3,
        warm_up_images=500,
        average_images=2000,
        turns=True,
    ),
}
