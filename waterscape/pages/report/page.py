"""The page: sections in their order, with its look and its script inside, and a rule that lets nothing else in."""

from __future__ import annotations

import base64
import datetime
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from waterscape import __version__
from waterscape.pages.report import cards, classes, curves, data_section, history, overview, pictures, signs
from waterscape.pages.report.charts import key
from waterscape.pages.report.looked_at import LookedAt
from waterscape.pages.report.markup import Html, join, tag
from waterscape.pages.report.pictures import none

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from waterscape.pages.report.album import Album
    from waterscape.pages.report.subject import Subject

WARNING = "Generated pictures are SYNTHETIC: they show no real place."
NO_CARD = "No run has a metric card: `waterscape evaluate RUN` writes one."
NO_REPORT = "No run has reported anything yet."
RULE = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a browser lets the page do: nothing but show what is in it, and run its own script."""

FOLDER = resources.files("waterscape.pages")


def whole_page(subjects: Sequence[Subject], album: Album, now: datetime.datetime) -> str:
    """The page, with places for the album's pictures."""
    shown = [(place, title, body) for place, title, body in _sections(subjects, album) if body is not None]
    names = " and ".join(subject.name for subject in subjects) if len(subjects) < 3 else f"{len(subjects)} runs"
    links = [tag("a", title, href=f"#{place}") for place, title, _ in shown]
    head = tag("header", tag("h1", names), tag("nav", links, aria_label="Sections"))
    made = [tag("section", tag("h2", title), body, id=place) for place, title, body in shown]
    foot = f"Made by waterscape {__version__}, {now:%Y-%m-%d %H:%M} UTC. {WARNING}"
    dialog = tag("dialog", tag("img", alt="", src=None), tag("p"))
    body = tag("body", signs.shapes(), head, tag("main", made), tag("footer", foot), dialog)
    return f"<!doctype html>\n{tag('html', _head(subjects, names), body, lang='en')}\n"


def _sections(subjects: Sequence[Subject], album: Album) -> list[tuple[str, str, Html | None]]:
    def beside(render: Callable[[Subject], Html | None]) -> Html:
        return _beside(subjects, render)

    def with_album(render: Callable[[Subject, Album], Html | None]) -> Html:
        return _beside(subjects, lambda subject: render(subject, album))

    has_new = any(subject.moments or (isinstance(subject.seen, LookedAt) and subject.seen.new) for subject in subjects)
    judging = any(classes.judges(subject) for subject in subjects)
    events = beside(history.happenings) if any(history.happenings(subject) for subject in subjects) else None
    nearest = any(pictures.copied(subject, album) for subject in subjects)
    return [
        ("overview", "Overview", beside(overview.run_head)),
        ("curves", "Curves", curves.curve_panels(subjects) or none(NO_REPORT)),
        ("time", "Over time", with_album(pictures.over_time)),
        ("samples", "New pictures", with_album(pictures.new) if has_new else None),
        ("held-out", "Held-out samples", with_album(pictures.newest)),
        ("copies", "Copies?", with_album(pictures.copied) if nearest else None),
        ("classes", "Classes", beside(classes.confusion) if judging else None),
        ("map", "Where it sees them", with_album(classes.embedding_map) if judging else None),
        ("cards", "Metric cards", cards.card_tables(subjects) or none(NO_CARD)),
        ("data", "Data", _data(subjects, album)),
        ("throughput", "Throughput", curves.throughput(subjects)),
        ("history", "Starts", beside(history.start_table)),
        ("events", "What happened", events),
        ("model-card", "Model card", beside(overview.model_card)),
        ("command", "Command", join(beside(history.exact_command), history.all_options(subjects))),
    ]  # fmt: skip


def _beside(subjects: Sequence[Subject], render: Callable[[Subject], Html | None]) -> Html:
    """The same of every run: beside one another, each under its name."""
    if len(subjects) == 1:
        return tag("div", render(subjects[0]), class_="run alone")
    shown = []
    for subject in subjects:
        head = tag("h3", key(subject.name, subject.number))
        shown.append(tag("article", head, render(subject) or none("Nothing."), class_="run"))
    return tag("div", shown, class_="runs")


def _data(subjects: Sequence[Subject], album: Album) -> Html:
    """The set once, where several runs learnt from the same and are shown with the same."""
    sets = {
        None if isinstance(one.data, str) else (one.facts.get("manifest_sha256"), one.data.manifest.sha256)
        for one in subjects
    }
    if len(subjects) > 1 and len(sets) == 1 and None not in sets:
        same = tag("p", "All runs learnt from the same set.", class_="faint")
        return tag("div", same, data_section.summary(subjects[0], album), class_="run alone")
    return _beside(subjects, lambda subject: data_section.summary(subject, album))


def _head(subjects: Sequence[Subject], names: str) -> Html:
    """The rule lets the page load nothing and run its own script alone, whatever its texts hold."""
    style = "".join(_file(folder, name) for folder, name in (("page", "look.css"), ("report/page", "report.css")))
    script = _file("report/page", "report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    marks = {
        "generator": f"waterscape {__version__}",
        "synthetic": "true: generated pictures",
        "run": ", ".join(str(subject.run) for subject in subjects),
        "checkpoint_sha256": ", ".join(s.seen.sha256 if isinstance(s.seen, LookedAt) else "none" for s in subjects),
    }
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=RULE.format(digest)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1, viewport-fit=cover"),
        tag("meta", name="color-scheme", content="light dark"),
        [tag("meta", name=name, content=text) for name, text in marks.items()],
        tag("title", f"Report: {names}"),
        tag("style", Html(style)),
        tag("script", Html(script), type="module"),
    )


def _file(folder: str, name: str) -> str:
    return (FOLDER / folder / name).read_text(encoding="utf-8")
