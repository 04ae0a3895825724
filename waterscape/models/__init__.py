"""One file a model: networks, losses, phases, presets. A model is found by its file's name; there is no registry."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from waterscape.recipe import Recipe
    from waterscape.training.checkpoint import Checkpoint

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


def search_space(model: str) -> dict[str, tuple[Any, ...]]:
    """The options that a model's source leaves open, and which values to try: its file's `SEARCH`, where it has one."""
    presets(model)
    return getattr(importlib.import_module(f"{__name__}.{model}"), "SEARCH", {})


def usual_batch(model: str, preset: str) -> int:
    """Images a step where `--batch` is left out: as the source of a preset states it, in its file's `BATCH`; else 32.

    Raises `UserError` for a model that there is not.
    """
    from waterscape.training.run import Run

    presets(model)
    stated: Mapping[str, int] = getattr(importlib.import_module(f"{__name__}.{model}"), "BATCH", {})
    return stated.get(preset, Run.batch)


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
    """For each preset and network of a model: how many parameters in all, and how many that a phase trains.

    A preset that cannot be built here has one row, with what it `wants`.
    """
    rows: list[dict[str, Any]] = []
    for preset, recipe in presets(model).items():
        if recipe.wants():
            rows.append({"model": model, "preset": preset, "wants": recipe.wants()})
            continue
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
    """What a run trained, ready to use: its recipe, its networks (averaged where an average is kept) and where from.

    `networks` are in evaluation mode on the CPU. `checkpoint` is the checkpoint's name and `sha256` its hash; `facts`
    are those of the run's `run.json`.
    """

    run: Path
    model: str
    preset: str
    recipe: Recipe
    networks: Mapping[str, nn.Module]
    checkpoint: str
    sha256: str
    images: int
    facts: Mapping[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that new pictures can be asked for; none where the model knows no classes."""
        return self.recipe.sample_classes()

    def sample(self, n: int, classes: Sequence[str] = (), seed: int = 0) -> Tensor:
        """New pictures: n C H W, in 0..1. The named classes take turns; where none are named, all do.

        Picture number i is the same whatever `n`. Raises `UserError` for a class that the model does not know, and
        where it makes no new pictures.
        """
        from waterscape.training.sampling import sample

        if n < 1 or not self.recipe.can("generate"):
            raise UserError(f"{n} new pictures of {self.model}: ask for 1 or more, of a model that makes some")
        return sample(self.recipe, self.networks, self.kinds(n, classes), seed)

    def kinds(self, n: int, classes: Sequence[str] = ()) -> Tensor:
        """The class numbers (n, int64) of pictures for which the named classes, or all, take turns."""
        import torch

        unknown = [name for name in classes if name not in self.classes]
        if unknown:
            raise UserError(f"no class {unknown[0]!r} in this model; it has {', '.join(self.classes) or 'no classes'}")
        numbers = [self.classes.index(name) for name in classes or self.classes] or [0]
        return torch.tensor(numbers)[torch.arange(n) % len(numbers)]


def load(run: Path | str, which: str = "newest") -> Trained:
    """The networks of a run's checkpoint, in evaluation mode on the CPU.

    `which`: "newest" (the newest whole one), "best" (by the run's `--best`) or a checkpoint's name, its images.
    Raises `UserError` where there is no run or no such checkpoint.
    """
    from waterscape.training import checkpoint
    from waterscape.training.run import read_run

    run = Path(run)
    facts = read_run(run)
    recipe, networks = rebuild(facts)
    found = _checkpoint(run, which, facts["run"].get("best"))
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


def _checkpoint(run: Path, which: str, best: str | None) -> Checkpoint:
    """One of a run's checkpoints, each of its files verified."""
    from waterscape.training import checkpoint
    from waterscape.training.keeping import Keeping, readable

    directory = run / "checkpoints"
    if which == "newest":
        found = checkpoint.newest(directory)
        if found is None:
            raise UserError(f"{run} holds no whole checkpoint yet; train it first")
        return found
    kinds = Keeping(best=best).kinds(readable(directory))
    for path, reasons in kinds.items():
        if which in reasons or (which.isdigit() and int(which) == int(path.name)):
            return checkpoint.verify(path)
    there = ", ".join(path.name for path in kinds) or "none"
    raise UserError(f"{run} has no checkpoint {which!r}; it has {there} (best takes a run that was given --best)")
