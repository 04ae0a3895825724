"""Convolutions' weights out of files that Keras wrote: .h5 of Keras 2 and 3, .weights.h5 and .keras of Keras 3.

However the groups of such a file are named, a layer is a group with a kernel (height, width, in, out) and a bias (out).
Their order is the one that the file states (`layer_names`), else that of the names, in which numbers count as numbers.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from waterscape.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL = "pip install 'waterscape[keras]'"
OF_OPTIMIZERS = ("optimizer", "optimizer_weights", "_optimizer", "top_level_model_weights")
WITHIN_KERAS = "model.weights.h5"  # the file of weights in a .keras archive


@dataclass(frozen=True)
class Layer:
    """A layer as Keras has it: `kernel` (height, width, in, out), `bias` (out)."""

    name: str
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


def missing_library() -> str:
    """The command that installs what is missing; empty: nothing is."""
    return "" if importlib.util.find_spec("h5py") else INSTALL


def fill_convolutions(network: nn.Module, path: str) -> None:
    """Load a file's layers into the convolutions of a network, in the order of both.

    Raises:
        UserError: no such file, one that cannot be read, or layers of other numbers and shapes, the first one named.
    """
    layers = read_layers(path)
    wanted = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    if len(layers) != len(wanted):
        there = ", ".join(layer.name for layer in layers) or "none"
        raise UserError(f"--from-keras {path} has {len(layers)} convolutions ({there}); the network has {len(wanted)}")
    for layer, (name, part) in zip(layers, wanted.items(), strict=True):
        shape = tuple(part.weight.permute(2, 3, 1, 0).shape)
        if layer.kernel.shape != shape or layer.bias.shape != shape[-1:]:
            raise UserError(
                f"--from-keras {path}: the kernel of {layer.name} is {_by(layer.kernel.shape)} with a bias of "
                f"{_by(layer.bias.shape)}; that of the network's {name} is {_by(shape)} with {shape[-1]} (height, "
                "width, in, out): it is of another network"
            )
    with torch.no_grad():
        for layer, part in zip(layers, wanted.values(), strict=True):
            part.weight.copy_(torch.from_numpy(layer.kernel).permute(3, 2, 0, 1))
            assert part.bias is not None
            part.bias.copy_(torch.from_numpy(layer.bias))


def read_layers(path: str) -> list[Layer]:
    """The layers of a file that have a kernel and a bias, in order; a dense layer's (in, out) is one of 1 × 1.

    Raises:
        UserError: no such file, one that cannot be read, or no h5py to read it with.
    """
    if missing_library():
        raise UserError(f"reading --from-keras {path} takes h5py: {INSTALL}")
    if not Path(path).is_file():
        raise UserError(f"--from-keras {path}: there is no such file")
    h5py = importlib.import_module("h5py")
    source: Any = path
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(WITHIN_KERAS))
        with h5py.File(source, "r") as file:
            return _layers(file, h5py)
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise UserError(f"--from-keras {path} cannot be read ({' '.join(str(error).split())[:80]})") from error


def _layers(file: Any, h5py: Any) -> list[Layer]:
    """Walk the file: each group with arrays is a layer, or part of one."""
    root = file.get("model_weights", file)
    arrays: dict[str, list[NDArray[np.float32]]] = {}

    def visit(name: str, found: Any) -> None:
        first = name.split("/")[0]
        if isinstance(found, h5py.Dataset) and found.ndim and first not in OF_OPTIMIZERS:
            arrays.setdefault(name.rpartition("/")[0], []).append(np.asarray(found, np.float32))

    root.visititems(visit)
    stated = [name.decode() if isinstance(name, bytes) else str(name) for name in root.attrs.get("layer_names", ())]
    layers = []
    for group in sorted(arrays, key=lambda name: (_stated_place(name, stated), _natural(name))):
        kernels = [array for array in arrays[group] if array.ndim in (2, 4)]
        biases = [array for array in arrays[group] if array.ndim == 1]
        if len(kernels) == len(biases) == 1:
            kernel = kernels[0].reshape(1, 1, *kernels[0].shape) if kernels[0].ndim == 2 else kernels[0]
            layers.append(Layer(_name(group), kernel, biases[0]))
    return layers


def _stated_place(group: str, stated: list[str]) -> int:
    """Where the file says that a layer comes: of Keras 2 and its like, whose first groups are the layers."""
    first = group.split("/")[0]
    return stated.index(first) if first in stated else len(stated)


def _natural(name: str) -> list[tuple[int, str]]:
    """A name to sort by: conv2d before conv2d_1, conv2d_9 before conv2d_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _name(group: str) -> str:
    """What the file calls a layer: conv2d_1 of conv2d_1/conv2d_1 and of layers/conv2d_1/vars."""
    return next((part for part in reversed(group.split("/")) if part != "vars"), group)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
