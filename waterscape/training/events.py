"""What a run writes down while it goes on: `events.jsonl`, the ledger of samples, and the progress that people watch.

`events.jsonl` is the source of truth for curves and reports. On resuming, both it and the ledger are cut back to the
checkpoint, so that no curve doubles and no sample is counted twice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from waterscape.durable import Lines, write_text

EVENTS = "events.jsonl"


class Events:
    """The run's events: one JSON object a line, each with `event` and `images`."""

    def __init__(self, out: Path, images: int, undone: Collection[str] = ()) -> None:
        """Cut what is there back to a checkpoint of so many images; 0: there is none, and starts alone are kept.

        `undone`: names of events that happened after that checkpoint, though at as many images.
        """
        self.path = out / EVENTS
        if self.path.exists():
            kept = [
                line
                for line, event in _lines(self.path)
                if event["images"] <= images
                and (images or event["event"] == "start")
                and not (event["images"] == images and event["event"] in undone)
            ]
            write_text(self.path, "".join(kept))
        self.file = Lines(self.path)

    def write(self, event: str, images: int, **facts: Any) -> None:
        """Append an event; a reader sees it at once."""
        self.file.write(json.dumps({"event": event, "images": images, "time": time.time(), **facts}) + "\n")

    def sync(self) -> None:
        """Force what was written to disk."""
        self.file.sync()

    def close(self) -> None:
        """Write no more."""
        self.file.close()


def read_events(out: Path) -> list[dict[str, Any]]:
    """The events of a run, oldest first; a last line that was cut off by a crash is left out."""
    path = out / EVENTS
    return [event for _, event in _lines(path)] if path.exists() else []


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open() as file:
        for line in file:
            try:
                yield line, json.loads(line)
            except ValueError:
                return


class Ledger:
    """Which samples a rank has trained on, in its file `ledger/rank-00000.tsv`: place in the stream, tab, sample id.

    The ids are those that the loader read from the records themselves; a line is written after the optimizer's step.
    Where the run records draws, another tab and 16 hexadecimal digits follow: a hash of that sample's random draws.
    """

    def __init__(self, out: Path, rank: int) -> None:
        (out / "ledger").mkdir(exist_ok=True)
        self.file = Lines(out / "ledger" / f"rank-{rank:05d}.tsv")

    @staticmethod
    def cut(out: Path, images: int) -> None:
        """Drop every rank's lines from place `images` on. One process does it, before any rank opens its file."""
        for path in sorted((out / "ledger").glob("rank-*.tsv")):
            with path.open() as file:
                kept = [line for line in file if line.endswith("\n") and int(line.split("\t")[0]) < images]
            write_text(path, "".join(kept))

    def write(self, numbers: Sequence[int], keys: Sequence[str], drawn: Tensor | None = None) -> None:
        """Note the samples of one step, and hashes of their draws (N, int64) where given."""
        hashes = [""] * len(keys) if drawn is None else [f"\t{word % 2**64:016x}" for word in drawn.tolist()]
        lines = (f"{number}\t{key}{end}\n" for number, key, end in zip(numbers, keys, hashes, strict=True))
        self.file.write("".join(lines), at_once=False)

    def sync(self) -> None:
        """Force what was written to disk."""
        self.file.sync()

    def close(self) -> None:
        """Write no more."""
        self.file.close()


def read_ledger(out: Path) -> dict[int, str]:
    """Place in the stream → sample id, of all ranks. Raises `ValueError` for a place that was trained on twice."""
    return {number: key for number, (key, _) in _ledger(out).items()}


def read_draws(out: Path) -> dict[int, str]:
    """Place in the stream → hash of the random draws there, of all ranks, where the run records them."""
    return {number: drawn for number, (_, drawn) in _ledger(out).items() if drawn}


def _ledger(out: Path) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for path in sorted((out / "ledger").glob("rank-*.tsv")):
        for line in path.read_text().splitlines():
            number, key, drawn = f"{line}\t".split("\t")[:3]
            if int(number) in found:
                raise ValueError(f"{path}: place {number} of the stream was trained on twice")
            found[int(number)] = key, drawn
    return found


class Watch:
    """Progress for people: a bar on a terminal, else a plain line at each report."""

    def __init__(self, name: str, images: int, total: int, *, quiet: bool = False) -> None:
        self.bar: tqdm[Any] | None = None
        self.quiet = quiet
        self.name, self.total, self.start = name, total, images
        self.began = time.monotonic()
        if sys.stderr.isatty() and not quiet:
            self.bar = tqdm(total=total, initial=images, unit="image", desc=name, smoothing=0.05, unit_scale=True)

    def step(self, batch: int) -> None:
        """So many images more."""
        if self.bar:
            self.bar.update(batch)

    def report(self, images: int, losses: Mapping[str, float], images_per_second: float) -> None:
        """Show the losses of a report."""
        shown = {name: f"{value:.4g}" for name, value in losses.items()}
        if self.bar:
            self.bar.set_postfix(shown)
        elif not self.quiet:
            left = (self.total - images) / images_per_second if images_per_second else 0
            told = ", ".join(f"{name} {value}" for name, value in shown.items())
            print(
                f"{self.name}: {images} of {self.total} images, {images_per_second:.0f}/s, {_clock(left)} left; {told}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """End the bar."""
        if self.bar:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
