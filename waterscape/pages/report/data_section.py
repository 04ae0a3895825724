"""The set that a run learnt from, in the report: counts, what was dropped and why, classes by region, a map."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from waterscape.data.survey import UNKNOWN
from waterscape.pages.report.charts import key
from waterscape.pages.report.looked_at import as_uint8
from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.pictures import none
from waterscape.pages.report.place_map import place_map
from waterscape.pages.report.signs import look, sign
from waterscape.pages.shards import picture_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterscape.pages.report.album import Album
    from waterscape.pages.report.data_set import DataSet
    from waterscape.pages.report.subject import Subject

REGIONS = 12  # the largest
SHOWN = 8  # samples of a class


def summary(subject: Subject, album: Album) -> Html:
    """Everything that is told of the set."""
    data = subject.data
    if isinstance(data, str):
        return none(f"The set is not at hand: {data}.")
    warning = None
    if not data.is_that_of_the_run:
        warning = tag(
            "p", "It is NOT the set that this run was trained on: its manifest has another hash.", class_="warning"
        )
    part = None
    if data.looked_at < data.samples:
        part = tag("p", f"Classes, regions and places: of {data.looked_at:,} samples, spread evenly.", class_="faint")
    parts = [_head(data), warning, _splits(data), part, _classes(data), _drops(data), _regions(data), place_map(data)]
    return tag("div", parts, _pictures(data, album), class_="stack")


def _head(data: DataSet) -> Html:
    facts = data.manifest.facts
    size = sum(shard.bytes for shard in data.manifest.shards)
    kind = "SYNTHETIC, " if data.synthetic else ""
    told = f"{data.manifest.name}: {kind}{data.samples:,} samples in {len(data.manifest.shards):,} shards"
    known = {name: facts[name] for name in ("content", "source", "licence") if facts.get(name)}
    rows = [
        (tag("dt", name), tag("dd", ", ".join(map(str, v)) if isinstance(v, list) else v)) for name, v in known.items()
    ]
    return tag(
        "div",
        tag("p", tag("b", f"{told}, {size / 1e6:,.1f} MB.")),
        tag("dl", rows, tag("dt", "sha256"), tag("dd", tag("code", data.manifest.sha256))),
    )


def _splits(data: DataSet) -> Html:
    counts = {name: sum(shard.samples for shard in data.manifest.split(name)) for name in data.manifest.splits}
    return _bars("samples by split", counts)


def _classes(data: DataSet) -> Html | None:
    survey = data.survey
    if set(survey.classes) <= {UNKNOWN}:
        return None
    return _bars("samples by class", dict(Counter(survey.classes).most_common()))


def _drops(data: DataSet) -> Html | None:
    if "dropped" not in data.manifest.facts:
        return None
    there = {reason: count for reason, count in data.dropped.items() if count}
    if not there:
        return tag("p", "Nothing was dropped when it was packed.", class_="faint")
    came_in = data.samples + sum(there.values())
    return _bars(f"dropped when packing: {sum(there.values()):,} of {came_in:,}", there, colour=1)


def _bars(title: str, counts: Mapping[str, int], colour: int = 0) -> Html:
    """A bar for each name, as long as its share of the longest."""
    most, total = max(counts.values(), default=1) or 1, sum(counts.values()) or 1
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", tag("i", class_=f"bar c{colour}", style=f"width:{100 * count / most:.1f}%")),
            tag("td", f"{count:,}", class_="number"),
            tag("td", f"{count / total:.1%}", class_="number faint"),
        )
        for name, count in counts.items()
    ]
    return tag("figure", tag("figcaption", title), tag("table", rows, class_="bars"))


def _regions(data: DataSet) -> Html | None:
    """Each region's shares of classes."""
    survey = data.survey
    regions = Counter(survey.regions)
    if set(regions) <= {UNKNOWN} or set(survey.classes) <= {UNKNOWN}:
        return None
    known = [name for name in data.manifest.facts.get("classes", ()) if name in survey.classes]
    names = list(dict.fromkeys([*known, *sorted(set(survey.classes))]))
    pairs = Counter(zip(survey.regions, survey.classes, strict=True))
    rows = []
    for region, count in regions.most_common(REGIONS):
        shares = [(number, name, pairs[region, name] / count) for number, name in enumerate(names)]
        bars = [
            tag("i", sign(number), class_=look(number), style=f"width:{100 * share:.2f}%", title=f"{name} {share:.1%}")
            for number, name, share in shares if share
        ]  # fmt: skip
        told = (
            tag("th", region, scope="row"),
            tag("td", tag("span", bars, class_="shares")),
            tag("td", f"{count:,}", class_="number"),
        )
        rows.append(tag("tr", told))
    left = len(regions) - REGIONS
    more = f", the {REGIONS} largest of {len(regions)}" if left > 0 else ""
    keys = [key(name, number) for number, name in enumerate(names)]
    caption = tag("figcaption", f"class shares by region{more}")
    return tag("figure", caption, tag("table", rows, class_="bars"), tag("p", keys, class_="legend"))


def _pictures(data: DataSet, album: Album) -> Html | None:
    """A few samples of each class."""
    lines = []
    rows = picture_rows(data.survey, data.place, SHOWN)
    training = {label: row for label, row in rows.items() if label.startswith("train")}
    for label, row in (training or rows).items():
        pictures = row if row.dtype == np.uint8 else as_uint8(row)
        lines.append(tag("div", tag("b", label), album.row(pictures, label), class_="labelled"))
    return tag("details", tag("summary", "A few of its samples"), lines) if lines else None
