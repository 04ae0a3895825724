"""`waterscape classify RUN FILE …`: what a trained classifier calls photos or tiles, and what it is worth on a set."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from waterscape.data.batches import ShardSet
from waterscape.data.manifest import Manifest
from waterscape.data.pictures import decode_picture
from waterscape.data.shard import Value
from waterscape.data.survey import UNKNOWN
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.metrics.drawn import agreements, drawn_classes
from waterscape.metrics.drawn import table as table_of_agreements
from waterscape.metrics.judged import embedding, judge
from waterscape.metrics.morphology import COLUMNS
from waterscape.models import Trained
from waterscape.pages.samples import checked_finite
from waterscape.pages.seen import draw_examples, draw_seen
from waterscape.pages.verdicts import draw_verdicts, table
from waterscape.recipe import Input
from waterscape.sheet import save_png, sheet
from waterscape.sources import occurrence
from waterscape.sources.occurrence_sample import reduce
from waterscape.sources.photo_file import PLAIN, Photo, PhotoError, read
from waterscape.training.exhibit import as_array

TOLD = 3  # classes told of each file, the most probable first
SHOWN = 12  # pictures of a class on the sheet


@dataclass(frozen=True)
class Classify:
    """What a trained classifier calls pictures: a line each, a sheet and the numbers; or what it is worth on a set."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Photos, or tiles of occurrence, as the model reads."""
    data: str | None = None
    """A set of shards with classes, in place of files: a table, a confusion matrix and the calibration."""
    split: str = "test"
    """Which part of that set."""
    drawn: Path | None = None
    """The world.json of the synthetic world that the set was packed from: agreement with what was drawn."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""
    out: Path | None = None
    """Where to write; left out: RUN/classified."""


@dataclass(frozen=True)
class Called:
    """A file and the probabilities of its classes; `done` is what was done to read it."""

    path: Path
    picture: np.ndarray
    done: tuple[str, ...]
    probabilities: np.ndarray
    described: dict[str, float]
    """What the model estimates besides."""


def classify(trained: Trained, options: Classify) -> int:
    """Run the verb; returns the exit code: 1 where a file could not be read. Raises `UserError`."""
    if not trained.recipe.can("classify"):
        raise UserError(f"{options.run} is a run of {trained.model}, which knows no classes: name a classifier's")
    if bool(options.files) == (options.data is not None):
        raise UserError("name the files to classify, or --data SET to be judged on, one of the two")
    out = options.out or options.run / "classified"
    out.mkdir(parents=True, exist_ok=True)
    if options.data is not None:
        return judge_set(trained, options.data, options.split, out, options.drawn)
    if options.drawn is not None:
        raise UserError("--drawn goes with --data, the set that was packed from that world")
    return classify_files(trained, options.files, out)


def judge_set(trained: Trained, data: str, split: str, out: Path, drawn: Path | None = None) -> int:
    """Print a table of one split of a set; write `SPLIT.png`, `-examples.png`, `-seen.png` and `SPLIT.json`."""
    manifest = Manifest.load(data)
    known, there = trained.recipe.known_classes(), tuple(manifest.facts.get("classes", ()))
    if known != there:
        raise UserError(f"{data} has the classes {', '.join(there) or 'none'}; the model knows {', '.join(known)}")
    samples = ShardSet(data, split, manifest)
    verdicts = judge(trained.recipe, trained.networks, samples)
    kind = "synthetic " if manifest.facts.get("synthetic") else ""
    title = f"{trained.model}:{trained.preset}, {trained.images} images, on {kind}{split}"
    facts: dict[str, Any] = {**_origin(trained), "split": split, "synthetic_samples": bool(kind), **verdicts.facts()}
    print(table(verdicts))
    told = [samples.read(number) for number in range(len(samples))] if drawn or trained.recipe.can("embed") else []
    if drawn:
        found = agreements(verdicts, *_origins(told), drawn_classes(drawn, known))
        print(f"\n{table_of_agreements(found)}")
        facts["agreement with what was drawn"] = [one._asdict() for one in found]
    marks = _marks(trained)
    print(draw_verdicts(verdicts, out / f"{split}.png", title, marks))
    print(draw_examples(trained.recipe, samples, verdicts, out / f"{split}-examples.png", title, marks))
    if trained.recipe.can("embed"):
        regions = [str(_json(one).get("region") or UNKNOWN) for one in told]
        flat = embedding(trained.recipe, trained.networks, samples)
        print(draw_seen(verdicts, flat, regions, out / f"{split}-seen.png", title, marks))
    write_text(out / f"{split}.json", json.dumps(facts, indent=1) + "\n")
    return 0


def classify_files(trained: Trained, files: Sequence[Path], out: Path) -> int:
    """Print a line for each file, those that cannot be read too, and write `classified.png` and `classified.json`."""
    entry = trained.recipe.inputs()[trained.recipe.pictured()]
    known, called, bad = trained.recipe.known_classes(), [], {}
    for found in _called(trained, entry, files):
        if isinstance(found, Called):
            called.append(found)
            order = np.argsort(-found.probabilities, kind="stable")[:TOLD]
            told = ", ".join(f"{known[number]} {found.probabilities[number]:.2f}" for number in order)
            print(f"{found.path}: {told}{_done(found)}")
        else:
            path, reason = found
            bad[str(path)] = reason
            print(f"{path}: NOT classified: {reason}", file=sys.stderr)
    facts: dict[str, Any] = {
        **_origin(trained),
        "classified": [
            {
                "file": str(one.path),
                "class": known[int(one.probabilities.argmax())],
                "probabilities": dict(zip(known, one.probabilities.round(6).tolist(), strict=True)),
                "read": list(one.done),
                **({"main body": one.described} if one.described else {}),
            }
            for one in called
        ],
        "not classified": bad,
    }
    write_text(out / "classified.json", json.dumps(facts, indent=1) + "\n")
    if called:
        title = f"{trained.model}:{trained.preset}: {len(called)} of {len(files)} classified"
        numbers = [int(one.probabilities.argmax()) for one in called]
        rows = {
            f"{name}\n{numbers.count(number)}": np.stack(
                [one.picture for one, its in zip(called, numbers, strict=True) if its == number][:SHOWN]
            )
            for number, name in enumerate(known)
            if number in numbers
        }
        save_png(sheet(rows, title=title, columns=SHOWN), out / "classified.png", **_marks(trained))
    print(f"{len(called)} classified, {len(bad)} not; {out / 'classified.json'}")
    return int(bool(bad))


def _called(trained: Trained, entry: Input, files: Sequence[Path]) -> Iterator[Called | tuple[Path, str]]:
    """Every file in turn; one that cannot be read with the reason."""
    for path in files:
        try:
            stored, done = _read(path, entry)
        except (PhotoError, UserError, OSError) as error:
            yield path, " ".join(str(error).removeprefix(f"{path} ").split())
            continue
        numbers, probabilities, described = judged(trained, stored)
        yield Called(path, as_array(numbers)[0], done, probabilities, described)


def judged(trained: Trained, stored: np.ndarray) -> tuple[torch.Tensor, np.ndarray, dict[str, float]]:
    """One picture as the shards would hold it: what the model sees of it (1 C H W), probabilities, numbers it tells.

    One at a time, so that what a picture is called does not depend on others. Raises `UserError`: they are not finite.
    """
    name = trained.recipe.pictured()
    numbers = trained.recipe.inputs()[name].numbers(torch.from_numpy(stored.copy())[None], torch.float32)
    with torch.no_grad():
        probabilities = checked_finite(trained, trained.recipe.classify(trained.networks, {name: numbers})[0])
        can = trained.recipe.can("describe")
        numbers_of = trained.recipe.describe(trained.networks, {name: numbers}) if can else {}
    described = {name: round(float(checked_finite(trained, value)[0]), 4) for name, value in numbers_of.items()}
    return numbers, probabilities.double().numpy(), described


def _done(found: Called) -> str:
    return f" ({', '.join(found.done)})" if found.done else ""


def _read(path: Path, entry: Input) -> tuple[np.ndarray, tuple[str, ...]]:
    """A file's pixels as the shards would hold them. Raises `PhotoError` or `UserError`."""
    if entry.picture:
        return stored_photo(read(path), entry)
    if not path.is_file():
        raise UserError("there is no such file")
    return stored_water(occurrence.read(path), entry.shape[1])


