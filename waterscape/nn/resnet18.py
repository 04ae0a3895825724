"""ResNet-18, and its weights as torchvision and the Places365 project write them.

Source: He 2016 (arXiv:1512.03385), table 1. Scenes: Zhou 2018 (doi:10.1109/TPAMI.2017.2723009), whose file
`resnet18_places365.pth.tar` (365 classes) stands at places2.csail.mit.edu; it is not downloaded from here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from waterscape.errors import UserError
from waterscape.nn.batchnorm import GlobalBatchNorm2d
from waterscape.nn.weights_file import read_tensors

WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two convolutions of 3 × 3 beside a way past them: N C H W → N C' H/stride W/stride."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = GlobalBatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = GlobalBatchNorm2d(after)
        self.downsample = nn.Sequential(
            *([nn.Conv2d(before, after, 1, stride=stride, bias=False), GlobalBatchNorm2d(after)] if stride > 1 else [])
        )

    def forward(self, seen: Tensor) -> Tensor:
        """See the class."""
        found = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(seen)))))
        return torch.relu(found + self.downsample(seen))


class ResNet18(nn.Module):
    """Photo (N 3 H W, normalised) → logits of the classes (N C). Its tensors have torchvision's names."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = GlobalBatchNorm2d(WIDTHS[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = WIDTHS[0]
        for number, after in enumerate(WIDTHS, 1):
            stride = 1 if number == 1 else 2
            setattr(self, f"layer{number}", nn.Sequential(Block(before, after, stride), Block(after, after, 1)))
            before = after
        self.fc = nn.Linear(before, classes)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        seen = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        for number in range(1, len(WIDTHS) + 1):
            seen = getattr(self, f"layer{number}")(seen)
        logits: Tensor = self.fc(seen.mean((2, 3)))
        return logits


def fill_resnet18(network: ResNet18, path: Path, option: str) -> None:
    """Load weights of a file that the user named by `option`: safetensors, or whatever torch reads without pickles.

    Raises:
        UserError: no such file, none that can be read safely, or another network's.
    """
    told = f"{option} {path}"
    found = read_tensors(path, option)
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # older files have none; never used
    wrong = [name for name in wanted if name not in counters and _shape(found.get(name)) != _shape(wanted[name])]
    if wrong:
        raise UserError(
            f"{told} holds weights of another network than ResNet-18 of {network.fc.out_features} classes: "
            f"{len(wrong)} of {len(wanted) - len(counters)} tensors are missing or of another shape, such as {wrong[0]}"
        )
    network.load_state_dict({name: found.get(name, value) for name, value in wanted.items()})


def _shape(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
