"""Fetch a satellite tile for each kept photo of a ledger: from Yandex, from Earth Engine, or from a mosaic on the disk.

    python tools/fetch_satellite.py photos.db --source mosaic.tif --out satellite --dry-run
    python tools/fetch_satellite.py photos.db --source mosaic.tif --out satellite
    python tools/fetch_satellite.py photos.db --source earthengine --project my-project --out chips
    YANDEX_APIKEY=… python tools/fetch_satellite.py photos.db --source yandex --out satellite --most 1000
    python tools/fetch_satellite.py photos.db --source mosaic.tif --out satellite --part 1/8   # … 8/8; then --join
    python tools/fetch_satellite.py photos.db --source mosaic.tif --out satellite --submit 8   # as jobs, and joined

Kept are photos that are fetched, have coordinates, and that no filter or person rejects. Photos of the same place, to
half a pixel, share a request. Stopped at any moment, the same command goes on; a place without a tile is told, counted
and left alone until --retry. Yandex's terms: storing tiles wants an extended licence, and commercial tariffs have no
satellite layer; see that yours allows both. Each tile's row in the ledger has its licence and metres per pixel.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waterscape.cluster.array import USUAL_SUBMISSION, Submission, submit_parts
from waterscape.errors import UserError, run_command
from waterscape.options import parse
from waterscape.sources.claiming import claimed
from waterscape.sources.ledger import Ledger
from waterscape.sources.parallel import progress, told_duration
from waterscape.sources.satellite.choosing import USUAL_CHOICES, Choices, source_of
from waterscape.sources.satellite.fetching import Outcome, fetch, ready
from waterscape.sources.satellite.parts import begin_part, end_part, join, part_path
from waterscape.sources.satellite.repeated import refuse_repeated
from waterscape.sources.satellite.sheets import save_map, save_pairs
from waterscape.sources.satellite.source import decimals
from waterscape.sources.satellite.work import Work, refuse_photos_folder, work_of

if TYPE_CHECKING:
    from waterscape.sources.satellite.source import TileSource


@dataclass(frozen=True)
class Command:
    """Fetch satellite tiles of the places of kept photos; what became of each stands in the ledger.

    Yandex's terms: storing tiles wants an extended licence, and commercial tariffs have no satellite layer; see that
    yours allows both. Sentinel-2 and Landsat are free to use.
    """

    ledger: Annotated[Path, tyro.conf.Positional]
    """The ledger of photos."""
    source: str
    """yandex (its key in YANDEX_APIKEY), earthengine, or a GeoTIFF of red, green and blue."""
    out: Path
    """The folder for the tiles, called by the photos' names."""
    choices: Choices = USUAL_CHOICES
    most: int | None = None
    """Ask for so many places at most, such as a tariff's day; the same command goes on."""
    retry: bool = False
    """Ask again for those that had no tile."""
    replace: bool = False
    """Fetch anew what was fetched with other options."""
    part: str | None = None
    """I/N, as in 3/8: only this part of the places. Parts may run at once, on machines that share the folder."""
    join: bool = False
    """Take the tiles of all parts into the ledger."""
    dry_run: bool = False
    """Count, estimate and draw a map, OUT.map.png; ask for nothing."""
    exact_coordinates: bool = False
    """Draw places as they are, not in cells of 0.1°."""
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "fetch_satellite.py")
    if command.part is not None and command.join:
        raise UserError("--part and --join exclude each other: join when all parts are complete")
    if command.most is not None and command.most < 1:
        raise UserError(f"--most {command.most}: give 1 or more")
    part = _part(command)
    source = source_of(command.source, command.choices, parts=part[1] if part else 1)
    if command.submission.submit is not None and not command.dry_run:
        if command.most is not None:
            raise UserError("--most and --submit exclude each other: all parts would ask for so many")
        jobs = command.ledger.with_name(f"{command.ledger.name}.satellite-jobs")
        return submit_parts(Path(__file__), sys.argv[1:], jobs, command.submission, processes=False)
    with ExitStack() as stack:
        if not command.dry_run:
            stack.enter_context(claimed(command.ledger, "satellite", part))
        ledger = own = stack.enter_context(Ledger(command.ledger))
        if command.join:
            refuse_photos_folder(ledger, command.out)
            ready(command.out, alone=True)
            parts, tiles = join(ledger, source)
            print(f"{command.ledger}: {tiles} tiles of {parts} parts")
            _finish(command, ledger, source)
            return 0
        if part and (not command.dry_run or part_path(command.ledger, *part).exists()):
            own = stack.enter_context(ledger.part(part_path(command.ledger, *part)))
        retry, replace = command.retry, command.replace
        work = work_of(ledger, source, command.out, retry=retry, replace=replace, part=part or (1, 1), known=own)
        spots = work.spots[: command.most]
        _tell(source, work, len(spots))
        if command.dry_run:
            chart = command.out.with_name(f"{command.out.name}.map.png")
            chart.parent.mkdir(parents=True, exist_ok=True)
            save_map(chart, work, f"{len(spots)} tiles to ask for: {source.name}", exact=command.exact_coordinates)
            print(f"{chart}: where; nothing was asked for")
            return 0
        ready(command.out, alone=part is None)
        if part:
            begin_part(ledger, own, source, work)
        outcome = Outcome()
        if spots:
            stack.enter_context(source)
            for outcome in progress(fetch(spots, source, own, command.out), len(spots), "fetching"):  # noqa: B007
                pass
        left = f", {len(work.spots) - len(spots)} places are left for another time" if command.most else ""
        _tell_outcome(command, outcome, left)
        if not part:
            _finish(command, ledger, source)
        elif len(spots) == len(work.spots) and not outcome.unanswered:
            end_part(own, source)
        return int(bool(outcome.unanswered))


