"""The report's curves: losses, held-out figures, evaluations and throughput, of all runs in one panel each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterscape.pages.curves import FLOOR, grouped, series
from waterscape.pages.report.charts import DASHES, Line, line_chart
from waterscape.pages.report.markup import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from waterscape.pages.curves import Series
    from waterscape.pages.report.subject import Subject

UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
HELD_OUT, LOSSES = "held out", "losses"
HEADS = {HELD_OUT: "Held-out samples", "evaluation": "Evaluations; dashed is what true pictures have"}
"""What stands above the panels whose names begin so; a watcher's other figures stand under its own name."""


def curve_panels(subjects: Sequence[Subject]) -> Html | None:
    """All panels in their groups; None where no run has reported anything."""
    known = {subject.number: series(subject.events) for subject in subjects}
    floors = {number: _floors(curves) for number, curves in known.items()}
    panels = {number: grouped(curves) for number, curves in known.items()}
    names = list(dict.fromkeys(name for own in panels.values() for name in own))
    colours = _colours(names, list(panels.values()))
    marks = [(float(images), subject.number) for subject in subjects for images in went_back(subject)]
    watchers = {event["event"] for subject in subjects for event in subject.events if "figures" in event}
    made: dict[str, list[Html]] = {}
    for name in names:
        group, _, rest = name.partition(": ")
        head, title = (group, rest) if rest and group in {HELD_OUT, *watchers} else (LOSSES, name)
        lines = [
            line
            for subject in subjects
            for line in _lines(subject, len(subjects), panels[subject.number].get(name, {}), colours)
        ]
        there = [subject.number for subject in subjects if name in floors[subject.number]]
        lines += [Line("true pictures", number, floors[number][name], "dashed faint") for number in there]
        made.setdefault(head, []).append(line_chart(title, lines, marks=marks))
    heads = sorted(made, key=lambda head: (head == LOSSES, head != HELD_OUT))
    parts = [[tag("h3", HEADS.get(head, head.capitalize())), tag("div", made[head], class_="charts")] for head in heads]
    told = tag("p", "Upright: a run went back there to earlier weights.", class_="faint") if marks else None
    return tag("div", told, parts) if parts else None


def throughput(subjects: Sequence[Subject]) -> Html:
    """Images a second, and how far each run was at what time since it began; upright lines: where it was resumed."""
    longest = max((s.events[-1]["time"] - s.events[0]["time"] for s in subjects if s.events), default=0.0)
    unit, seconds = next((one for one in UNITS if longest >= 2 * one[1]), UNITS[-1])
    speed, far, marks = [], [], []
    for subject in subjects:
        reports = [event for event in subject.events if event["event"] == "report" and event.get("images_per_second")]
        speed.append(Line(subject.name, subject.number, [(e["images"], e["images_per_second"]) for e in reports]))
        marks += [(float(images), subject.number) for images, _ in starts(subject)[1:]]
        far += [Line(subject.name, subject.number, points) for points in _since_start(subject, seconds)]
    charts = [
        line_chart("images a second", speed, marks=marks),
        line_chart(f"images by {unit} since it began", far, unit=unit),
    ]
    return tag("div", charts, class_="charts")


def starts(subject: Subject) -> list[tuple[int, float]]:
    """At how many images, and when, the run was started and resumed."""
    return [(event["images"], event["time"]) for event in subject.events if event["event"] == "start"]


def went_back(subject: Subject) -> list[int]:
    """At how many images the run took up earlier weights."""
    return [event["images"] for event in subject.events if event["event"] == "rollback" and event.get("to") is not None]


def trained_seconds(subject: Subject) -> float:
    """The time from each start to the last event before the next one, added up."""
    return float(sum(stretch[-1]["time"] - stretch[0]["time"] for stretch in _by_start(subject)))


def _since_start(subject: Subject, seconds: float) -> Iterator[list[tuple[float, float]]]:
    """For each start, images by the time since the first one, in units of so many seconds."""
    stretches = _by_start(subject)
    began = stretches[0][0]["time"] if stretches else 0.0
    for stretch in stretches:
        yield [((event["time"] - began) / seconds, event["images"]) for event in stretch]


def _by_start(subject: Subject) -> list[list[Mapping[str, Any]]]:
    """The events, start by start."""
    found: list[list[Mapping[str, Any]]] = []
    for event in subject.events:
        if event["event"] == "start" or not found:
            found.append([])
        found[-1].append(event)
    return found


def _floors(curves: Series) -> Series:
    return {name.removeprefix(FLOOR): curves.pop(name) for name in list(curves) if name.startswith(FLOOR)}


def _colours(names: Sequence[str], panels: Sequence[Mapping[str, Series]]) -> dict[str, int]:
    """Part → colour: a class has the same one in every panel and of every run."""
    colours: dict[str, int] = {}
    for name in names:
        for part in sorted({part for own in panels for part in own.get(name, {})} - {""}):
            colours.setdefault(part, len(colours))
    return colours


def _lines(subject: Subject, runs: int, parts: Series, colours: Mapping[str, int]) -> Iterator[Line]:
    """One colour for each run; where a panel has several parts, for each part, and a dash for each run."""
    for part, points in sorted(parts.items()):
        if part:
            name = part if runs == 1 else f"{part}, {subject.name}"
            yield Line(name, colours[part], points, DASHES[subject.number % len(DASHES)])
        else:
            yield Line(subject.name, subject.number, points)
