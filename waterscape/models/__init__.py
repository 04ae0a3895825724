"""One file a model: networks, losses, phases, presets. A model is found by its file's name; there is no registry."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from waterscape.recipe import Recipe

DEFAULT_PRESET = "recommended"


@cache
def names() -> tuple[str, ...]:
    """The models that there are."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def presets(model: str) -> dict[str, Recipe]:
    """A model's presets by name. Raises `UserError` for a model that there is not."""
    if model not in names():
        raise UserError(f"there is no model {model!r}; the models are {', '.join(names())}")
    found: dict[str, Recipe] = importlib.import_module(f"{__name__}.{model}").PRESETS
    return found


def split_name(text: str) -> tuple[str, str]:
    """`MODEL[:PRESET]` as (model, preset), both known. Raises `UserError` with the valid ones."""
    model, _, preset = text.partition(":")
    preset = preset or DEFAULT_PRESET
    if preset not in presets(model):
        raise UserError(f"{model} has no preset {preset!r}; it has {', '.join(presets(model))}")
    return model, preset


def build(recipe: Recipe) -> dict[str, nn.Module]:
    """Fresh networks of a recipe, from untrained `reference` networks where it starts from other runs."""
    starts = {name: build(presets(model)["reference"]) for name, model in recipe.starts.items()}
    return recipe.networks(starts)


def rebuild(facts: Mapping[str, Any]) -> tuple[Recipe, dict[str, nn.Module]]:
    """A run's recipe and untrained networks of its shapes, from the facts in its `run.json`."""
    recipe = _recipe(facts)
    starts = {name: rebuild(started)[1] for name, started in facts["starts"].items()}
    return recipe, recipe.networks(starts)


def _recipe(facts: Mapping[str, Any]) -> Recipe:
    """The recipe of a run; its options may be older than the code, whose defaults then hold."""
    kind = type(presets(facts["model"])[facts["preset"]])
    known = {option.name for option in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(facts["recipe"]) - known
    if unknown:
        raise UserError(f"the run was made by another version of {facts['model']}: it has no option {sorted(unknown)}")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in facts["recipe"].items()})


def count_parameters(model: str) -> list[dict[str, Any]]:
    """For each preset and network of a model: how many parameters in all, and how many that a phase trains."""
    rows = []
    for preset, recipe in presets(model).items():
        trained = {name for phase in recipe.phases() for name in phase.trains}
        for name, network in build(recipe).items():
            count = sum(parameter.numel() for parameter in network.parameters())
            rows.append(
                {
                    "model": model,
                    "preset": preset,
                    "network": name,
                    "parameters": count,
                    "trainable": count if name in trained else 0,
                }
            )
    return rows


@dataclass(frozen=True)
class Trained:
    """What a run trained, ready to use: its recipe, its networks (averaged where an average is kept) and where from."""

    run: Path
    model: str
    preset: str
    recipe: Recipe
    networks: Mapping[str, nn.Module]
    checkpoint: str
    sha256: str
    images: int
    facts: Mapping[str, Any]


def load(run: Path | str) -> Trained:
    """The networks of a run's newest whole checkpoint, in evaluation mode on the CPU.

    Raises `UserError` where there is no run or no whole checkpoint.
    """
    from waterscape.training import checkpoint
    from waterscape.training.run import read_run

    run = Path(run)
    facts = read_run(run)
    recipe, networks = rebuild(facts)
    found = checkpoint.newest(run / "checkpoints")
    if found is None:
        raise UserError(f"{run} holds no whole checkpoint yet; train it first")
    checkpoint.load_networks(found, networks, averaged=True)
    for network in networks.values():
        network.eval().requires_grad_(False)
    return Trained(
        run,
        facts["model"],
        facts["preset"],
        recipe,
        networks,
        found.path.name,
        found.sha256,
        found.state["images"],
        facts,
    )
