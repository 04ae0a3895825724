"""What is compared: two presets of a model, on which data, with how much time and how many trials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from waterscape import models
from waterscape.data.batches import ShardSet
from waterscape.durable import write_text
from waterscape.embedded import PLACE, provide
from waterscape.errors import UserError
from waterscape.training.processes import Processes

TRIAL_SPLIT, SPLIT = "valid", "test"
FREE = ("data", "out", "kept", "start", "seeds")
"""Options that may differ between two calls: where things lie, and how many seeds, of which more may be asked for."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Two presets of a model against each other, by the rules of a fair comparison."""

    model: tyro.conf.Positional[str]
    """The model."""
    data: Path = PLACE
    """Directory of shards with the splits train, valid and test. Left out: a synthetic world, made once."""
    out: Path | None = None
    """Where runs, table (Markdown, JSON) and picture go; left out: runs/compare-MODEL. The same command again goes on
    where it stopped."""
    kept: Path | None = None
    """Where the result of each training is kept, a small JSON, without which it is run again; left out: OUT/kept."""
    presets: tuple[str, str] = ("reference", "recommended")
    """Which two; differences are of the second less the first."""
    settings: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """[PRESET.]NAME=VALUE: an option that both presets, or one, are taken with, such as reference.width=16; repeat it
    for each."""
    seconds: float = 120.0
    """How long each training lasts: seconds of processor time."""
    seeds: int = 3
    """Trainings of each preset, in pairs of equal seed."""
    trials: int = 6
    """Settings tried for each preset before; the first is the preset as it stands. 1: no others."""
    trial_seconds: float = 30.0
    """How long each trial lasts."""
    speeds: tuple[float, float] | None = None
    """Images that each preset makes in a second of processor time, where that is known; left out: measured."""
    threads: int = 1
    """Of torch."""
    samples: int = 512
    """New pictures, and held-out ones at most, for the figures."""
    start: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """[PRESET.]NAME=RUN: a run that both presets, or one, start from; repeat it for each."""

    @property
    def place(self) -> Path:
        """The output directory."""
        return self.out or Path("runs") / f"compare-{self.model}"

    @property
    def results(self) -> Path:
        """The directory of what is kept."""
        return self.kept or self.place / "kept"

    def given(self, preset: str) -> Settings:
        """The settings that a preset is taken with, by name."""
        return dict(word.split("=", 1) for word in self._of(preset, self.settings))

    def starts(self, preset: str) -> list[str]:
        """NAME=RUN of what a preset starts from."""
        return self._of(preset, self.start)

    def _of(self, preset: str, words: tuple[str, ...]) -> list[str]:
        """The words for a preset, its own name left out."""
        found = []
        for word in words:
            name, equals, value = word.partition("=")
            owner, dot, rest = name.rpartition(".")
            if not equals or not rest or (dot and owner not in self.presets):
                raise UserError(f"{word} is not [PRESET.]NAME=…, of the presets {' and '.join(self.presets)}")
            if not dot or owner == preset:
                found.append(f"{rest}={value}")
        return found


@dataclass
class Candidate:
    """A preset with settings: `rate` in images per second of processor time; what its trial showed.

    `parts` are those of a training in which other phases are taken: the images of the run since when, and the rate
    there. `rate` is that of a training as a whole.
    """

    preset: str
    settings: Settings
    parts: list[tuple[float, float]] = field(default_factory=list)
    rate: float = 0.0
    images: int = 0
    figures: dict[str, float] = field(default_factory=dict)


def prepare(wanted: Comparison) -> tuple[Comparison, Processes]:
    """The comparison with its places, and this process among one. Raises `UserError` for what cannot be compared."""
    if wanted.seeds < 2 or wanted.trials < 1:
        raise UserError(f"--seeds {wanted.seeds} --trials {wanted.trials}: an interval takes 2 seeds, and 1 trial")
    if len(set(wanted.presets)) < 2:
        raise UserError(f"--presets {' '.join(wanted.presets)}: name two different ones")
    if wanted.speeds and wanted.trials > 1:
        raise UserError("--speeds are those of the presets as they stand, not of other settings: --trials 1")
    for preset in wanted.presets:
        models.split_name(f"{wanted.model}:{preset}")
        wanted.given(preset), wanted.starts(preset)
    for place in (wanted.place, wanted.results):
        place.mkdir(parents=True, exist_ok=True)
    processes = Processes(None, "float32", wanted.place)
    provide(wanted.data, processes)
    sets = [ShardSet(wanted.data, split) for split in ("train", TRIAL_SPLIT, SPLIT)]
    for one in sets:
        deque(one.indexes, maxlen=0)  # a damaged one is told now, not after hours
    tars = "".join(shard.sha256 for shard in sets[0].manifest.shards)  # the manifest tells versions and names besides
    data = {"tars_sha256": hashlib.sha256(tars.encode()).hexdigest()}
    others = changed(wanted, data)
    if others:
        raise UserError(
            f"{wanted.results} holds results of other conditions ({', '.join(others)}): give the same ones, another "
            "place, or remove it to find all of it anew"
        )
    write_text(
        wanted.results / "conditions.json", json.dumps(conditions(wanted) | data, indent=1, sort_keys=True) + "\n"
    )
    return dataclasses.replace(wanted, out=wanted.place, kept=wanted.results), processes


def conditions(wanted: Comparison) -> dict[str, Any]:
    """All that results depend on but data and starting runs: options, recipes, settings to try; plain JSON."""
    free = FREE if wanted.trials > 1 else (*FREE, "trial_seconds")
    options = {name: value for name, value in dataclasses.asdict(wanted).items() if name not in free}
    known = models.presets(wanted.model)
    recipes: dict[str, Any] = {preset: dataclasses.asdict(known[preset]) for preset in wanted.presets}  # type: ignore[call-overload]
    tried = {"search": models.search_space(wanted.model)} if wanted.trials > 1 else {}
    found: dict[str, Any] = json.loads(json.dumps({**options, "recipes": recipes, **tried}, default=str))
    return found


def changed(wanted: Comparison, more: Mapping[str, Any] | None = None) -> list[str]:
    """In which conditions what is kept was found otherwise than `wanted` (and `more`) asks; none where nothing is kept.

    Raises `UserError` where that cannot be told.
    """
    path = wanted.results / "conditions.json"
    if not path.exists():
        return []
    try:
        kept = json.loads(path.read_text())
        asked = conditions(wanted) | dict(more or {})
        return [name.replace("_", " ") for name in asked if kept.get(name) != asked[name]]
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove {wanted.results} to find all of it anew") from error
