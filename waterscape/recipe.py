"""The contract between a model and the engine: a recipe says what to learn, the engine knows how.

A model is one file in `waterscape/models/` with a frozen dataclass derived from `Recipe`, whose fields are the model's
options, and a mapping `PRESETS` from a preset's name to such a recipe.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from waterscape.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from waterscape.randomness import Draw

Networks: TypeAlias = "Mapping[str, nn.Module]"
Batch: TypeAlias = "Mapping[str, Tensor]"  # as the recipe's inputs declare: N C H W, its range, on the device
Losses: TypeAlias = "Mapping[str, Tensor]"  # "loss" is descended, all are logged; each the mean over the batch


@dataclass(frozen=True)
class Input:
    """A column of the shards that a model reads, and the numbers that its stored values become.

    `shape` is that of one sample as the model sees it: C H W of a picture, D of a row of numbers, () of a class.
    `stored` is the range of the stored values (occurrence: 0 to 100 percent), mapped linearly onto `range`. An input
    with `classes` stays an integer; the data set's own classes must be those. A column of photos (`.jpg`) is stored as
    0 to 255; they are decoded to the shape's H and W, cut from the middle.
    """

    column: str
    shape: tuple[int, ...] = ()
    stored: tuple[float, float] = (0.0, 1.0)
    range: tuple[float, float] = (0.0, 1.0)
    classes: tuple[str, ...] = ()

    @property
    def picture(self) -> tuple[int, int] | None:
        """Height and width that the photos of this column are decoded to; None where it holds no photos."""
        return (self.shape[1], self.shape[2]) if self.column.endswith("jpg") else None

    def numbers(self, stored: Tensor, dtype: torch.dtype) -> Tensor:
        """Stored values (N H W, N H W C, N D or N) as the model's input (N C H W, N D or N), on whatever device.

        Raises `UserError` where the samples are of another size.
        """
        import torch

        if self.classes:
            return stored.to(torch.int64)
        if stored.ndim == 4:
            stored = stored.permute(0, 3, 1, 2)
        if stored.numel() != len(stored) * math.prod(self.shape):
            there, wanted = (" × ".join(map(str, shape)) for shape in (stored.shape[1:], self.shape))
            raise UserError(f"samples of {self.column} are {there}, the model reads {wanted}: pack them at that size")
        (low, high), (bottom, top) = self.stored, self.range
        scale = (top - bottom) / (high - low)
        offset = bottom - low * scale
        numbers = stored.to(dtype)
        # No step more than it takes, and in memory that is ours: what was given may be kept by somebody.
        if scale != 1:
            numbers = numbers * scale if numbers is stored else numbers.mul_(scale)
        if offset != 0:
            numbers = numbers + offset if numbers is stored else numbers.add_(offset)
        return numbers.reshape(len(stored), *self.shape)


@dataclass(frozen=True)
class Phase:
    """One descent: which networks move, and down which slope.

    `loss` reaches a network by calling it, `networks["encoder"](image)`: only so does the run's precision apply. A
    parameter that it does not reach has the gradient zero. Every network that is not in `trains` is frozen meanwhile,
    but stays in training mode where another phase trains it. The batch's other samples, on all processes, are seen
    through `nn.global_batch.gather_batch` and `nn.batchnorm` alone. A model that is trained one way and then another
    says from and until which number of images of the run each of its phases is taken.
    """

    name: str
    trains: tuple[str, ...]
    loss: Callable[[Networks, Batch, Draw], Losses]
    every: int = 1  # steps; a lazy regulariser's gain is `every` (Karras 2020, arXiv:1912.04958, appendix B)
    since: int = 0  # images
    until: float = math.inf  # images

    def due(self, steps: int, images: int) -> bool:
        """Whether the step that comes after so many steps and images takes this phase."""
        return self.since <= images < self.until and steps % self.every == 0


@dataclass(frozen=True)
class Progress:
    """How far a run is. `images` counts the global batch, `epochs` is fractional."""

    images: int
    steps: int
    epochs: float


class Recipe(ABC):
    """What to learn. Derive a frozen dataclass; its fields are the options on the command line."""

    starts: ClassVar[Mapping[str, str]] = {}
    """The runs that this one starts from: name on the command line (`--start NAME=RUN`) → model that made it."""

    may_start: ClassVar[Mapping[str, str]] = {}
    """Runs that it may start from besides, where they are named."""

    @abstractmethod
    def inputs(self) -> Mapping[str, Input]:
        """The batch's entries by name."""

    @abstractmethod
    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        """Fresh networks, in float32 on the CPU. `starts` holds what the runs that were named trained."""

    def wants(self) -> str:
        """What must be installed before `networks` can be made, as a command; empty: nothing."""
        return ""

    def fill(self, networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
        """Fresh networks with weights from outside. A run that is resumed or loaded has them in its checkpoint."""
        return networks

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The descents of one step, in order."""

    @abstractmethod
    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the network `name`, at its full rate."""

    def rate(self, name: str, progress: Progress) -> float:
        """Multiplier on the learning rate of the network `name`: a pure function of the progress."""
        return 1.0

    def averages(self) -> Mapping[str, float]:
        """Networks of which a running average is kept, with its half-life in images; shown, measured and sampled."""
        return {}

    @abstractmethod
    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> Mapping[str, Tensor]:
        """Labelled rows (K C H W, in 0..1) that show how good the networks are.

        Rows of new pictures from fixed noise have labels that begin with `new`.
        """

    def measure(self, networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Figures of held-out samples: each a scalar, summed over the batch's samples. No randomness."""
        return {}

    def figures(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """What people are told, of the means of what `measure` summed: ratios of them, such as a class's recall."""
        return means

    def classify(self, networks: Networks, batch: Batch) -> Tensor:
        """Probabilities of the classes (N C) of the input with classes, which the batch need not hold."""
        raise ValueError("this model knows no classes, so there is nothing to classify")

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        """The batch's pictures as the networks make them again (N C H W, in 0..1). No randomness."""
        raise ValueError("this model makes no pictures again, so there is nothing to compare")

    def enlarge(self, networks: Networks, low: Tensor) -> Tensor:
        """Pictures as the input `low`, of any size (N C H W, in 0..1), in finer pixels: N C fH fW, in 0..1."""
        raise ValueError("this model enlarges nothing")

    def segment(self, networks: Networks, batch: Batch) -> Tensor:
        """Probability of water (N 1 H W) at the pixels of the batch's pictures; NaN where it is not known."""
        raise ValueError("this model tells no water from land")

    def margin(self) -> int:
        """Pixels that `segment` sees around each pixel."""
        raise ValueError("this model sees pictures as wholes, not the pixels around one")

    def encode(self, networks: Networks, batch: Batch) -> Tensor:
        """The numbers (N D) that the batch's pictures are to the model. No randomness."""
        raise ValueError("this model makes no numbers of a picture")

    def decode(self, networks: Networks, numbers: Tensor) -> Tensor:
        """The pictures (N C H W, in 0..1) that numbers (N D) stand for; they may be of another kind than `pictured`."""
        raise ValueError("this model makes no pictures of numbers, so there is nothing to predict")

    def draw_latent(self, draw: Draw) -> Tensor:
        """The numbers that new pictures are made of, one row for each of `draw`: N D, standard normal."""
        raise ValueError("this model makes no new pictures, so it has no numbers to make them of")

    def generate(self, networks: Networks, latent: Tensor, classes: Tensor) -> Tensor:
        """The new pictures (N C H W, in 0..1) of numbers (N D); `classes` (N, int64) says which are wanted."""
        raise ValueError("this model makes no new pictures, so there is nothing to sample")

    def sample(self, networks: Networks, draw: Draw, classes: Tensor) -> Tensor:
        """New pictures (N C H W, in 0..1), one for each row of `draw`, of the wanted `classes` (N, int64)."""
        return self.generate(networks, self.draw_latent(draw), classes)

    def sample_classes(self) -> tuple[str, ...]:
        """The classes that `sample` can be asked for; none where the model knows no classes."""
        return ()

    def embed(self, networks: Networks, batch: Batch) -> Tensor:
        """Where a classifier sees the samples: N D, alike ones near one another."""
        raise ValueError("this model says of no sample where it sees it")

    def describe(self, networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Numbers that the model estimates of the samples: name → N."""
        raise ValueError("this model estimates no numbers")

    def known_classes(self) -> tuple[str, ...]:
        """The classes of the first input that has some, in the order of their numbers; none where none has."""
        return next((entry.classes for entry in self.inputs().values() if entry.classes), ())

    def pictured(self) -> str:
        """The input that holds the pictures: the first that is no class."""
        return next(name for name, entry in self.inputs().items() if not entry.classes)

    @classmethod
    def can(cls, what: str) -> bool:
        """Whether the model has what not every model has: `sample`, `reconstruct`, `classify`, and so on."""
        return getattr(cls, what) is not getattr(Recipe, what)
