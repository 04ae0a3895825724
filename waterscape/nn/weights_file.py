"""Weights in files of others: safetensors, or whatever torch reads without running what a pickle may hold."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from waterscape.errors import UserError


def read_tensors(path: Path, option: str) -> dict[str, Any]:
    """What a file that the user named by `option` holds, by name; within `state_dict`, and under `module.`, if there.

    Raises:
        UserError: no such file, or none that can be read safely.
    """
    told = f"{option} {path}"
    if not path.is_file():
        raise UserError(f"{told}: there is no such file")
    try:
        return _tensors(path)
    except Exception as error:  # whatever a damaged or a foreign file makes a reader raise
        raise UserError(f"{told} cannot be read safely ({' '.join(str(error).split())[:80]})") from error


def _tensors(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an encoding, which only files written by Python 2 need
        found = torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")
    found = found.get("state_dict", found)
    return {name.removeprefix("module."): value for name, value in found.items()}
