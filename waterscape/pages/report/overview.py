"""The head of a report: each run's state, how far it is, its figures, and what it is."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from waterscape.pages.report.curves import starts, trained_seconds
from waterscape.pages.report.history import moment
from waterscape.pages.report.looked_at import LookedAt
from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.pictures import none
from waterscape.sources.parallel import told_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from waterscape.pages.report.subject import Subject

TILES = 4  # figures at the head


def run_head(subject: Subject) -> Html:
    """A run at a glance."""
    word = subject.state.word
    share = min(1.0, subject.images / max(1, subject.wanted))
    bar = tag("div", tag("i", class_=f"c{subject.number}", style=f"width:{100 * share:.1f}%"), class_="progress")
    state = tag(
        "span",
        {"runs": "goes on", "continue": "stopped", "unknown": "end not known"}.get(word, word),
        class_=f"state {word}",
    )
    images = tag("p", f"{subject.images:,} of {subject.wanted:,} images", class_="far")
    told = subject.state.told
    why = tag("p", f"{told[:1].upper()}{told[1:]}.", class_="faint") if word != "done" else None
    tiles = [tag("div", tag("b", value), tag("span", name)) for name, value in list(_figures(subject))[:TILES]]
    rows = [(tag("dt", name), tag("dd", value)) for name, value in _facts(subject)]
    marks = tag("p", state, tag("span", "synthetic samples", class_="state") if subject.synthetic else None)
    return tag("div", marks, images, bar, why, tag("div", tiles, class_="tiles") if tiles else None, tag("dl", rows))


def model_card(subject: Subject) -> Html:
    """The run's model card, from its Markdown; HTML and pictures in it stay text."""
    text = subject.model_card
    if text is None:
        return none("It has no model card yet: one is written when a training ends, and by `waterscape evaluate`.")
    reader = importlib.import_module("markdown").Markdown(extensions=["tables", "sane_lists"])
    reader.preprocessors.deregister("html_block")
    for pattern in ("html", "image_link", "image_reference", "short_image_ref"):
        reader.inlinePatterns.deregister(pattern)
    made: str = reader.convert(text)
    prose = tag("div", Html(re.sub(r' href="(?!https?://|#)[^"]*"', "", made)), class_="prose")
    return tag("details", tag("summary", "What it is, what it learnt from, its limits and risks"), prose)


def _figures(subject: Subject) -> Iterator[tuple[str, str]]:
    """The newest card's figures that say what is better, else the newest held-out ones."""
    card = max(subject.cards.values(), key=lambda card: int(card.run["images"]), default=None)
    if card:
        for figure in card.figures:
            if figure.better:
                yield f"{figure.name} {'↓' if figure.better == 'lower' else '↑'}", f"{figure.value:.4g}"
        return
    for event in reversed(subject.events):
        if event["event"] == "picture" and event.get("measured"):
            for name, value in event["measured"].items():
                yield f"{name}, held out", f"{value:.4g}"
            return


def _facts(subject: Subject) -> Iterator[tuple[str, Any]]:
    facts, options = subject.facts, subject.facts["run"]
    yield "run", tag("code", subject.run)
    yield "model", subject.model
    if isinstance(subject.seen, LookedAt):
        parts = [f"{name} {count:,}" for name, count in subject.seen.parameters.items()]
        yield (
            "parameters",
            f"{sum(subject.seen.parameters.values()):,}" + (f" ({', '.join(parts)})" if len(parts) > 1 else ""),
        )
    yield "data", [tag("code", options["data"]), tag("small", f" manifest {facts.get('manifest_sha256', '')[:12]}…")]
    yield "steps", f"batches of {options['batch']} images, seed {options['seed']}, {options['precision']}"
    for name, started in facts.get("starts", {}).items():
        sha256 = str(started.get("sha256", ""))[:12]
        yield f"starts from {name}", f"{started.get('model')}:{started.get('preset')} {sha256}".strip()
    checkpoint = subject.checkpoint
    if checkpoint:
        told = f"{checkpoint.images:,} images, {checkpoint.bytes / 1e6:,.1f} MB, "
        yield "newest checkpoint", [told, tag("code", f"{checkpoint.sha256[:12]}…")]
    else:
        yield "newest checkpoint", "none yet"
    began = starts(subject)
    if began:
        seconds, done = trained_seconds(subject), subject.images - began[0][0]
        speed = f", {done / seconds:,.0f} images a second in all" if seconds > 0 and done > 0 else ""
        times = f"{len(began)} starts, " if len(began) > 1 else ""
        yield "trained", f"{moment(began[0][1])}, {times}{told_duration(seconds)}{speed}"
    if not facts.get("exactly_resumable", True):
        yield "resuming", "NOT exact: its samples were streamed"
