"""What a network does to a raster, as a short list of operations: what tracing finds and what every output is made of.

Earth Engine's pictures have no edges: a value belongs to a pixel, and an operation looks at pixels around it. A torch
tensor has edges, and a convolution without padding makes it smaller. `Alignment` says which pixel of the input each
element of a tensor belongs to, so that cropping costs nothing on the servers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from waterscape.errors import UserError

Numbers: TypeAlias = npt.NDArray[np.float64]
Offset: TypeAlias = tuple[int, int]  # pixels down, pixels right


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation(ABC):
    """`sources` are positions in the program's list of tensors, of which 0 is the input; `place` is for messages."""

    sources: tuple[int, ...]
    place: str = ""

    @abstractmethod
    def compute(self, *tensors: Tensor) -> Tensor:
        """What torch makes of the sources (N C H W)."""

    def channels(self, *sources: int) -> int:
        """Channels that come out of so many in each source."""
        return sources[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Operation):
    """Weight O (I / groups) H W, bias O; stride 1, no padding."""

    weight: Numbers
    bias: Numbers
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def compute(self, *tensors: Tensor) -> Tensor:
        """Cross-correlation, as torch calls convolution."""
        weight, bias = torch.from_numpy(self.weight), torch.from_numpy(self.bias)
        return torch.nn.functional.conv2d(tensors[0], weight, bias, dilation=self.dilation, groups=self.groups)

    def channels(self, *_: int) -> int:
        """As many as the weight has rows."""
        return len(self.weight)

    def taps(self) -> list[Offset]:
        """Where each weight of a kernel stands, from the kernel's first corner, row by row."""
        (height, width), (down, right) = self.weight.shape[2:], self.dilation
        return [(down * row, right * column) for row in range(height) for column in range(width)]

    def __post_init__(self) -> None:
        assert self.weight.ndim == 4
        assert self.bias.shape == self.weight.shape[:1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Affine(Operation):
    """Each channel times its `scale`, plus its `shift` (C each)."""

    scale: Numbers
    shift: Numbers

    def compute(self, *tensors: Tensor) -> Tensor:
        """One multiplication and one addition a channel."""
        scale, shift = (torch.from_numpy(numbers)[:, None, None] for numbers in (self.scale, self.shift))
        return tensors[0] * scale + shift


@dataclass(frozen=True, eq=False, kw_only=True)
class Clamp(Operation):
    """Values held to `low` … `high`; None: no bound. ReLU is `low` 0."""

    low: float | None = None
    high: float | None = None

    def compute(self, *tensors: Tensor) -> Tensor:
        """Torch's `clamp`."""
        return tensors[0].clamp(self.low, self.high)


@dataclass(frozen=True, eq=False, kw_only=True)
class Leaky(Operation):
    """Leaky ReLU: negative values times `slope`."""

    slope: float

    def compute(self, *tensors: Tensor) -> Tensor:
        """Torch's `leaky_relu`."""
        return torch.nn.functional.leaky_relu(tensors[0], self.slope)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sigmoid(Operation):
    """The logistic function of each value."""

    def compute(self, *tensors: Tensor) -> Tensor:
        """Torch's `sigmoid`."""
        return tensors[0].sigmoid()


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Operation):
    """Over the channels."""

    def compute(self, *tensors: Tensor) -> Tensor:
        """Torch's `softmax`."""
        return tensors[0].softmax(1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Operation):
    """Two tensors of as many channels, added: a skip connection."""

    def compute(self, *tensors: Tensor) -> Tensor:
        """Element by element."""
        return tensors[0] + tensors[1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation(Operation):
    """The channels of the sources, one after another."""

    def compute(self, *tensors: Tensor) -> Tensor:
        """Torch's `cat`."""
        return torch.cat(tensors, 1)

    def channels(self, *sources: int) -> int:
        """All of them."""
        return sum(sources)


@dataclass(frozen=True, eq=False, kw_only=True)
class Channels(Operation):
    """Some of the channels, in this order."""

    chosen: tuple[int, ...]

    def compute(self, *tensors: Tensor) -> Tensor:
        """Indexing along the channels."""
        return tensors[0][:, list(self.chosen)]

    def channels(self, *_: int) -> int:
        """The chosen ones."""
        return len(self.chosen)


@dataclass(frozen=True, eq=False, kw_only=True)
class Crop(Operation):
    """So many rows and columns cut off at the top, left, bottom and right."""

    top: int
    left: int
    bottom: int
    right: int

    def compute(self, *tensors: Tensor) -> Tensor:
        """A window of the tensor."""
        height, width = tensors[0].shape[2:]
        return tensors[0][:, :, self.top : height - self.bottom, self.left : width - self.right]


@dataclass(frozen=True)
class Alignment:
    """Where a tensor lies over the input.

    Element [i] depends on the pixels i + s of the input, s in `support`; the tensor is shorter by `removed`; on the
    servers, element [i] is held by pixel i + `anchor`: about the middle of what it sees, the same for whatever is as
    much shorter on both sides.
    """

    anchor: Offset
    removed: Offset
    support: frozenset[Offset]

    def seen(self) -> list[Offset]:
        """The pixels that one of the servers' depends on, as offsets from it."""
        return sorted((down - self.anchor[0], right - self.anchor[1]) for down, right in self.support)


@dataclass(frozen=True)
class Program:
    """A network: `operations` in order, on an input of `inputs` channels. The last one's tensor is the output."""

    inputs: int
    operations: tuple[Operation, ...]

    def __call__(self, pictures: Tensor) -> Tensor:
        """What the network makes of pictures (N C H W), computed in float64."""
        tensors = [pictures.double()]
        for operation in self.operations:
            tensors.append(operation.compute(*(tensors[source] for source in operation.sources)))
        return tensors[-1]

    def channels(self) -> list[int]:
        """Of each tensor, the input's first."""
        channels = [self.inputs]
        for operation in self.operations:
            channels.append(operation.channels(*(channels[source] for source in operation.sources)))
        return channels

    def alignments(self) -> list[Alignment]:
        """Of each tensor, the input's first.

        Raises `UserError` where tensors are joined that do not lie over the same pixels.
        """
        alignments = [Alignment((0, 0), (0, 0), frozenset([(0, 0)]))]
        for operation in self.operations:
            alignments.append(_aligned(operation, [alignments[source] for source in operation.sources]))
        return alignments


def _aligned(operation: Operation, sources: Sequence[Alignment]) -> Alignment:
    first = sources[0]
    if isinstance(operation, Convolution):
        taps = operation.taps()
        down, right = (first.removed[axis] + taps[-1][axis] for axis in (0, 1))
        support = frozenset((y + row, x + column) for y, x in first.support for row, column in taps)
        offsets = [anchor - removed // 2 for anchor, removed in zip(first.anchor, first.removed, strict=True)]
        return Alignment((down // 2 + offsets[0], right // 2 + offsets[1]), (down, right), support)
    if isinstance(operation, Crop):
        removed = (
            first.removed[0] + operation.top + operation.bottom,
            first.removed[1] + operation.left + operation.right,
        )
        support = frozenset((down + operation.top, right + operation.left) for down, right in first.support)
        return Alignment((first.anchor[0] + operation.top, first.anchor[1] + operation.left), removed, support)
    for one, other in pairwise(sources):
        if (one.anchor, one.removed) != (other.anchor, other.removed):
            raise UserError(
                f"{operation.place} joins tensors that do not lie over the same pixels (cut by {one.removed} and "
                f"{other.removed} rows and columns): crop each side by half of what the convolutions remove"
            )
    return Alignment(first.anchor, first.removed, frozenset().union(*(source.support for source in sources)))
