"""All photos of circles, asked for window by window of time until each is complete, every answer noted in a ledger.

A window is asked for page by page. Where VK counts more photos than its pages give, the window is halved, down to
single seconds. It is left at that, and listed as incomplete, where halving brings nothing to light (photos that are
counted but shown to nobody), or where a circle has taken more windows than its count explains.

A window is noted with all photos of its pages at once, so that whoever is killed asks again for the pages under way
alone. Only photos with coordinates inside of the area are noted; of the others, how many.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from waterscape.sources.ledger import Photo, Request
from waterscape.sources.requests_at_once import in_any_order
from waterscape.sources.vk.client import REACH, PlaceError
from waterscape.sources.vk.cover import EARTH, points

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
NEARLY = 1.1  # radii: whether a circle holds a photo is for VK to say
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
    counts: Counter[str]
    """Of these: inside, outside, and those without_place."""

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
    stale: Sequence[float] = ()
    """Moments of which it is asked again."""
    counts: Counter[str] = field(default_factory=Counter)
    """Photos given, each once: inside, outside, and those without_place."""


class Search:
    """A search over an area and a window of time, into a ledger. Safe to use from many threads."""

    def __init__(
        self,
        vk: VK,
        ledger: Ledger,
        area: Area,
        window: Window,
        above: Ledger | None = None,
        stale: Sequence[Photo] = (),
    ) -> None:
        """Into a ledger; what one `above` it knows, as of a part the whole one, is not asked for again.

        Windows with photos that are `stale` are, and addresses that have changed are noted.
        """
        import shapely
        from scipy.spatial import cKDTree

        self.vk, self.ledger, self.area, self.window = vk, ledger, area, window
        self.asked = self.found = 0  # windows and photos, by now
        self._lock = threading.Lock()
        self._stale = [photo for photo in stale if photo.taken is not None]
        self._stale_at = cKDTree(points([one.latitude for one in self._stale], [one.longitude for one in self._stale]))
        self._known = [ledger] if above is None or above is ledger else [ledger, above]
        shapely.prepare(area.shape)

    def circle(self, circle: Circle) -> Searched:
        """Ask for all photos of a circle that are not noted yet. Raises `PlaceError` or `VKError`."""
        searched = Searched(circle, stale=self._stale_times(circle))
        found = self._window(searched, self.window)
        most = MOST_WINDOWS + found.counted // PHOTOS_PER_WINDOW
        waiting = [(self.window, found)]
        while waiting:
            window, found = waiting.pop()
            if found.missing and window.start < window.end and searched.windows + 2 <= most:
                halves = [(half, self._window(searched, half)) for half in window.halves]
                if not _in_vain(found, [half for _, half in halves]):
                    waiting += reversed(halves)
                    continue
            searched.missing += found.missing
            searched.counts += found.counts
        return searched

    def _window(self, searched: Searched, window: Window) -> Found:
        """What a window holds, by the ledger or else by VK."""
        circle = searched.circle
        key = request_key(self.area, circle, window)
        stale = any(window.start <= taken <= window.end for taken in searched.stale)
        request = next((found for known in self._known if (found := known.request(key))), None)
        if request is None or stale:
            request, photos = self._ask(key, circle, window)
            with self.ledger.transaction():
                self.ledger.answered(request, photos)
                if stale:
                    self._renew(photos)
            searched.asked += 1
            with self._lock:
                self.asked += 1
                self.found += len(photos)
        searched.windows += 1
        counts = Counter({name: request.facts[name] for name in ("inside", "outside", "without_place")})
        return Found(request.counted, request.got, counts)

    def _ask(self, key: str, circle: Circle, window: Window) -> tuple[Request, list[Photo]]:
        """Ask for the pages of a window; only for the first one where it will be halved anyway."""
        items: dict[tuple[str, str], Item] = {}
        offset = pages = counted = 0
        while True:
            page = self.vk.search(circle, window.start, window.end, offset)
            pages += 1
            counted = max(counted, page.counted)  # past its reach, it may count none
            before = len(items)
            items.update({(item.owner, item.number): item for item in page.items})
            offset += page.slots
            halved_anyway = counted > REACH and window.start < window.end
            if offset >= counted or len(items) == before or halved_anyway:
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
        return Request(key, circle.name, counted, len(items), facts), photos

    def _stale_times(self, circle: Circle) -> list[float]:
        """When photos of a circle, or close by, were put there whose addresses are stale."""
        if not self._stale:
            return []
        places = self._stale_at.query_ball_point(
            points([circle.latitude], [circle.longitude])[0], NEARLY * circle.radius / EARTH
        )
        return [taken for place in places if (taken := self._stale[place].taken) is not None]

    def _renew(self, photos: Sequence[Photo]) -> None:
        """Note the addresses of photos that are to be fetched."""
        for photo in photos:
            known = self.ledger.photo(photo.key)
            if known is not None and known.state == "found":
                self.ledger.update(replace(known, url=photo.url))

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


def request_key(area: Area, circle: Circle, window: Window) -> str:
    """By which a ledger knows the request for a window of a circle."""
    return f"vk {area.digest[:12]} {circle.name} {window.start}-{window.end}"


def begin(ledger: Ledger, area: Area, radius: int, start: int, end: int | None) -> Window:
    """The window of a search; without an end, or with one to come, up to the moment at which it was begun first.

    The ledger has that moment, so that the same words mean the same window on every later day.
    """
    with ledger.transaction():
        window = begun(ledger, area, radius, start, end)
        if window is None:
            now = int(datetime.now(UTC).timestamp())
            window = Window(start, max(start, now))
            if end is not None and end < now:
                return Window(start, end)
            ledger.answered(Request(_begun(area, radius, start, end), "", facts={"end": window.end}))
    return window


def begun(ledger: Ledger, area: Area, radius: int, start: int, end: int | None) -> Window | None:
    """The window of a search that a ledger knows to be begun before its end had come."""
    request = ledger.request(_begun(area, radius, start, end))
    return None if request is None else Window(start, max(start, request.facts["end"]))


def _begun(area: Area, radius: int, start: int, end: int | None) -> str:
    return f"vk {area.digest[:12]} begun {radius} {start}" + ("" if end is None else f" {end}")


def searching(search: Search, circles: Iterable[Circle]) -> Iterable[tuple[Circle, Searched | PlaceError]]:
    """Search circles, several at a time, in any order; a `VKError` ends it."""
    return in_any_order(circles, search.circle, min(search.vk.turns.count, MOST_AT_ONCE), PlaceError)
