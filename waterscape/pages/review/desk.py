"""What the page asks of the ledger and tells it: which photos there are, what is known of one, what was decided.

An owner's number, a photo's number and its address never leave this file; places are rounded unless asked otherwise.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from waterscape.errors import UserError
from waterscape.sources.ledger import Decision
from waterscape.sources.ledger.overview import by_hand, places, rejections, tiles_of
from waterscape.sources.ledger.rows import HAND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from waterscape.sources.ledger import Ledger

State = Literal["open", "kept", "rejected", "all"]
Filters = Literal["any", "passed", "rejected", "one"]
WANTED = {"open": (None,), "kept": ("keep",), "rejected": ("reject",), "all": (None, "keep", "reject")}
ROUNDED_DEGREES = 1  # decimals: 0.1° is some 10 km
ROUNDED_SECONDS = 60
OF_THE_SUN = "daytime"  # the filter whose score is the sun's altitude: with the time it tells the place
MOST_REASONS = 8  # of one filter, to be chosen from; a filter with more tells each photo its own
MOST_ACTIONS = 100
MOST_LETTERS = 200
RECENT = 100  # decisions that the page can take back after it was loaded anew


@dataclass(frozen=True)
class Choice:
    """Which photos are to be shown."""

    state: State = "open"
    """By hand."""
    filters: Filters = "any"
    by: str = ""
    """Where `filters` is `one`: the filter that rejects,"""
    reason: str = ""
    """and its reason, or empty for any."""

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Choice:
        """From an address of the page. Raises `UserError`."""
        state, filters = words.get("state", "open"), words.get("filters", "any")
        if state not in get_args(State) or filters not in get_args(Filters):
            raise UserError(f"state is one of {get_args(State)}, filters one of {get_args(Filters)}")
        return cls(cast("State", state), cast("Filters", filters), words.get("by", ""), words.get("reason", ""))

    def fits(self, flags: Sequence[tuple[str, str]]) -> bool:
        """Whether a photo that these filters reject is meant."""
        if self.filters == "one":
            return any(by == self.by and self.reason in ("", reason) for by, reason in flags)
        return self.filters == "any" or bool(flags) == (self.filters == "rejected")


@dataclass(frozen=True)
class Standing:
    """A decision by hand that stands."""

    verdict: str
    reason: str
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Action:
    """What a person did. Doing it twice is the same as doing it once, so that it may be sent again."""

    photo: str
    """Key."""
    verdict: Literal["keep", "reject"] | None
    """None: the decision of `at` is taken back."""
    reason: str = ""
    at: float = 0.0

    @classmethod
    def of(cls, value: Any) -> Action:
        """From JSON of the page. Raises `UserError`."""
        match value:
            case {"photo": str(photo), "verdict": "keep" | "reject" as verdict, "reason": str(reason)}:
                return cls(_text(photo), verdict, " ".join(_text(reason).split())[:MOST_LETTERS])
            case {"photo": str(photo), "verdict": None, "at": int(at) | float(at)}:
                return cls(_text(photo), None, at=at)
        raise UserError("an action is a photo, a verdict of keep or reject and a reason, or null and a time")


@dataclass
class Catalogue:
    """The fetched photos as they were when the page was last loaded, and the decisions by hand as they are."""

    keys: list[str] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    """Latitude, longitude; those that are none are left out."""
    hand: dict[str, Standing] = field(default_factory=dict)
    flags: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By photo: the filters that reject it, with their reasons."""

    @classmethod
    def read(cls, ledger: Ledger) -> Catalogue:
        """From the ledger, in some tenths of a second for 100 000 photos."""
        rows = places(ledger)
        known = {key for key, _, _ in rows}
        flags: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for photo, by, reason in rejections(ledger):
            if photo in known:
                flags[photo].append((by, reason))
        there = [
            (latitude, longitude)
            for _, latitude, longitude in rows
            if latitude is not None and longitude is not None and abs(latitude) <= 90 and abs(longitude) <= 180
        ]
        hand = {
            photo: Standing(verdict, reason, at) for photo, verdict, reason, at in by_hand(ledger) if photo in known
        }
        return cls([key for key, _, _ in rows], there, hand, dict(flags))

    def chosen(self, choice: Choice) -> Iterator[str]:
        """Photos that are to be shown, in the order of keys."""
        wanted = WANTED[choice.state]
        for key in self.keys:
            standing = self.hand.get(key)
            if (standing.verdict if standing else None) in wanted and choice.fits(self.flags.get(key, ())):
                yield key

    def note(self, standing: Mapping[str, Standing | Literal["gone"] | None]) -> None:
        """Note what stands now of photos."""
        for key, now in standing.items():
            if isinstance(now, Standing):
                self.hand[key] = now
            else:
                self.hand.pop(key, None)

    def reasons(self) -> list[tuple[str, str, int]]:
        """Filter, reason (empty: any) and how many photos it rejects, for the list to choose from."""
        of_filter: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for flags in self.flags.values():
            for by, reason in flags:
                of_filter[by][reason] += 1
        found = []
        for by, counted in sorted(of_filter.items()):
            found.append((by, "", counted.total()))
            if 1 < len(counted) <= MOST_REASONS:
                found += [(by, reason, count) for reason, count in counted.most_common() if reason]
        return found

    def progress(self) -> dict[str, Any]:
        """How many photos there are, and how many of them are decided by hand."""
        counted = Counter(standing.verdict for standing in self.hand.values())
        return {"all": len(self.keys), "kept": counted["keep"], "rejected": counted["reject"]}