def stored_photo(photo: Photo, entry: Input) -> tuple[np.ndarray, tuple[str, ...]]:
    """A photo's pixels as the model's batches would hold them, and what was done for it."""
    assert entry.picture is not None
    return decode_picture(photo.stored(), entry.picture), tuple(told for told in photo.told if told != PLAIN)


def stored_water(tile: occurrence.Tile, side: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """A tile's percent at so many pixels a side, and what was done for it. Raises `UserError` where it is smaller."""
    percent = tile.occurrence
    assert percent is not None
    if tile.width != tile.height or tile.width < side:
        raise UserError(f"{tile.width} × {tile.height} pixels: give a square tile of {side} or more")
    done = () if tile.width == side else (f"{tile.width} pixels made {side}",)
    return (percent if tile.width == side else reduce(percent, side)), done


def _json(sample: Mapping[str, Value]) -> dict[str, Any]:
    told = sample.get("json")
    return told if isinstance(told, dict) else {}


def _origins(told: Sequence[Mapping[str, Value]]) -> tuple[list[str], np.ndarray]:
    """Each tile's file, and whether the tile's edge cuts its main body."""
    cut = [bool(np.asarray(sample["body.npy"])[COLUMNS.index("cut")]) for sample in told]
    return [str(_json(sample).get("source")) for sample in told], np.array(cut, bool)


def _origin(trained: Trained) -> dict[str, str]:
    return {**_marks(trained), "checkpoint": trained.checkpoint, "checkpoint_sha256": trained.sha256}


def _marks(trained: Trained) -> dict[str, str]:
    return {"model": f"{trained.model}:{trained.preset}", "run": str(trained.run)}
