"""`waterscape deploy RUN`: a trained water network into Earth Engine, an asset for each region and year."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from waterscape.durable import write_text
from waterscape.earthengine import agreement, comparison, deploy
from waterscape.earthengine.deploy import Deployment, Region
from waterscape.earthengine.probe import check
from waterscape.errors import UserError
from waterscape.models import Trained
from waterscape.sources.area import read_area
from waterscape.sources.earthengine import EarthEngineError, connect, disconnect, explained
from waterscape.sources.server_tasks.exporter import Exporter
from waterscape.sources.server_tasks.task_list import Task, TaskList

MOST_YEARS = 50
LINE_SECONDS = 60.0
WORDS = {"skipped": "skipped", "PENDING": "waits", "RUNNING": "runs", "SUCCEEDED": "done", "FAILED": "failed"}
WORDS |= {"CANCELLED": "cancelled", "CANCELLING": "is being cancelled", "absent": "again"}


@dataclass(frozen=True)
class Deploy:
    """Compile a run into Earth Engine, prove it there, and export its water: an asset for each region and year.

    What was begun goes on by the same command: no asset is exported twice.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    region: tuple[Path, ...]
    """GeoJSON files, each a region that its assets are named after."""
    years: str
    """Summers: 2020, or 2013-2020, or 2013,2016,2019."""
    asset: str
    """projects/PROJECT/assets/NAME: an image collection or folder; made, if it is not there."""
    project: str | None = None
    """Google Cloud project that the work is counted to; left out: the asset's."""
    crs: str | None = None
    """Coordinate system of the pixels; left out: that of training, or the zone of UTM of the first region."""
    threshold: float = 0.5
    """Probability above which a pixel is called water."""
    overwrite: bool = False
    """Replace assets that exist; otherwise they are listed and left as they are."""
    dry_run: bool = False
    """Compile and estimate; ask for nothing."""
    javascript: Path | None = None
    """Also write the network as a script for the Code Editor."""
    wait: bool = True
    """Stay until all tasks have ended; --no-wait starts them and leaves, the same command looks after them later."""
    poll_seconds: float = 10.0
    """Between two looks at the tasks; twice as long after each in which nothing changed, up to two minutes."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""
    out: Path | None = None
    """The folder for the list of tasks and the pictures; left out: RUN/deployed."""


def run(trained: Trained, options: Deploy) -> int:
    """Run the verb; returns the exit code: 1 where an asset was not made. Raises `UserError`."""
    deployment, network, pixels = plan(trained, options)
    out = options.out or options.run / "deployed"
    print(f"{trained.model}, {trained.images:,} images: {pixels}")
    for line in deployment.estimate():
        print(f"  {line}")
    if options.javascript:
        write_text(options.javascript, deployment.compiled.javascript())
        print(f"{options.javascript}: the network for the Code Editor")
    _check_folder(out, deployment)
    if options.dry_run:
        print("a dry run: nothing was asked for")
        return 0
    connect(options.project or options.asset.split("/")[1])
    try:
        with explained("probing Earth Engine"):
            check(deployment.compiled)
        print("probes: Earth Engine does what the network assumes of it")
        _compare(deployment, network, out)
        return _export(deployment, options, out)
    finally:
        disconnect()


def plan(trained: Trained, options: Deploy) -> tuple[Deployment, torch.nn.Module, str]:
    """What is to be deployed, the network of it, and a sentence about its pixels. Raises `UserError`."""
    networks = dict(trained.networks)
    if not trained.recipe.can("segment") or "pixels" not in networks:
        raise UserError(f"{options.run} is a run of {trained.model}: deploy takes one that tells water, as pixel_cnn")
    if not 0 < options.threshold < 1:
        raise UserError(f"--threshold is {options.threshold:g}; give a probability between 0 and 1")
    if options.poll_seconds <= 0:
        raise UserError(f"--poll-seconds is {options.poll_seconds:g}; give more than 0")
    regions = tuple(Region.named(path.stem, read_area(path)) for path in options.region)
    if not regions:
        raise UserError("--region names no file: give the study area as GeoJSON")
    years, asset = parse_years(options.years), options.asset.rstrip("/")
    deploy.check_asset(asset)
    network = networks["pixels"]
    pixels, sentence = deploy.training_pixels(trained.facts, regions[0].area, options.crs)
    facts: dict[str, Any] = {
        "model": f"{trained.model}:{trained.preset}",
        "network_sha256": trained.sha256,
        "threshold": options.threshold,
        "software": "waterscape",
    }
    made = Deployment(
        deploy.compiled_water(network, pixels),
        regions,
        years,
        asset,
        facts,
        options.threshold,
        options.overwrite,
    )
    return made, network, sentence


def parse_years(text: str) -> tuple[int, ...]:
    """`2013-2016,2020` → 2013, 2014, 2015, 2016, 2020. Raises `UserError`."""
    years: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            years += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        raise UserError(f"--years {text}: give 2020, 2013-2020 or 2013,2016") from None
    if not years or len(years) > MOST_YEARS or len(set(years)) < len(years):
        raise UserError(f"--years {text}: give 1 to {MOST_YEARS} years, each once")
    return tuple(years)


def _check_folder(out: Path, deployment: Deployment) -> None:
    """Raises `UserError` where the folder is of another deployment."""
    file = out / "plan.json"
    if not file.exists():
        return
    try:
        stands = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged: give --out another folder") from error
    now = deployment.plan
    # years and regions may be added: an asset is told apart by its name, and a region by its outline
    fixed = [key for key in now if key not in ("years", "regions") and stands.get(key) != now[key]]
    old, new = stands.get("regions", {}), now["regions"]
    fixed += [f"region {name}" for name in new if name in old and old[name] != new[name]]
    if fixed:
        raise UserError(f"{out} is of another deployment ({', '.join(fixed)} differ): give --out another folder")


def _compare(deployment: Deployment, network: torch.nn.Module, out: Path) -> None:
    """One tile against torch. Raises `EarthEngineError` where they differ."""
    out.mkdir(parents=True, exist_ok=True)
    found = comparison.compare(deployment, network, deployment.regions[0], deployment.years[0])
    picture = out / "compared.png"
    comparison.draw(picture, found)
    write_text(out / "compared.json", json.dumps(found.facts(), indent=1) + "\n")
    where = f"{found.pixels:,} pixels at {found.place[1]:.3f}, {found.place[0]:.3f} in {found.year}"
    if not found.agrees:
        raise EarthEngineError(
            f"one tile of {found.region}, {where}: the servers' probabilities are up to {found.largest:.1e} off "
            f"torch's (allowed {comparison.CLOSE:.0e}), and {found.masks_differ} pixels are masked by one of the two "
            f"alone; nothing is exported, see {picture}"
        )
    print(f"one tile: servers and torch differ by {found.largest:.1e} at most over {where}; {picture}")


def _export(deployment: Deployment, options: Deploy, out: Path) -> int:
    """Start the tasks and look after them; returns the exit code."""
    existing = _existing(deployment.asset)
    plan_file = out / "plan.json"
    standing = json.loads(plan_file.read_text()) if plan_file.exists() else {}
    regions = {**standing.get("regions", {}), **deployment.plan["regions"]}
    seed = standing.get("id") or uuid.uuid4().hex  # a deployment's own: the same asset may be exported by a later one
    write_text(plan_file, json.dumps({**deployment.plan, "regions": regions, "id": seed}, indent=1) + "\n")
    tasks = TaskList(out / "tasks.jsonl")
    exporter = Exporter(tasks, seed, first_pause=options.poll_seconds, idle=_Standing())
    exports = deployment.exports()
    try:
        for task in exporter.run(exports, existing, wait=options.wait):
            print(_line(task), flush=True)
    except KeyboardInterrupt:
        print("left; the tasks go on without this program, and the same command looks after them")
        raise
    finally:
        tasks.close()
    states = [tasks.tasks[export.name] for export in exports]
    done = [task for task in states if task.state == "SUCCEEDED"]
    skipped = [task for task in states if task.state == "skipped"]
    missing = [task for task in states if task.ended and task not in done and task not in skipped]
    left = len(states) - len(done) - len(skipped) - len(missing)
    used = sum(task.eecu_seconds or 0 for task in done)
    print(
        f"{len(done)} of {len(states)} assets made ({used:,.0f} EECU-seconds), {len(skipped)} skipped, {left} under way"
    )
    for task in missing:
        print(f"  {task.name}: {WORDS.get(task.state, task.state)}, {task.reason}", flush=True)
    if not left:
        _agree(deployment, done, skipped, out)
    if missing:
        raise EarthEngineError(
            f"{len(missing)} of {len(states)} assets were not made; the same command tries them again"
        )
    return 0


class _Standing:
    """Says now and then how the tasks stand, while nothing happens."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, states: Counter[str]) -> None:
        """Print a line, unless one was printed a short while ago."""
        if time.monotonic() - self._last >= LINE_SECONDS:
            self._last = time.monotonic()
            shown = ", ".join(f"{number} {WORDS.get(state, state)}" for state, number in sorted(states.items()))
            print(f"  still {shown}", flush=True)


