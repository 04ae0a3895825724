"""A small fully convolutional network that calls each pixel water or land by what lies within three pixels of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

MARGIN = 3
"""Pixels at each edge that its output is short of its input."""
AT_ONCE = 6144
"""Pixels that go through the last two layers at once in inference: of more, their 128 channels leave the cache. In
rows of 205 pixels, of a tile of so many rows, 26 to 35 rows take 0.87 of the network's time, 8 rows 0.94."""
ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class PixelNetwork(nn.Module):
    """Bands N C H W → scores N 2 (H − 6) (W − 6), of water and of land; softmax makes probabilities of them.

    conv 3 × 3 → 16, conv 3 × 3 → 32, beside it the input; conv 3 × 3 → 64, beside it the input; conv 1 × 1 → 128,
    conv 1 × 1 → 2; no padding, so a patch of 7 × 7 pixels gives one pixel and a raster gives a raster.
    """

    def __init__(self, bands: int = 8, widths: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.first = nn.Conv2d(bands, first, 3)
        self.second = nn.Conv2d(first, second, 3)
        self.third = nn.Conv2d(second + bands, third, 3)
        self.fourth = nn.Conv2d(third + bands, fourth, 1)
        self.last = nn.Conv2d(fourth, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores; channel 0 is water."""
        y = F.relu(self.second(F.relu(self.first(x), inplace=True)), inplace=True)
        y = F.relu(self.third(torch.cat([y, x[:, :, 2:-2, 2:-2]], 1)), inplace=True)
        beside = x[:, :, 3:-3, 3:-3]
        if not _inferred(y):
            return self._called(y, beside)
        rows = max(1, AT_ONCE // max(1, len(y) * y.shape[3]))
        parts = zip(torch.split(y, rows, 2), torch.split(beside, rows, 2), strict=True)
        return torch.cat([self._called(*part) for part in parts], 2)

    def _called(self, y: Tensor, beside: Tensor) -> Tensor:
        return pointwise(self.last, F.relu(pointwise(self.fourth, torch.cat([y, beside], 1)), inplace=True))


def pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 × 1 convolution; what it learns from goes torch's usual way.

    In inference, for fewer than 16 images on one thread, torch would leave oneDNN for a slower routine of its own; the
    sums are rounded otherwise. Hooks of the layer are not called then.
    """
    if ONEDNN and _inferred(x) and x.dtype == torch.float32:
        return torch.mkldnn_convolution(x, layer.weight, layer.bias, (0, 0), (1, 1), (1, 1), 1)
    found: Tensor = layer(x)
    return found


def _inferred(x: Tensor) -> bool:
    """Whether this is inference on a CPU, and no tracing."""
    return torch.is_inference_mode_enabled() and isinstance(x, Tensor) and x.is_cpu