class Desk:
    """A ledger as one person works on it. Safe to use from many threads."""

    def __init__(self, ledger: Ledger, writer: Ledger, *, exact_coordinates: bool = False) -> None:
        """`writer` is a second handle of the same file: while it waits for other tools, reading goes on."""
        self._ledger, self._writer, self._exact = ledger, writer, exact_coordinates
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._catalogue: Catalogue | None = None

    def listing(self, choice: Choice) -> dict[str, Any]:
        """Everything the page begins with: the photos that were chosen, in the order of their keys, and the sums."""
        with self._lock:
            self._catalogue = catalogue = Catalogue.read(self._ledger)
            keys = list(catalogue.chosen(choice))
            recent = sorted(catalogue.hand.items(), key=lambda item: item[1].at)[-RECENT:]
            return {
                "ledger": self._ledger.identity,
                "name": self._ledger.path.name,
                "keys": keys,
                "flags": {key: catalogue.flags[key] for key in keys if key in catalogue.flags},
                "hand": {key: _told(key, catalogue.hand[key]) for key in keys if key in catalogue.hand},
                "recent": [_told(key, standing) for key, standing in recent],
                "reasons": catalogue.reasons(),
                "progress": catalogue.progress(),
            }

    def progress(self) -> dict[str, Any]:
        """As `Catalogue.progress`."""
        with self._lock:
            return self._loaded().progress()

    def places(self) -> list[tuple[float, float]]:
        """Latitude and longitude of every photo, rounded unless the exact ones were asked for."""
        with self._lock:
            found = self._loaded().places
        return [(self._rounded(latitude), self._rounded(longitude)) for latitude, longitude in found]

    def photo(self, key: str) -> dict[str, Any] | None:
        """What is known of a photo, or None."""
        photo = self._ledger.photo(key)
        if photo is None or photo.state != "fetched":
            return None
        decisions = [one for one in self._ledger.decisions(key) if one.by != HAND]
        return {
            "key": key,
            "latitude": None if photo.latitude is None else self._rounded(photo.latitude),
            "longitude": None if photo.longitude is None else self._rounded(photo.longitude),
            "exact": self._exact,
            "taken": photo.taken
            if self._exact or photo.taken is None
            else photo.taken // ROUNDED_SECONDS * ROUNDED_SECONDS,
            "width": photo.width,
            "height": photo.height,
            "source": photo.source,
            "licence": photo.licence,
            "decisions": [
                {"by": one.by, "verdict": one.verdict, "score": self._score(one), "reason": one.reason}
                for one in decisions
            ],
            "tiles": [
                {
                    "source": tile.source,
                    "metres_per_pixel": tile.metres_per_pixel,
                    "width": tile.width,
                    "licence": tile.licence,
                }
                for tile in tiles_of(self._ledger, key)
            ],
        }

    def act(self, actions: Sequence[Action]) -> dict[str, Any]:
        """Put a person's actions into the ledger, all or none: they are on the disk when this returns.

        Returns what stands now of each photo (`gone`: it is in the ledger no more), and the progress.
        """
        with self._writing:
            with self._writer.transaction():
                standing = {action.photo: self._do(action) for action in actions}
            with self._lock:
                catalogue = self._loaded()
                catalogue.note(standing)
                told = [_told(key, now) for key, now in standing.items()]
                return {"standing": told, "progress": catalogue.progress()}

    def _do(self, action: Action) -> Standing | Literal["gone"] | None:
        ledger = self._writer
        if ledger.photo(action.photo) is None:
            return "gone"
        before = self._standing(action.photo)
        if action.verdict is None:
            if before and before.at == action.at:
                ledger.undo(action.photo, HAND)
        elif before is None or (before.verdict, before.reason) != (action.verdict, action.reason):
            ledger.decide([Decision(action.photo, HAND, action.verdict, reason=action.reason)])
        return self._standing(action.photo)

    def _standing(self, photo: str) -> Standing | None:
        decision = next(self._writer.decisions(photo, HAND), None)
        return Standing(decision.verdict, decision.reason, decision.at) if decision else None

    def _loaded(self) -> Catalogue:
        self._catalogue = self._catalogue or Catalogue.read(self._ledger)
        return self._catalogue

    def _score(self, decision: Decision) -> float | None:
        return decision.score if self._exact or decision.by != OF_THE_SUN else None

    def _rounded(self, degrees: float) -> float:
        return degrees if self._exact else round(degrees, ROUNDED_DEGREES)


def _text(words: str) -> str:
    """Words of JSON, which may hold half a letter (a lone surrogate) that no file takes: a question mark instead."""
    return words.encode("utf-8", "replace").decode()


def _told(key: str, standing: Standing | Literal["gone"] | None) -> Mapping[str, Any]:
    if isinstance(standing, Standing):
        return {"photo": key, "verdict": standing.verdict, "reason": standing.reason, "at": standing.at}
    return {"photo": key, "verdict": None, "gone": standing == "gone"}
