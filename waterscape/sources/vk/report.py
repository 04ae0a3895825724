"""What a fetch came to: counts, circles that are not complete, photos by month; a map, and a few of the photos."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from waterscape.durable import write_text
from waterscape.sheet import save_png, sheet
from waterscape.sources.photo_file import USUAL_LIMITS, PhotoError, read, thumbnail
from waterscape.sources.vk import tally
from waterscape.sources.vk.maps import draw_photos

if TYPE_CHECKING:
    from pathlib import Path

    from waterscape.sources.area import Area
    from waterscape.sources.ledger import Ledger
    from waterscape.sources.vk.cover import Circle
    from waterscape.sources.vk.searching import Searched, Window

SHOWN, SIDE, COLUMNS = 24, 160, 8  # photos of the contact sheet
LISTED = 20  # circles that are told on a terminal; the file has all
BAR = 40  # letters


@dataclass
class Circles:
    """What became of the circles of a search."""

    counts: Counter[str] = field(default_factory=Counter)
    """Photos that VK gave, over all windows: inside, outside, without_place. One of two circles counts twice."""
    complete: int = 0
    asked: int = 0
    """Windows that were asked for now."""
    incomplete: list[tuple[Circle, int]] = field(default_factory=list)
    """And the photos that VK counts there and does not give."""
    refused: list[tuple[Circle, str]] = field(default_factory=list)

    def add(self, searched: Searched) -> None:
        """Count one that was searched."""
        self.counts += searched.counts
        self.asked += searched.asked
        if searched.missing:
            self.incomplete.append((searched.circle, searched.missing))
        else:
            self.complete += 1


def report(ledger: Ledger, window: Window, radius: int, circles: Circles, later: Counter[str], *, exact: bool) -> str:
    """The end of a fetch as text; coordinates to 0.1° unless `exact`."""
    states = tally.by_state(ledger)
    given = circles.counts
    lines = [
        f"photos of VK from {moment(window.start)} to {moment(window.end)}",
        f"{sum(states.values())} photos in {ledger.path.name}: {states.get('fetched', 0)} fetched, "
        f"{states.get('found', 0)} not yet, {states.get('failed', 0)} cannot be had",
    ]
    lines += [f"  {count} cannot be had: {reason}" for reason, count in tally.by_failure(ledger)]
    lines += [f"  {count} not yet: {reason}" for reason, count in later.most_common()]
    for name, words in (("outside", "outside of the area"), ("without_place", "without a place")):
        if given[name]:
            lines.append(f"passed over: {given[name]} {words} (one that two circles share counts twice)")
    total = circles.complete + len(circles.incomplete) + len(circles.refused)
    lines.append(f"{total} circles of {radius} m: {circles.complete} complete")
    lines += [
        f"  incomplete at {place(circle, exact=exact)}: VK counts {missing} more than it gives"
        for circle, missing in sorted(circles.incomplete, key=lambda one: (-one[1], one[0].name))
    ]
    lines += [f"  not answered at {place(circle, exact=exact)}: {reason}" for circle, reason in circles.refused]
    months = tally.by_month(ledger)
    most = max((found for _, found, _ in months), default=1)
    lines += ["month    found  fetched"] if months else []
    lines += [
        f"{month} {found:7} {fetched:8}  {_bar(fetched / most, '█')}{_bar((found - fetched) / most, '░')}"
        for month, found, fetched in months
    ]
    return "\n".join(lines) + "\n"


def _bar(share: float, letter: str) -> str:
    return letter * round(BAR * share)


def shortened(text: str) -> str:
    """A report with no more circles than a terminal wants."""
    lines, told, hidden = text.splitlines(), 0, 0
    shown = []
    for line in lines:
        if line.startswith(("  incomplete at", "  not answered at")):
            told += 1
            if told > LISTED:
                hidden += 1
                continue
        elif hidden:
            shown.append(f"  … and {hidden} more")
            hidden = 0
        shown.append(line)
    return "\n".join([*shown, *([f"  … and {hidden} more"] if hidden else [])])


def illustrate(ledger: Ledger, area: Area, out: Path, text: str) -> list[Path]:
    """Write the report, the map and the contact sheet beside the folder of photos; returns their paths."""
    words, chart, contact = (out.with_name(f"{out.name}.{name}") for name in ("report.txt", "map.png", "contact.png"))
    write_text(words, text)
    places = tally.by_place(ledger)
    draw_photos(chart, area, places, f"{sum(count for *_, count in places)} photos of VK")
    fetched = tally.keys(ledger, "fetched")
    chosen = fetched[:: max(1, len(fetched) // SHOWN)][:SHOWN]
    pictures = []
    for key in chosen:
        photo = ledger.photo(key)
        try:
            if photo is not None:
                pictures.append(thumbnail(read(ledger.path_of(photo.file), USUAL_LIMITS, small=SIDE).image, SIDE))
        except PhotoError:
            continue
    if not pictures:
        contact.unlink(missing_ok=True)
        return [words, chart]
    title = f"{len(pictures)} of {len(fetched)} photos of VK, © their authors"
    save_png(sheet({"": np.stack(pictures)}, title=title, columns=COLUMNS), contact)
    return [words, chart, contact]


def place(circle: Circle, *, exact: bool) -> str:
    """A circle's centre in words."""
    digits = 6 if exact else 1
    letters = "NS"[circle.latitude < 0], "EW"[circle.longitude < 0]
    return f"{abs(circle.latitude):.{digits}f}° {letters[0]} {abs(circle.longitude):.{digits}f}° {letters[1]}"


def moment(seconds: int) -> str:
    """UTC, in words."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
