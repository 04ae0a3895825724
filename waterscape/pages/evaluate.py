"""`waterscape evaluate RUN`: what a trained model is worth on a set: a metric card, a table and pictures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from waterscape.data.manifest import Manifest
from waterscape.data.renamed import Renamed, parse_sources
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.metrics.card import Card, table
from waterscape.metrics.feature_sources import features
from waterscape.metrics.worth import LEAST_SAMPLES, Worth
from waterscape.pages.card_chart import draw_card
from waterscape.pages.model_card import write_model_card
from waterscape.pages.samples import marks
from waterscape.sheet import save_png, sheet
from waterscape.training.exhibit import as_array
from waterscape.training.processes import Processes

if TYPE_CHECKING:
    from waterscape.data.samples import Samples
    from waterscape.models import Trained

SHOWN = 12  # new pictures beside what they are nearest to
USUAL_SAMPLES = 1024


@dataclass(frozen=True)
class Evaluate:
    """What a trained model is worth on a set, told with intervals and limits: a card (JSON), a table and pictures.

    Under `accelerate launch` the work is shared; the card is the same.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    data: str | None = None
    """A set of shards; left out: the one that the run was trained on."""
    split: str = "test"
    """Which part of that set."""
    features: str = "random"
    """Over which distances are taken: random, inception=FILE (TorchScript), or a classifier's run."""
    samples: int = USUAL_SAMPLES
    """New pictures made, and samples read, at most."""
    seed: int = 0
    """Of the new pictures."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""
    beside: tuple[Path, ...] = ()
    """Cards of earlier evaluations, to be shown beside this one; what was not taken alike is said."""
    out: Path | None = None
    """Where to write; left out: RUN/cards."""


def evaluate(trained: Trained, options: Evaluate, processes: Processes) -> int:
    """Run the verb; returns the exit code. Raises `UserError`."""
    if options.samples < LEAST_SAMPLES:
        raise UserError(f"--samples {options.samples}: distances want {LEAST_SAMPLES} or more; 500 make them steady")
    others = {path.stem: Card.load(path) for path in options.beside}
    data = options.data or str(trained.facts["run"]["data"])
    manifest = _manifest(data, trained, options)
    held_out, training = (_split(data, split, manifest, trained) for split in (options.split, "train"))
    if len(held_out) < LEAST_SAMPLES:
        raise UserError(f"{data} has {len(held_out)} samples in {options.split}: figures want {LEAST_SAMPLES} or more")
    worth = Worth(trained, held_out, training, features(options.features), options.samples, options.seed, processes)
    card = worth.card(manifest, options.split)
    if not card.figures:
        raise UserError(f"{options.run}: nothing can be measured of a run of {trained.model} by itself")
    if not processes.first:
        return 0
    out = options.out or options.run / "cards"
    out.mkdir(parents=True, exist_ok=True)
    name = f"{trained.checkpoint}-{manifest.name}-{options.split}"
    if trained.recipe.can("generate"):
        name += f"-{card.conditions['features']}"
    cards = {name: card, **others}
    kind = "synthetic " if card.data["synthetic"] else ""
    title = f"{trained.model}:{trained.preset}, {trained.images} images, on {kind}{options.split} of {manifest.name}"
    print(f"{title}\n{table(cards)}")
    for other, theirs in others.items():
        for difference in card.differences(theirs):
            print(f"NOT alike with {other}: {difference}", file=sys.stderr)
    card.save(out / f"{name}.json")
    told = [str(out / f"{name}.json"), str(draw_card(card, out / f"{name}.png", title, marks(trained)))]
    if trained.recipe.can("generate"):
        told.append(str(draw_nearest(worth, out / f"{name}-nearest.png", title, marks(trained))))
    if out == options.run / "cards":
        told.append(str(write_model_card(options.run)))
    print(f"look at {', '.join(told)}")
    return 0


def draw_nearest(worth: Worth, path: Path, title: str, facts: dict[str, str]) -> Path:
    """New pictures above the training samples that they are nearest to: copies are seen at once."""
    order = np.argsort(worth.memory.distances, kind="stable")
    groups = {"nearest of all": order[:SHOWN], "drawn evenly": order[:: max(1, len(order) // SHOWN)][:SHOWN]}
    rows = {}
    for name, some in groups.items():
        rows[f"new,\n{name}"] = as_array(worth.made.pictures[some])
        rows[f"nearest to it\nin training ({name})"] = as_array(worth.alike.pictures[worth.memory.nearest[some]])
    save_png(sheet(rows, title=f"SYNTHETIC new pictures of {title}"), path, **facts)
    return path


def _manifest(data: str, trained: Trained, options: Evaluate) -> Manifest:
    try:
        manifest = Manifest.load(data)
    except UserError as error:
        if options.data is not None:
            raise
        raise UserError(
            f"the set that {options.run} was trained on is not at hand: name one by --data ({error})"
        ) from error
    if options.split not in manifest.splits or "train" not in manifest.splits:
        raise UserError(f"{data} has the splits {', '.join(manifest.splits)}: name one of them by --split")
    known, there = trained.recipe.known_classes(), tuple(manifest.facts.get("classes", ()))
    if known and known != there:
        raise UserError(f"{data} has the classes {', '.join(there) or 'none'}; the model knows {', '.join(known)}")
    return manifest


def _split(data: str, split: str, manifest: Manifest, trained: Trained) -> Samples:
    samples = ShardSet(data, split, manifest)
    renamed = trained.facts["run"].get("columns")
    wanted = Renamed(samples, parse_sources(renamed, manifest.columns)) if renamed else samples
    missing = {entry.column for entry in trained.recipe.inputs().values()} - {
        *(column.name for column in manifest.columns), *(word.partition("=")[0] for word in renamed or ())
    }  # fmt: skip
    if missing:
        raise UserError(f"{data} has no column {sorted(missing)[0]}, which the model reads: name a set that has it")
    return wanted
