"""`waterscape judge RUN CLASSIFIER`: of pictures that a model has made again, which classes survive, and how often."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import tyro

from waterscape.data.batches import ShardSet
from waterscape.data.manifest import Manifest
from waterscape.durable import replacing, write_text
from waterscape.errors import UserError
from waterscape.metrics.survival import Line, Pair, Survival, judges, probabilities, survival
from waterscape.models import Trained
from waterscape.pages.samples import marks
from waterscape.pages.verdicts import BAR, INK, LINE, draw_confusion
from waterscape.sheet import coloured, save_png, sheet
from waterscape.training.exhibit import as_array

SHOWN = 8  # pairs of a class on the sheet
FRAME = 4  # pixels
RIGHT, WRONG = (34, 140, 69), (204, 46, 41)


@dataclass(frozen=True)
class Judge:
    """What is left of the classes of held-out pictures, once a model has made the pictures again."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run of the model that makes pictures again, such as a VAE's."""
    classifier: Annotated[Path, tyro.conf.Positional]
    """The run of the classifier that calls them before and after."""
    data: str | None = None
    """A set of shards with the classifier's classes; left out: the one that RUN was trained on."""
    split: str = "test"
    """Which part of that set."""
    new: int = 0
    """Also so many new pictures: the share of each class among them."""
    seed: int = 0
    """Of the new pictures' noise."""
    which: str = "newest"
    """The checkpoint of RUN: newest, best, or its name."""
    out: Path | None = None
    """Where to write; left out: RUN/judged."""


