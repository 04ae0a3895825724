"""Trained pixel networks against the thresholds of MNDWI that everyone uses, on the same held-out windows.

    python tools/compare_segmentation.py shards/landsat runs/compare-pixel_cnn/runs/* --out runs/segmentation

Runs of one preset and the same options are taken as seeds of it. `compare_presets.py pixel_cnn` trains them with equal
time.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro

from waterscape import models
from waterscape.data.shards import ShardSet
from waterscape.durable import write_text
from waterscape.errors import UserError, run_command
from waterscape.metrics.water_maps import (
    Way,
    Worth,
    judge,
    network_way,
    otsu_of,
    otsu_way,
    threshold_way,
    window,
    windows,
)
from waterscape.options import parse
from waterscape.pages.water_maps import PICTURED, picture, table
from waterscape.sheet import save_png


@dataclass(frozen=True)
class Wanted:
    """Judge trained runs, and thresholds, by the masks of a set."""

    data: tyro.conf.Positional[str]
    """Shards, as pack_landsat.py writes them: directory or URL."""
    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Runs that map water, of any presets and seeds."""
    split: str = "test"
    """Which windows to judge."""
    out: Path = Path("runs/segmentation")
    """Where table (Markdown, JSON) and picture go."""


def main() -> int:
    """Run the command line."""
    wanted = parse(Wanted, sys.argv[1:], "compare_segmentation.py")
    samples = ShardSet(wanted.data, wanted.split)
    places = np.linspace(0, len(samples) - 1, min(PICTURED, len(samples)))
    shown = [window(samples, int(place)) for place in places]
    threshold = otsu_of(windows(ShardSet(wanted.data, "train")))
    ways = {
        "MNDWI > 0": threshold_way(),
        "Otsu of each window": otsu_way,
        f"Otsu of the training windows, MNDWI > {threshold:.2f}": threshold_way(threshold),
    }
    found: dict[str, list[Worth]] = {name: [worth(way, wanted)] for name, way in ways.items()}
    for path in wanted.runs:
        trained = models.load(path)
        if not trained.recipe.can("segment"):
            raise UserError(f"{path} is a run of {trained.model}, which maps no water: name runs of pixel_cnn")
        check_origin(trained, samples)
        name, way = named(trained), network_way(trained.recipe, trained.networks)
        ways.setdefault(name, way)
        found.setdefault(name, []).append(worth(way, wanted))
    synthetic = "SYNTHETIC: " if samples.manifest.facts.get("synthetic") else ""
    wanted.out.mkdir(parents=True, exist_ok=True)
    write_text(wanted.out / "segmentation.md", table(found))
    facts = {name: [asdict(worth) for worth in its] for name, its in found.items()}
    write_text(wanted.out / "segmentation.json", json.dumps(facts, indent=1) + "\n")
    title = f"{synthetic}maps of water, {len(samples)} {wanted.split} windows of {samples.manifest.name}"
    save_png(picture(ways, shown, title), wanted.out / "segmentation.png", synthetic=str(bool(synthetic)).lower())
    print(table(found))
    print(f"{wanted.out / 'segmentation.md'}, .json and .png beside it")
    return 0


def worth(way: Way, wanted: Wanted) -> Worth:
    """Of a way, window by window: a set need not fit into memory."""
    return judge(way, windows(ShardSet(wanted.data, wanted.split)))


def check_origin(trained: models.Trained, samples: ShardSet) -> None:
    """Raise `UserError` for a run of another set, which splits otherwise: it may know what it would be judged by."""
    corrected = samples.manifest.facts.get("corrected") or {}
    taught = trained.facts.get("manifest_sha256")
    origin = (trained.facts.get("corrected") or {}).get("from_sha256")
    if samples.manifest.sha256 not in (taught, origin) and taught != corrected.get("from_sha256"):
        raise UserError(
            f"{trained.run} was trained on another set than {samples.manifest.name}, of which it may know these very "
            "windows: judge it on its own set, or on what correct-labels made of that"
        )


def named(trained: models.Trained) -> str:
    """Model and preset, and the options that are not the preset's."""
    usual = asdict(models.presets(trained.model)[trained.preset])  # type: ignore[call-overload]
    others = [f"{key} {value}" for key, value in asdict(trained.recipe).items() if value != usual[key]]  # type: ignore[call-overload]
    return ", ".join([f"{trained.model}:{trained.preset}", *others])


if __name__ == "__main__":
    run_command(main)
