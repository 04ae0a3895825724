"""Checkpoints that are whole or absent.

A checkpoint is a directory `checkpoints/000020000` (images) of one safetensors file for each network and each average,
one file for each optimizer, and `state.json`, which holds the progress and the sha256 of every other file. It is
written under a temporary name, forced to disk and renamed; only then is an older one dropped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from waterscape.durable import sync
from waterscape.errors import UserError

FORMAT = 1
STATE = "state.json"
PARTIAL = ".partial-"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; `sha256` is that of its `state.json`, and so of all of it."""

    path: Path
    sha256: str
    state: Mapping[str, Any]


def save(
    directory: Path,
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, Mapping[str, Tensor]],
    optimizers: Mapping[str, torch.optim.Optimizer],
    state: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint of `state["images"]` images, durably, then drop all but the newest `keep`."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{state['images']:012d}"
    for stale in directory.glob(PARTIAL + "*"):
        shutil.rmtree(stale)
    partial = directory / (PARTIAL + name)
    partial.mkdir()
    for network, module in networks.items():
        save_file(_whole(module.state_dict()), partial / f"network.{network}.safetensors")
    for network, tensors in averages.items():
        save_file(_whole(tensors), partial / f"average.{network}.safetensors")
    for network, optimizer in optimizers.items():
        torch.save(optimizer.state_dict(), partial / f"optimizer.{network}.pt")
    sums = {}
    for path in sorted(partial.iterdir()):
        sums[path.name] = _sha256(path)
        sync(path)
    text = json.dumps({"format": FORMAT, **state, "files": sums}, indent=1)
    (partial / STATE).write_text(text + "\n")
    sync(partial / STATE)
    sync(partial)
    final = directory / name
    if final.exists():  # a damaged one of the same name, passed over on resuming
        shutil.rmtree(final)
    partial.rename(final)
    sync(directory)
    for older in _all(directory)[:-keep]:
        shutil.rmtree(older)
    return final


def newest(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint, each of its files checked; a broken one is passed over with a warning."""
    for path in reversed(_all(directory)):
        try:
            return verify(path)
        except (OSError, ValueError) as error:
            warnings.warn(f"checkpoint {path} is passed over: {error}", stacklevel=2)
    return None


def verify(path: Path) -> Checkpoint:
    """The checkpoint at `path`. Raises `ValueError` or `OSError` unless every file is there with its sha256."""
    text = (path / STATE).read_bytes()
    state = json.loads(text)
    if state["format"] > FORMAT:
        raise UserError(f"its format {state['format']} is newer than this version's {FORMAT}: update waterscape")
    for name, expected in state["files"].items():
        if _sha256(path / name) != expected:
            raise ValueError(f"{name} has another sha256 than its state.json says")
    return Checkpoint(path, hashlib.sha256(text).hexdigest(), state)


def load_networks(checkpoint: Checkpoint, networks: Mapping[str, nn.Module], *, averaged: bool = False) -> None:
    """Fill the networks from a checkpoint; where `averaged`, from the averages that it holds.

    Raises `UserError` where the checkpoint's tensors are not those of the networks.
    """
    for name, network in networks.items():
        average = checkpoint.path / f"average.{name}.safetensors"
        path = average if averaged and average.exists() else checkpoint.path / f"network.{name}.safetensors"
        if not path.exists():
            raise UserError(f"{checkpoint.path} holds no network {name!r}: it is a checkpoint of another model")
        tensors = load_file(path)
        wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        found = {key: tuple(value.shape) for key, value in tensors.items()}
        different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        if different:
            key = different[0]
            raise UserError(
                f"{path} is of another network: {key} is {found.get(key)} there and {wanted.get(key)} here"
                f" ({len(different)} tensors differ)"
            )
        network.load_state_dict(tensors)


def load_averages(checkpoint: Checkpoint, names: Mapping[str, object]) -> dict[str, dict[str, Tensor]]:
    """The averages that a checkpoint holds of the named networks."""
    return {name: load_file(checkpoint.path / f"average.{name}.safetensors") for name in names}


def load_optimizers(checkpoint: Checkpoint, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
    """Fill the optimizers' state. Nothing but tensors and plain values is unpickled."""
    for name, optimizer in optimizers.items():
        state = torch.load(checkpoint.path / f"optimizer.{name}.pt", map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state)


def _all(directory: Path) -> list[Path]:
    """The checkpoints of a directory, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.name.isdigit() and path.is_dir())


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