def _line(task: Task) -> str:
    used = f", {task.eecu_seconds:,.1f} EECU-seconds" if task.eecu_seconds else ""
    reason = f": {task.reason}" if task.reason else ""
    hint = " (--overwrite replaces it)" if task.state == "skipped" else ""
    return f"{task.name}: {WORDS.get(task.state, task.state)}{used}{reason}{hint}"


def _existing(asset: str) -> set[str]:
    """What the collection or folder holds; it is made where it is not there."""
    import ee

    with explained(f"looking into {asset}"):
        parts = asset.split("/")
        try:
            found = ee.data.getAsset(asset)
        except ee.EEException as error:
            if "not exist" not in str(error) and "not found" not in str(error).lower():
                raise
            for length in range(4, len(parts)):
                _make("/".join(parts[:length]), "FOLDER")
            _make(asset, "IMAGE_COLLECTION")
            return set()
        if found["type"] not in ("IMAGE_COLLECTION", "FOLDER"):
            raise UserError(
                f"{asset} is an {found['type'].lower()}: give --asset a collection or folder, or a new name"
            )
        return {each["name"] for each in ee.data.listAssets(asset)["assets"]}


def _make(name: str, kind: str) -> None:
    """A folder or collection, unless it is there."""
    import ee

    try:
        ee.data.getAsset(name)
    except ee.EEException:
        ee.data.createAsset({"type": kind}, name)


