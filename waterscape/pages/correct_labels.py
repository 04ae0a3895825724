"""`waterscape correct-labels SET --out SET`: the same tiles with corrected labels, and what they are worth."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from waterscape.data.manifest import FILE, Manifest
from waterscape.data.pack import SetWriter, check_target, name_of
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.labels.confident import require_cleanlab
from waterscape.labels.correction import RECIPES, Result, Work, correct_set, plan_of
from waterscape.labels.judging import Judged, Recovery, judge, recovery, recovery_table, table
from waterscape.labels.kept import Kept
from waterscape.labels.labelled_set import LabelledSet
from waterscape.labels.noise import KINDS, Noise
from waterscape.labels.writing import GIVEN, write_corrected
from waterscape.options import comma_separated
from waterscape.pages.corrected_sheet import draw_corrected
from waterscape.sources.landsat.bands import UNKNOWN
from waterscape.sources.parallel import Workers
from waterscape.sources.photo_set import made

SUMMARY, PICTURE, TRIALS = "corrected.json", "corrected.png", "injected.png"
SHOWN = 12  # tiles on a picture
Recipe = Literal["literal", "fast", "recommended", "confident"]
Kind = Literal["random", "edges", "bodies", "all"]


@dataclass(frozen=True)
class CorrectLabels:
    """Labels of water corrected by what networks learn of them: a new set, a table and a picture.

    The set has the corrected label as water.npy and the one that was given as given.npy; all else stays. Where it has
    masks by hand (truth.npy), the labels are judged by them before and after; nothing is ever learnt from them.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """The set of tiles with labels."""
    out: Path
    """The set to be made. Killed, the same command goes on where it was."""
    recipe: Recipe = "recommended"
    """recommended: one network for all tiles, cross-validated by place; literal: three rounds for each tile alone, as
    published; fast: the same in larger steps (both keep what is sure, so water shrinks); confident: confident
    learning, by the package cleanlab."""
    inject: Annotated[tuple[str, ...], comma_separated(str, "SHARE,…")] = ()
    """Shares of known noise, as in 5%,10%: put on the labels, corrected and counted. It is a trial beside the
    correction; the set that is written has none of it."""
    noise: Kind = "all"
    """What --inject does: random pixels flipped, edges shifted, the smallest bodies left out, or all three in turn."""
    only: int = 0
    """Trials of --inject use so many tiles, drawn from those with water and land; 0: all of them."""
    seed: int = 0
    """Of networks, draws and noise."""
    processes: int = os.cpu_count() or 1
    """How many share the work. What is written does not depend on it."""
    replace: bool = False
    """Replace the set that stands under --out."""


@dataclass(frozen=True)
class Trial:
    """A noise and what became of it, tile by tile."""

    noise: Noise
    recoveries: Sequence[Recovery]

    def total(self) -> Recovery:
        """Of all tiles together."""
        return reduce(add, self.recoveries, Recovery())


def correct_labels(options: CorrectLabels) -> int:
    """Run the verb; returns the exit code. Raises `UserError`."""
    noises = noises_of(options.inject, options.noise)
    if options.only < 0:
        raise UserError(f"--only is {options.only}; give a number of tiles, or 0 for all")
    if options.recipe == "confident":
        require_cleanlab()
    tiles = LabelledSet(str(options.data))
    if options.out.absolute() == options.data.absolute():
        raise UserError(f"{options.out} is the set to be corrected, which is never changed: name another --out")
    facts = _facts(tiles, options)
    if _made_before(options, facts):
        return 0
    check_target(options.out, replace=options.replace)
    plan = plan_of(RECIPES[options.recipe], options.seed, tiles.manifest.sha256)
    beside = options.out.absolute().parent / f".{name_of(options.out)}.labels"
    began = time.monotonic()
    with Kept(beside, plan) as kept, Workers(options.processes, few=1, chunk=1) as workers:
        numbers = range(len(tiles))
        work = Work(str(options.data), RECIPES[options.recipe], options.seed, beside / "given")
        results = correct_set(work, numbers, workers, "correcting")
        trials = [_try(tiles, options, noise, beside, workers) for noise in noises]
        _publish(tiles, options, results, trials, facts)
        kept.remove()
    print(f"{options.out}: {len(tiles)} tiles, {time.monotonic() - began:.1f} s; look at {options.out / PICTURE}")
    return 0


def noises_of(shares: Sequence[str], kind: str) -> list[Noise]:
    """Every noise that is to be tried. Raises `UserError` for what is no share between 0 and a half."""
    found = []
    for word in shares:
        try:
            share = float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
        except ValueError as error:
            raise UserError(f"--inject {word}: give shares, as in 5%,10%") from error
        if not 0 < share <= 0.5:
            raise UserError(f"--inject {word}: give shares above 0 and up to 50%, as in 5%,10%")
        found.append(share)
    return [Noise(name, share) for name in (KINDS if kind == "all" else (kind,)) for share in found]


def _made_before(options: CorrectLabels, facts: dict[str, Any]) -> bool:
    """Whether just this set stands under --out. Raises `UserError` where another does that is not to be replaced."""
    if options.replace or not (options.out / FILE).is_file():
        return False
    stands = Manifest.load(options.out).facts.get("corrected")
    if stands != json.loads(json.dumps(facts))["corrected"]:
        raise UserError(f"{options.out} was made otherwise: choose another --out, or say --replace")
    print(f"{options.out} is complete: nothing to do")
    return True


