"""Two presets beside each other: a table of figures, and a picture of what they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from waterscape import models
from waterscape.data.pictures import read_stacked
from waterscape.data.samples import Samples
from waterscape.randomness import Draw
from waterscape.sheet import save_png, sheet
from waterscape.training.exhibit import as_array

PICTURED = 12
BY_CLASS = ("recall: ", "precision: ")
"""Figures of single classes, of which there are too many for a table."""


def table(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown: a line for each figure, then what was tried, and how long it took."""
    wanted, chosen = result["comparison"], result["chosen"]
    first, second = wanted["presets"]
    data = "synthetic tiles" if result["synthetic"] else "tiles"
    judged = [name for name in result["judged_by"] if name in result["differences"]]
    used = {side: ", ".join(map(seconds_told, result["processor_seconds"][side])) for side in chosen}
    parts = [
        f"# {wanted['model']}: {second} against {first}",
        f"{wanted['seeds']} pairs of trainings of {wanted['seconds']:g} s of processor time each, {wanted['threads']} "
        f"thread(s), on {data} of `{wanted['data']}`; figures on the test split, by which nothing was chosen. "
        f"Difference: {second} less {first}, mean over the pairs with its 95 % interval. Floor: training tiles in "
        "place of new ones; ceiling: noise.",
        _rows(("figure", first, second, "difference", "interval", "floor", "ceiling", "better"), _figures(result)),
        f"Tried on the valid split, {wanted['trial_seconds']:g} s each; chosen by mean rank in {', '.join(judged)}:",
        _rows(("preset", "settings", "images/s", *judged, ""), _trials(result, judged)),
        "Processor time that the trainings took, their start included: "
        + "; ".join(f"{side} {chosen[side]['images']} images in {used[side]} s" for side in (first, second))
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _figures(result: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    first, second = result["comparison"]["presets"]
    found = result["figures"]
    for name, change in result["differences"].items():
        if name.startswith(BY_CLASS):
            continue
        values = [mean(figures[name] for figures in found[side]) for side in (first, second)]
        limits = result["limits"].get(name, (None, None))
        interval = f"{change['low']:.4g} … {change['high']:.4g}"
        words = ["" if value is None else f"{value:.4g}" for value in (*values, change["mean"], *limits)]
        yield name, *words[:3], interval, *words[3:], better(result["better"].get(name, ""), change, first, second)


def _trials(result: Mapping[str, Any], judged: Sequence[str]) -> Iterator[Sequence[str]]:
    for candidate in result["candidates"]:
        settings = ", ".join(f"{name} {value}" for name, value in candidate["settings"].items()) or "as it stands"
        figures = [f"{candidate['figures'][name]:.4g}" if candidate["figures"] else "" for name in judged]
        mark = "chosen" if candidate == result["chosen"][candidate["preset"]] else ""
        yield candidate["preset"], settings, f"{candidate['rate']:.0f}", *figures, mark


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def draw_comparison(out: Path, model: str, presets: Sequence[str], held_out: Samples) -> Path:
    """Draw `comparison.png`: held-out tiles, what each preset's first run makes of them, and its new pictures."""
    count = min(PICTURED, len(held_out))
    rows: dict[str, Any] = {}
    facts = {"synthetic": "true", "model": model}
    for preset in presets:
        trained = models.load(out / "runs" / f"{preset}-1")
        facts |= {f"{preset}_run": str(trained.run), f"{preset}_checkpoint_sha256": trained.sha256}
        entries = trained.recipe.inputs()
        sizes = {entry.column: entry.picture for entry in entries.values() if entry.picture}
        read = read_stacked(held_out, range(count), list({entry.column for entry in entries.values()}), sizes)
        batch = {name: entry.numbers(read[entry.column], torch.float32) for name, entry in entries.items()}
        if trained.recipe.can("segment"):
            with torch.no_grad():
                drawn = trained.recipe.picture(trained.networks, batch, Draw(0, torch.arange(count)))
            rows |= {f"{preset}:\n{name}": as_array(row) for name, row in drawn.items()}
            continue
        rows["held out"] = as_array(batch[trained.recipe.pictured()])
        if trained.recipe.can("reconstruct"):
            with torch.no_grad():
                rows[f"{preset}:\nreconstructed"] = as_array(trained.recipe.reconstruct(trained.networks, batch))
        if trained.recipe.can("generate"):
            rows[f"{preset}:\nnew"] = as_array(trained.sample(count))
    title = f"{model} after equal time: held-out tiles; SYNTHETIC what its presets make of them, and of noise"
    save_png(sheet(rows, title=title, scale=2, columns=PICTURED), out / "comparison.png", **facts)
    return out / "comparison.png"


def better(wanted: str, change: Mapping[str, float], first: str, second: str) -> str:
    """Which preset the interval speaks for; `wanted`: lower or higher, or nothing where neither is better.

    An interval of no width says nothing: where a figure is a share of few samples, pairs may differ alike by chance.
    """
    if not wanted:
        return ""
    wide = change["high"] - change["low"] > 1e-9 * abs(change["mean"])
    if not wide or change["low"] <= 0 <= change["high"]:
        return "undecided"
    return second if (change["mean"] > 0) == (wanted == "higher") else first


def seconds_told(seconds: float | None) -> str:
    """Processor time in words; `?` where a training was interrupted."""
    return "?" if seconds is None else f"{seconds:.0f}"