def _agree(deployment: Deployment, done: Sequence[Task], skipped: Sequence[Task], out: Path) -> None:
    """Maps and figures of the agreement with JRC's occurrence, a region at a time; one that fails is told.

    The assets are made by then, with or without a map of them. What was skipped is anybody's, and may have no water.
    """
    figures: dict[str, Any] = {}
    for region in deployment.regions:
        names = {f"{region.name}_{year}" for year in deployment.years}
        try:
            ours = [task.asset for task in done if task.name in names]
            ours += [task.asset for task in skipped if task.name in names and agreement.has_water(task.asset)]
            if not ours:
                continue
            found = agreement.measure(region, ours, deployment.compiled.pixels)
            facts = dict(found.facts())
        except UserError as error:
            print(f"{region.name}: no map of the agreement with {agreement.OCCURRENCE}: {error}", flush=True)
            continue
        figures[region.name] = facts
        picture = out / f"agreement-{region.name}.png"
        years = f"{min(deployment.years)}–{max(deployment.years)}"
        agreement.draw(picture, found, f"{region.name}, summers of {years}: {facts['agreement']:.1%} agree")
        print(
            f"{picture}: {facts['agreement']:.1%} of pixels agree with {agreement.OCCURRENCE}, IoU {facts['iou']:.3f}"
        )
    if figures:
        write_text(out / "agreement.json", json.dumps(figures, indent=1) + "\n")
