"""All photos of circles, asked for window by window of time until each is complete, every answer noted in a ledger.

A window is asked for page by page. Where VK counts more photos than its pages give, the window is halved, down to
single seconds. It is left at that, and listed as incomplete, where halving brings nothing to light (photos that are
counted but shown to nobody), or where a circle has taken more windows than its count explains.

A window is noted with all photos of its pages at once, so that whoever is killed asks again for the pages under way
alone. Only photos with coordinates inside of the area are noted; of the others, how many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from waterscape.sources.ledger import Photo, Request
from waterscape.sources.requests_at_once import in_any_order
from waterscape.sources.vk.client import REACH, PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from waterscape.sources.area import Area
    from waterscape.sources.ledger import Ledger
    from waterscape.sources.vk.answers import Item
    from waterscape.sources.vk.client import VK
    from waterscape.sources.vk.cover import Circle

SOURCE, LICENCE = "vk", "© its author, by VK's terms"
MOST_AT_ONCE = 8
MOST_WINDOWS, PHOTOS_PER_WINDOW = 100, 200
"""A circle may take so many windows, and one more for every so many photos that VK counts in it."""
FEW = 20
"""Photos, for which halving goes no further than it brings any to light."""


@dataclass(frozen=True)
class Window:
    """From one second since 1970 to another, both included."""

    start: int
    end: int

    @property
    def halves(self) -> tuple[Window, Window]:
        """Of a window longer than a second."""
        middle = (self.start + self.end) // 2
        return Window(self.start, middle), Window(middle + 1, self.end)


@dataclass(frozen=True)
class Found:
    """What a window's pages gave."""

    counted: int
    got: int
    """Distinct photos."""

    @property
    def missing(self) -> int:
        """Photos that VK counts and has not given."""
        return max(self.counted - self.got, 0)


@dataclass
class Searched:
    """What is known of a circle."""

    circle: Circle
    missing: int = 0
    """Photos that VK counts and does not give."""
    windows: int = 0
    asked: int = 0
    """Of the windows, those that the ledger did not hold yet."""
    counts: Counter[str] = field(default_factory=Counter)
    """Photos given: inside, outside, and those without_place."""


class Search:
    """A search over an area and a window of time, into a ledger. Safe to use from many threads."""

    def __init__(self, vk: VK, ledger: Ledger, area: Area, window: Window, above: Ledger | None = None) -> None:
        """Into a ledger; what one `above` it knows, as of a part the whole one, is not asked for again."""
        import shapely

        self.vk, self.ledger, self.area, self.window = vk, ledger, area, window
        self._known = [ledger] if above is None or above is ledger else [ledger, above]
        shapely.prepare(area.shape)

    def circle(self, circle: Circle) -> Searched:
        """Ask for all photos of a circle that are not noted yet. Raises `PlaceError` or `VKError`."""
        searched = Searched(circle)
        found = self._window(searched, self.window)
        most = MOST_WINDOWS + found.counted // PHOTOS_PER_WINDOW
        waiting = [(self.window, found)]
        while waiting:
            window, found = waiting.pop()
            if not found.missing:
                continue
            if window.start == window.end or searched.windows + 2 > most:
                searched.missing += found.missing
                continue
            halves = [(half, self._window(searched, half)) for half in window.halves]
            if _in_vain(found, [half for _, half in halves]):
                searched.missing += found.missing
            else:
                waiting += reversed(halves)
        return searched

    def _window(self, searched: Searched, window: Window) -> Found:
        """What a window holds, by the ledger or else by VK."""
        circle = searched.circle
        key = f"vk {self.area.digest[:12]} {circle.name} {window.start}-{window.end}"
        request = next((found for known in self._known if (found := known.request(key))), None)
        if request is None:
            request, photos = self._ask(key, circle, window)
            self.ledger.answered(request, photos)
            searched.asked += 1
        searched.windows += 1
        searched.counts += Counter({name: request.facts[name] for name in ("inside", "outside", "without_place")})
        return Found(request.counted, request.got)

    def _ask(self, key: str, circle: Circle, window: Window) -> tuple[Request, list[Photo]]:
        """Ask for the pages of a window; only for the first one where it will be halved anyway."""
        items: dict[tuple[str, str], Item] = {}
        offset = pages = 0
        while True:
            page = self.vk.search(circle, window.start, window.end, offset)
            pages += 1
            before = len(items)
            items.update({(item.owner, item.number): item for item in page.items})
            offset += page.slots
            halved_anyway = page.counted > REACH and window.start < window.end
            if offset >= page.counted or len(items) == before or halved_anyway:
                break
        placed = [item for item in items.values() if item.latitude is not None]
        inside = [item for item, within in zip(placed, self._inside(placed), strict=True) if within]
        facts = {
            "pages": pages,
            "inside": len(inside),
            "outside": len(placed) - len(inside),
            "without_place": len(items) - len(placed),
        }
        photos = [self._photo(item) for item in inside]
        return Request(key, circle.name, page.counted, len(items), facts), photos

    def _inside(self, items: list[Item]) -> list[bool]:
        import shapely

        found: list[bool] = shapely.intersects_xy(
            self.area.shape, [item.longitude for item in items], [item.latitude for item in items]
        ).tolist()
        return found

    def _photo(self, item: Item) -> Photo:
        return Photo(
            self.ledger.key_of(SOURCE, item.owner, item.number),
            SOURCE,
            item.owner,
            item.number,
            item.latitude,
            item.longitude,
            taken=float(item.date),
            url=item.url,
            width=item.width,
            height=item.height,
            licence=LICENCE,
            facts={"taken": "when it was put there"},
        )


def _in_vain(found: Found, halves: Sequence[Found]) -> bool:
    """Whether halving a window shows that what is missing is shown to nobody: paging would have yielded more of both.

    Where all photos lie in one half, that shows nothing, and halving goes on, but for a few.
    """
    gained = sum(half.got for half in halves) > found.got
    return not gained and (found.counted < FEW or all(half.counted for half in halves))


def begin(ledger: Ledger, area: Area, radius: int, start: int, end: int | None) -> Window:
    """The window of a search; without an end, up to the moment at which it was begun first, as the ledger has it."""
    if end is not None:
        return Window(start, end)
    key = f"vk {area.digest[:12]} begun {radius} {start}"
    with ledger.transaction():
        begun = ledger.request(key)
        if begun is None:
            begun = Request(key, "", facts={"end": int(datetime.now(UTC).timestamp())})
            ledger.answered(begun)
    return Window(start, max(start, begun.facts["end"]))


def searching(search: Search, circles: Iterable[Circle]) -> Iterable[tuple[Circle, Searched | PlaceError]]:
    """Search circles, several at a time, in any order; a `VKError` ends it."""
    return in_any_order(circles, search.circle, min(search.vk.turns.count, MOST_AT_ONCE), PlaceError)