def judge(maker: Trained, classifier: Trained, options: Judge) -> int:
    """Print a table, and write `SPLIT.json`, `SPLIT.png` and `SPLIT-examples.png`. Raises `UserError`."""
    data = options.data or str(maker.facts["run"]["data"])
    manifest = Manifest.load(data)
    _check(maker, classifier, manifest, data)
    found, pairs = survival(maker, classifier, ShardSet(data, options.split, manifest), SHOWN)
    kind = "synthetic " if manifest.facts.get("synthetic") else ""
    called = f"{classifier.model}:{classifier.preset}"
    title = f"{maker.model}:{maker.preset}, {maker.images} images, on {kind}{options.split}, as {called} sees it"
    facts: dict[str, Any] = {
        **marks(maker),
        "classifier": {name: value for name, value in marks(classifier).items() if name != "synthetic"},
        "data": data,
        "split": options.split,
        "synthetic_samples": bool(kind),
        **found.facts(),
    }
    print(table(found.lines))
    if options.new:
        shares = _shares(maker, classifier, options.new, options.seed)
        print(f"{options.new} new pictures: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
        facts["new pictures"] = {"count": options.new, "seed": options.seed, "shares": shares}
    out = options.out or options.run / "judged"
    out.mkdir(parents=True, exist_ok=True)
    print(_draw_survival(found, out / f"{options.split}.png", title, marks(maker)))
    print(_draw_pairs(found, pairs, out / f"{options.split}-examples.png", title, marks(maker)))
    write_text(out / f"{options.split}.json", json.dumps(facts, indent=1) + "\n")
    return 0


def table(lines: Sequence[Line]) -> str:
    """A line for each class and one for all."""
    width = max(len(line.name) for line in (*lines, Line("class", 0, 0, 0, 0, 0)))
    heads = ("samples", "recall", "decoded", "same call", "survives")
    told = [f"{'class':{width}} " + " ".join(f"{head:>9}" for head in heads)]
    for line in lines:
        shares = (line.recall_original, line.recall_decoded, line.same, line.survives)
        told.append(f"{line.name:{width}} {line.samples:9} " + " ".join(f"{_percent(share):>9}" for share in shares))
    return "\n".join(told)


def _check(maker: Trained, classifier: Trained, manifest: Manifest, data: str) -> None:
    """Raise `UserError` unless the one can make again what the other can call, and the set has both columns."""
    if not maker.recipe.can("reconstruct"):
        raise UserError(f"{maker.run} is a run of {maker.model}, which makes no pictures again: name a VAE's run first")
    if not classifier.recipe.can("classify"):
        raise UserError(
            f"{classifier.run} is a run of {classifier.model}, which knows no classes: name a classifier's run second"
        )
    if not judges(maker.recipe, classifier.recipe):
        first, second = (one.recipe.inputs()[one.recipe.pictured()] for one in (maker, classifier))
        raise UserError(
            f"{maker.model} makes {first.column} of {first.shape[0]} channels, and {classifier.model} reads "
            f"{second.column} of {second.shape[0]}: name a classifier of the same pictures"
        )
    known, there = classifier.recipe.known_classes(), tuple(manifest.facts.get("classes", ()))
    if known != there:
        raise UserError(
            f"{data} has the classes {', '.join(there) or 'none'}, and {classifier.run} knows {', '.join(known)}: "
            "name a set of these by --data, or another classifier"
        )
    entries = [*maker.recipe.inputs().values(), *(e for e in classifier.recipe.inputs().values() if e.classes)]
    held = {column.name for column in manifest.columns}
    for entry in entries:
        if entry.column not in held:
            raise UserError(
                f"{data} has no column {entry.column}; it has {', '.join(sorted(held))}: say another --data"
            )


def _shares(maker: Trained, classifier: Trained, count: int, seed: int) -> dict[str, float]:
    """Share of each class among new pictures."""
    called = probabilities(classifier, maker.sample(count, seed=seed)).argmax(1)
    known = classifier.recipe.known_classes()
    return {name: float((called == number).mean()) for number, name in enumerate(known)}


def _draw_survival(found: Survival, path: Path, title: str, facts: dict[str, str]) -> Path:
    """Draw what is called what before and after, and by class the recall on both with what survives."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    lines = found.lines
    size = 2.6 + 0.62 * len(lines)
    figure, (left, right) = plt.subplots(1, 2, figsize=(1.3 * size + 5, size), layout="constrained")
    margins = ("stays", "was so")
    draw_confusion(left, found.moved, "original is called", "decoded is called", margins)
    places = np.arange(len(lines))
    bars = (
        ("recall on originals", BAR, [line.recall_original for line in lines]),
        ("recall on decoded", "#2668ab", [line.recall_decoded for line in lines]),
        ("class survives", LINE, [line.survives for line in lines]),
    )
    for shift, (label, colour, shares) in zip((-0.27, 0, 0.27), bars, strict=True):
        right.barh(places + shift, np.nan_to_num(np.array(shares)), 0.25, color=colour, label=label)
    right.set_yticks(places, [f"{line.name}\n{line.samples}" for line in lines], fontsize=9)
    right.set_xlim(0, 1)
    right.set_xlabel("share of the class", fontsize=9)
    right.invert_yaxis()
    right.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.08), ncols=3)
    figure.suptitle(title, fontsize=12, color=INK)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata=facts)
    plt.close(figure)
    return path


def _draw_pairs(found: Survival, pairs: Sequence[Pair], path: Path, title: str, facts: dict[str, str]) -> Path:
    """Draw the first samples of each class above what was made of them, framed by whether they are called right."""
    rows: dict[str, np.ndarray] = {}
    kinds = found.original.kinds
    for number, name in enumerate(found.original.classes):
        mine = [pair for pair in pairs if kinds[pair.number] == number]
        if not mine:
            continue
        places = np.array([pair.number for pair in mine])
        for label, verdicts in ((name, found.original), (f"{name},\ndecoded", found.decoded)):
            pictures = [pair.original if verdicts is found.original else pair.decoded for pair in mine]
            shown = np.stack([as_array(picture[None])[0] for picture in pictures])
            rows[label] = _framed(shown, verdicts.called[places] == number)
    told = f"{title} (green: called right; decoded ones are SYNTHETIC)"
    save_png(sheet(rows, title=told, columns=SHOWN), path, **facts)
    return path


def _framed(pictures: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pictures (K H W or K H W 3, 0..1) in frames, green where `right` (K), else red: K H W 3, uint8."""
    made = coloured(pictures).copy()
    colours = np.where(right[:, None], RIGHT, WRONG).astype(np.uint8)[:, None, None]
    for edge in (made[:, :FRAME], made[:, -FRAME:], made[:, :, :FRAME], made[:, :, -FRAME:]):
        edge[:] = colours
    return made


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.1%}"
