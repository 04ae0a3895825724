"""Checkpoints on disk: what they hold, whether they are whole, and how a learner takes one up.

A checkpoint is a directory `checkpoints/000000020000` (images) of one safetensors file for each network, each average
and each optimizer, and `state.json`, which holds the progress, the optimizers' settings, size and sha256 of every
other file, and last its own sha256. `writer` writes them. Nothing in them is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from waterscape.errors import UserError

FORMAT = 2
STATE = "state.json"
SEAL = "sha256"
PARTIAL = ".partial-"

Tensors = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; `sha256` is that of its `state.json`, and so of all of it."""

    path: Path
    sha256: str
    state: Mapping[str, Any]

    @property
    def images(self) -> int:
        """How far the run was."""
        found: int = self.state["images"]
        return found

    @property
    def bytes(self) -> int:
        """Of all files but `state.json`."""
        return sum(file["bytes"] for file in self.state["files"].values())

    def read(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of its files, in memory of their own. Raises `UserError` where it has no such file."""
        if name not in self.state["files"]:
            raise UserError(f"{self.path} holds no {name}: it is a checkpoint of another model")
        try:
            return safetensors.torch.load((self.path / name).read_bytes())
        except safetensors.SafetensorError as error:
            raise UserError(f"{self.path / name} is no safetensors file: {error}") from None


def tensors(
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, Tensors],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> dict[str, Tensors]:
    """All tensors that must survive, by file and by name within the file."""
    files: dict[str, Tensors] = {_file("network", n): network.state_dict() for n, network in networks.items()}
    files |= {_file("average", name): held for name, held in averages.items()}
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()["state"]
        entries = {f"{number}.{key}": value for number, entry in state.items() for key, value in entry.items()}
        held = {key: value for key, value in entries.items() if value is not None}
        assert all(isinstance(value, Tensor) for value in held.values()), f"{name}'s optimizer keeps other than tensors"
        files[_file("optimizer", name)] = held
    return files


def settings(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
    """The optimizers' parameter groups as JSON holds them: rates, betas and the like, and which parameters."""
    return {name: optimizer.state_dict()["param_groups"] for name, optimizer in optimizers.items()}


def sealed(state: Mapping[str, Any]) -> bytes:
    """The text of a `state.json`: the state, and last the sha256 of all before."""
    return (json.dumps({**state, SEAL: _seal(state)}, indent=1) + "\n").encode()


def _seal(state: Mapping[str, Any]) -> str:
    """What is read from JSON is written by it in the same words."""
    return hashlib.sha256(json.dumps(state, indent=1).encode()).hexdigest()


def every(directory: Path) -> list[Path]:
    """The checkpoints of a directory, whole or not, oldest first: by their images, never by the clock."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.name.isdigit() and path.is_dir())


def newest(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint, each of its files checked; a broken one is passed over with a warning.

    Raises `UserError` for one of another version: going on from an earlier one would drop it.
    """
    for path in reversed(every(directory)):
        try:
            return verify(path)
        except UserError:
            raise
        except (OSError, ValueError) as error:
            warnings.warn(f"checkpoint {path} is passed over: {error}", stacklevel=2)
    return None


def verify(path: Path) -> Checkpoint:
    """The checkpoint at `path`. Raises `ValueError` or `OSError` unless every file is there with its sha256."""
    found = peek(path)
    for name, file in found.state["files"].items():
        with (path / name).open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                raise ValueError(f"{name} has another sha256 than its state.json says")
    return found


def peek(path: Path) -> Checkpoint:
    """As `verify`, but looking at the sizes of all files but `state.json` alone.

    Raises `UserError` for one of another version.
    """
    text = (path / STATE).read_bytes()
    state = _parsed(text, path)
    for name, file in state["files"].items():
        if Path(name).name != name:
            raise ValueError(f"state.json names {name!r}, which lies elsewhere")
        size = (path / name).stat().st_size
        if size != file["bytes"]:
            raise ValueError(f"{name} has {size} bytes, its state.json says {file['bytes']}")
    return Checkpoint(path, hashlib.sha256(text).hexdigest(), state)


def _parsed(text: bytes, path: Path) -> dict[str, Any]:
    """What the `state.json` of a checkpoint says, without its seal, which earlier versions did not write."""
    try:
        state: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"state.json is damaged ({error})") from None
    state = state if isinstance(state, dict) else {}
    version: Any = state.get("format")
    files: Any = state.get("files")
    seal = state.pop(SEAL, None)
    sound = isinstance(version, int) and seal in (None, _seal(state))
    if sound and version != FORMAT:
        advice = "update waterscape" if version > FORMAT else "its optimizers are pickles, which are not read any more"
        raise UserError(f"the format of {path} is {version}, this version's is {FORMAT}: {advice}")
    sound = sound and isinstance(state.get("images"), int) and isinstance(files, dict)
    if not sound or not all(isinstance(file, dict) and {"bytes", "sha256"} <= file.keys() for file in files.values()):
        raise ValueError("state.json is damaged (it is not as it was written)")
    return dict(state)