def _part(command: Command) -> tuple[int, int] | None:
    if command.part is None:
        return None
    from waterscape.sources.making_command import part_of  # only now: what it imports takes a second

    return part_of(command.part)


def _tell(source: TileSource, work: Work, requests: int) -> None:
    """What there is to do, and what it takes."""
    print(f"{work.kept} photos are fetched and kept; {work.without_place} of them have no coordinates")
    if work.done:
        print(f"{work.done} have their tile")
    if work.lost:
        print(f"{work.lost} had one whose file is gone: it is fetched again")
    for reason, count in work.failed.most_common():
        print(f"{count} had none before ({reason}): left alone; --retry asks again")
    demand = source.demand
    shared = work.photos - len(work.spots)
    print(
        f"{work.photos} photos to go: {len(work.spots)} tiles, {shared} photos share one of the same place, to "
        f"{decimals(source.finest_metres)} decimals of a degree"
    )
    low, high = (told_duration(seconds) for seconds in demand.duration(requests))
    print(f"{requests} requests now, {demand.at_once} at a time, {demand.per_second:g} a second at most")
    print(
        f"about {requests * demand.megabytes:.0f} MB; {low} to {high}, if one takes {demand.seconds[0]:g} to "
        f"{demand.seconds[1]:g} s (assumed)"
    )
    for note in demand.notes:
        print(note)
    sys.stdout.flush()


def _tell_outcome(command: Command, outcome: Outcome, left: str) -> None:
    counts = f"{outcome.fetched} photos got their tile by {outcome.requests} requests, {outcome.megabytes:.1f} MB"
    print(f"{command.out}: {counts}{left}")
    for reason, count in outcome.failed.most_common():
        print(f"  {count} photos have none: {reason}, such as: {outcome.examples[reason]}", file=sys.stderr)
    if outcome.unanswered:
        words = outcome.examples["no answer"]
        print(f"  {outcome.unanswered} got no answer, and the same command asks again: {words}", file=sys.stderr)


def _finish(command: Command, ledger: Ledger, source: TileSource) -> None:
    """Judge all tiles together, and show some."""
    tiles = list(ledger.tiles(source.name))
    failed = sum(tile.state == "failed" for tile in tiles)
    fetched = refuse_repeated(ledger, tiles)
    repeated = len(tiles) - failed - len(fetched)
    if repeated:
        print(f"  {repeated} photos have none: the same picture came for several places", file=sys.stderr)
    pairs = command.out.with_name(f"{command.out.name}.sheet.png")
    if save_pairs(pairs, ledger, fetched):
        print(f"{pairs}: look at what came of it")
    if failed + repeated:
        print(f"{failed + repeated} photos have no tile; --retry asks for them again")


if __name__ == "__main__":
    run_command(main)