def _facts(tiles: LabelledSet, options: CorrectLabels) -> dict[str, Any]:
    """What the new manifest says more than the old one: nothing that depends on how fast or by whom it was made."""
    chosen: dict[str, Any] = {"recipe": options.recipe, "seed": options.seed, "inject": list(options.inject)}
    if options.inject:
        chosen |= {"noise": options.noise, "only": options.only}
    plan = plan_of(RECIPES[options.recipe], options.seed, tiles.manifest.sha256)
    origin = {"from": tiles.manifest.name, "from_sha256": tiles.manifest.sha256, "given": GIVEN}
    return {"corrected": {**made("waterscape correct-labels", **chosen), **plan, **origin}}


def _try(tiles: LabelledSet, options: CorrectLabels, noise: Noise, beside: Path, workers: Workers) -> Trial:
    """Correct labels with known noise, and count what came back."""
    numbers = _mixed(tiles, options.only)
    directory = beside / f"{noise.kind}-{noise.share:g}-{options.only}"
    work = Work(str(options.data), RECIPES[options.recipe], options.seed, directory, noise)
    results = correct_set(work, numbers, workers, f"{noise} (synthetic noise)")
    read = (tiles.tile(number) for number in numbers)
    return Trial(
        noise,
        [
            recovery(tile.given, work.label(tile), one.label, tile.truth)
            for tile, one in zip(read, results, strict=True)
        ],
    )


def _mixed(tiles: LabelledSet, most: int) -> list[int]:
    """Tiles with water and land, so that noise has something to spoil; evenly drawn where only some are wanted."""
    found = [number for number in range(len(tiles)) if len(np.unique(_given(tiles, number))) > 1]
    if not found:
        raise UserError(f"{tiles.place}: no tile has both water and land, so there is nothing to --inject noise into")
    if not most or most >= len(found):
        return found
    return [found[int(place)] for place in np.linspace(0, len(found) - 1, most).round()]


def _given(tiles: LabelledSet, number: int) -> np.ndarray:
    given = tiles.tile(number).given
    known: np.ndarray = given[given != UNKNOWN]
    return known


def _publish(
    tiles: LabelledSet,
    options: CorrectLabels,
    results: Sequence[Result],
    trials: Sequence[Trial],
    facts: dict[str, Any],
) -> None:
    told = _told(tiles, results)
    summary = {**facts["corrected"], "synthetic": bool(tiles.manifest.facts.get("synthetic")), **told}
    if trials:
        summary["injected (synthetic noise)"] = [
            {"kind": one.noise.kind, "share": one.noise.share, "tiles": len(one.recoveries), **one.total().facts()}
            for one in trials
        ]
        print(recovery_table([(str(one.noise), one.total()) for one in trials]))
    usual = max(shard.samples for shard in tiles.manifest.shards)
    with SetWriter(options.out, facts={}, samples_per_shard=usual, replace=options.replace) as writer:
        write_text(writer.directory / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        draw_corrected(tiles, results, writer.directory / PICTURE, SHOWN, f"recipe {options.recipe}")
        write_corrected(tiles, [one.label for one in results], writer, {**tiles.manifest.facts, **facts})


def _told(tiles: LabelledSet, results: Sequence[Result]) -> dict[str, Any]:
    """Print what was changed and, where there are masks by hand, what that is worth; returns it for the summary."""
    left = Counter(one.left for one in results if one.left)
    changed, known, by_split = 0, 0, dict[str, Judged]()
    each = []
    for one in results:
        tile = tiles.tile(one.number)
        differs = int(np.count_nonzero(tile.given != one.label))
        changed, known = changed + differs, known + int(np.count_nonzero(tile.given != UNKNOWN))
        row: dict[str, Any] = {"tile": tile.name, "split": tile.split, "changed": differs, "left": one.left}
        if tile.truth is not None:
            judged = judge(tile.given, one.label, tile.truth)
            by_split[tile.split] = by_split.get(tile.split, Judged()) + judged
            row |= judged.facts()
        each.append(row | {"seconds": one.seconds})
    seconds = float(np.mean([one.seconds for one in results]))
    print(f"{changed / max(known, 1):.2%} of {known} labels changed, {seconds:.2f} s a tile")
    for reason, count in left.most_common():
        print(f"{count} tiles left as they were: {reason}")
    if by_split:
        whole = reduce(add, by_split.values())
        rows = [("all, given", whole.before), ("all, corrected", whole.after)]
        for split, judged in by_split.items():
            rows += [(f"{split}, given", judged.before), (f"{split}, corrected", judged.after)]
        print(f"held against masks by hand, which nothing was learnt from:\n{table(rows)}")
        if whole.after.iou < whole.before.iou:
            print("by these masks the labels are WORSE than they were: do not train on them; try another --recipe")
    return {
        "pixels": {"known": known, "changed": changed},
        "left as they were": dict(left),
        "seconds a tile": round(seconds, 3),
        "judged by truth.npy": {split: one.facts() for split, one in by_split.items()},
        "tiles": each,
    }