def load_networks(checkpoint: Checkpoint, networks: Mapping[str, nn.Module], *, averaged: bool = False) -> None:
    """Fill the networks from a checkpoint; where `averaged`, from the averages that it holds.

    Raises `UserError`, before anything is filled, where the checkpoint's tensors are not those of the networks.
    """
    read = {}
    for name, network in networks.items():
        average = _file("average", name)
        file = average if averaged and average in checkpoint.state["files"] else _file("network", name)
        read[name] = _fitting(checkpoint, file, network)
    for name, network in networks.items():
        network.load_state_dict(read[name])


def restore(
    checkpoint: Checkpoint,
    networks: Mapping[str, nn.Module],
    averages: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Take up all that a checkpoint holds.

    Raises `UserError` with the difference, before anything is changed, where it is one of another model.
    """
    filled = [(network, _fitting(checkpoint, _file("network", n), network)) for n, network in networks.items()]
    filled += [(network, _fitting(checkpoint, _file("average", n), network)) for n, network in averages.items()]
    states = {name: _optimizer_state(checkpoint, name, optimizer) for name, optimizer in optimizers.items()}
    expected = tensors(networks, {n: network.state_dict() for n, network in averages.items()}, optimizers)
    more = sorted(set(checkpoint.state["files"]) - set(expected))
    if more:
        raise UserError(f"{checkpoint.path} also holds {', '.join(more)}: it is a checkpoint of another model")
    for network, held in filled:
        network.load_state_dict(held)
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(states[name])
        _lay_as_parameters(optimizer)


def _lay_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give what was read from a file its parameter's order in memory (channels last, say): fused optimizers walk it."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _fitting(checkpoint: Checkpoint, file: str, network: nn.Module) -> dict[str, Tensor]:
    """A file's tensors, which must be those of the network."""
    held = checkpoint.read(file)
    found, wanted = _shapes(held), _shapes(network.state_dict())
    different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if different:
        key = different[0]
        raise UserError(
            f"{checkpoint.path / file} is of another network: {key} is {found.get(key)} there and {wanted.get(key)} "
            f"here ({len(different)} tensors differ)"
        )
    return held


def _optimizer_state(checkpoint: Checkpoint, name: str, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state as its `load_state_dict` wants it."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in checkpoint.read(_file("optimizer", name)).items():
        number, _, entry = key.partition(".")
        state.setdefault(int(number), {})[entry] = value
    then, now = checkpoint.state["optimizers"].get(name, []), optimizer.state_dict()["param_groups"]
    if [group["params"] for group in then] != [group["params"] for group in now]:
        raise UserError(f"{checkpoint.path} holds an optimizer of other parameters for {name}: it is of another model")
    groups = [
        {key: tuple(value) if isinstance(group.get(key), tuple) else value for key, value in held.items()}
        for held, group in zip(then, now, strict=True)
    ]
    return {"state": state, "param_groups": groups}


def _shapes(held: Tensors) -> Shapes:
    return {key: tuple(value.shape) for key, value in held.items()}


def _file(kind: str, name: str) -> str:
    return f"{kind}.{name}.safetensors"
