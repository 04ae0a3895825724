"""How a run went, in the report: its command, each start, what else happened, its options."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from waterscape.pages.report.charts import key
from waterscape.pages.report.command import command
from waterscape.pages.report.curves import starts
from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.pictures import none
from waterscape.pages.report.subject import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from waterscape.pages.report.subject import Subject

USUAL = ("start", "report", "picture", "checkpoint")
"""Events that curves and tables tell of, as they do of any with figures and no warning; any other is listed."""
LISTED = 60


def exact_command(subject: Subject) -> Html:
    """What was typed, as far as `run.json` holds it."""
    return tag(
        "div", tag("pre", tag("code", command(subject.facts))), tag("button", "Copy", class_="copy"), class_="command"
    )


def start_table(subject: Subject) -> Html:
    """Each start of the run, and under which circumstances; what was not the same as before stands out."""
    history, began = subject.facts.get("history", []), starts(subject)
    if not history:
        return none("Its run.json tells of no start.")
    known = began if len(began) == len(history) else [None] * len(history)
    heads = ("start", "when", "at images", "processes", "threads", "machine", "torch", "revision")
    rows = [tag("tr", [tag("th", head) for head in heads])]
    before: tuple[str, ...] | None = None
    for number, (facts, start) in enumerate(zip(history, known, strict=True), 1):
        told = _circumstances(facts)
        cells = [
            tag("td", cell, class_="changed" if before and cell != before[place] else None)
            for place, cell in enumerate(told)
        ]
        when, images = (moment(start[1]), f"{start[0]:,}") if start else ("–", "–")
        rows.append(tag("tr", tag("td", str(number)), tag("td", when), tag("td", images, class_="number"), cells))
        before = told
    lost = None
    if known != began:
        told_starts = ", ".join(f"{images:,}" for images, _ in began) or "none"
        lost = tag(
            "p",
            f"Some starts left no event (they ended early); those that did were at images {told_starts}.",
            class_="faint",
        )
    return tag("div", tag("div", tag("table", rows, class_="plain starts"), class_="wide"), lost)


def happenings(subject: Subject) -> Html | None:
    """What else its events tell: skipped samples and steps, failed saves, decisions."""
    told = [
        (event["images"], event["event"], _facts(event))
        for event in subject.events
        if event.get("warning") or event.get("skipped_steps") or not (event["event"] in USUAL or "figures" in event)
    ]
    if not told and not subject.notes:
        return None
    rows = [
        tag(
            "tr",
            tag("td", f"{images:,}", class_="number"),
            tag("td", kind),
            tag("td", facts),
            class_="changed" if kind == "rollback" else None,
        )
        for images, kind, facts in told[:LISTED]
    ]
    head = tag("tr", tag("th", "images"), tag("th", "event"), tag("th", "what it says")) if rows else None
    more = tag("p", f"… and {len(told) - LISTED} more in events.jsonl.", class_="faint") if len(told) > LISTED else None
    notes = [tag("p", f"Passed over: {note}.", class_="warning") for note in subject.notes]
    return tag("div", notes, tag("table", head, rows, class_="plain") if rows else None, more)


def all_options(subjects: Sequence[Subject]) -> Html:
    """Every option of every run; where runs differ, the row stands out."""
    parts = [{**subject.facts["run"], **subject.facts["recipe"]} for subject in subjects]
    names = list(dict.fromkeys(name for part in parts for name in part))
    heads = [tag("th", key(subject.name, subject.number)) for subject in subjects]
    rows = []
    for name in names:
        cells = [spelled(part[name]) if name in part else "" for part in parts]
        changed = "changed" if len(set(cells)) > 1 else None
        rows.append(tag("tr", tag("th", name, scope="row"), [tag("td", cell) for cell in cells], class_=changed))
    table = tag("table", tag("tr", tag("th", "option"), heads), rows, class_="plain")
    return tag("details", tag("summary", f"All {len(names)} options"), tag("div", table, class_="wide"))


def moment(seconds: float) -> str:
    """A time as people read it, in UTC."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M} UTC"


def _circumstances(facts: Mapping[str, Any]) -> tuple[str, ...]:
    machine = facts.get("accelerator") or facts.get("processor") or facts.get("machine")
    revision = facts.get("revision")
    short = revision and revision[:10] + ("+changes" if revision.endswith("+changes") else "")
    versions = facts.get("versions", {})
    return tuple(map(spelled, (facts.get("processes"), facts.get("threads"), machine, versions.get("torch"), short)))


def _facts(event: Mapping[str, Any]) -> str:
    if event["event"] == "report":
        return f"{event['skipped_steps']} steps were skipped: a loss or its gradients were not finite"
    if event["event"] == "rollback" and event.get("to") is not None:
        rate = f", learning rates now {event['rate_share']:g} of their full size" if "rate_share" in event else ""
        return f"went back to the weights of {event['to']:,} images{rate}: {event.get('reason')}"
    return "; ".join(_each(event))[:400]


def _each(event: Mapping[str, Any]) -> Iterator[str]:
    for name, value in event.items():
        if name in ("event", "images", "time", "figures", "seconds"):
            continue
        yield f"{name}: {f'{value:.4g}' if isinstance(value, float) else spelled(value)}"
