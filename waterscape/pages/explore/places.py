"""Where the photos of a set of pairs were taken, and which of them, with its satellite tile, is nearest to a point."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.leakage import EARTH_KM, unit_vectors
from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.pages.review.overview_map import map_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOS, TILES = ("photo.jpg", "jpg"), "satellite.jpg"
MOST = 200_000
"""Samples whose places are looked up: some 10 s."""
PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Pair:
    """A sample of the set near a point."""

    photo: bytes | None
    """JPEG, as it is stored."""
    tile: bytes | None
    latitude: float
    longitude: float
    metres: float
    """From the point."""
    split: str
    synthetic: bool
    licence: str


class Places:
    """The places of a set, looked up in a thread of their own since a set may be large. Safe to use from many threads.

    Raises `UserError` where there is no set.
    """

    def __init__(self, data: str) -> None:
        self.manifest = Manifest.load(data)
        self._data = data
        self.columns = {column.name for column in self.manifest.columns}
        self.photo_column = next((name for name in PHOTOS if name in self.columns), None)
        self.splits = [ShardSet(data, split, self.manifest) for split in self.manifest.splits]
        self.samples = sum(len(split) for split in self.splits)
        self._found: list[tuple[int, int]] = []  # split, number
        self._degrees = np.zeros((0, 2))  # latitude, longitude
        self._vectors: NDArray[np.float64] = np.zeros((0, 3))
        self.trouble = ""
        self._ready = threading.Event()
        self._reading = threading.Lock()
        threading.Thread(target=self._look_up, daemon=True).start()

    @property
    def synthetic(self) -> bool:
        """Whether the set says so."""
        return bool(self.manifest.facts.get("synthetic"))

    def wait(self, seconds: float | None = None) -> bool:
        """Whether all places are known by then."""
        return self._ready.wait(seconds)

    def map(self) -> dict[str, Any]:
        """What the page draws: whether all are known, how many there are, and where."""
        if not self.wait(0):
            return {"ready": False}
        told = f"{self.samples} samples: the first {MOST} were looked up" if self.samples > MOST else ""
        places = [(float(latitude), float(longitude)) for latitude, longitude in self._degrees]
        return {"ready": True, "count": len(places), "told": self.trouble or told, **map_of(places, exact=True)}

    def nearest(self, latitude: float, longitude: float, within_metres: float, *, tile: bool = False) -> Pair | None:
        """The nearest sample; None where none is near enough. `tile`: its satellite tile is wanted, not only its photo.

        Raises `UserError` while places are looked up, and `ShardError` for a damaged sample.
        """
        if not self.wait(PATIENCE_SECONDS):
            raise UserError("the set's places are still looked up: try again in a moment")
        if not len(self._degrees):
            return None
        there = unit_vectors(np.array([longitude]), np.array([latitude]))[0]
        place = int((self._vectors @ there).argmax())
        chord = float(np.linalg.norm(self._vectors[place] - there))
        metres = 2000 * EARTH_KM * math.asin(min(chord / 2, 1.0))
        return self._pair(place, metres, tile=tile) if metres <= within_metres else None

    def _pair(self, place: int, metres: float, *, tile: bool) -> Pair:
        split, number = self._found[place]
        samples = self.splits[split]
        with self._reading:
            stored = samples.read(number)
        told = stored.get("json")
        facts: dict[str, Any] = told if isinstance(told, dict) else {}
        photo = stored.get(self.photo_column or "")
        above = stored.get(TILES) if tile else None
        return Pair(
            photo if isinstance(photo, bytes) else None,
            above if isinstance(above, bytes) else None,
            latitude=float(self._degrees[place, 0]),
            longitude=float(self._degrees[place, 1]),
            metres=round(metres, 1),
            split=samples.split,
            synthetic=bool(facts.get("synthetic") or self.synthetic),
            licence=str(facts.get("licence") or self.manifest.facts.get("licence") or ""),
        )

    def _look_up(self) -> None:
        found: list[tuple[int, int]] = []
        degrees: list[tuple[float, float]] = []
        try:
            if "json" in self.columns and (self.photo_column or TILES in self.columns):
                for split, samples in enumerate(self.splits):
                    for number in range(min(len(samples), MOST - len(degrees))):
                        place = _place(samples, number)
                        if place:
                            found.append((split, number))
                            degrees.append(place)
        except Exception as error:  # nobody else would hear of it, and the page would wait for ever
            why = " ".join(str(error).split()) or type(error).__name__
            self.trouble = f"the places could not be looked up: {why}"
        finally:
            self._found, self._degrees = found, np.array(degrees, float).reshape(-1, 2)
            self._vectors = unit_vectors(self._degrees[:, 1], self._degrees[:, 0])
            self._ready.set()


def _place(samples: ShardSet, number: int) -> tuple[float, float] | None:
    """Latitude and longitude, where the sample tells them."""
    shard, row = samples.locate(number)
    if samples.indexes[shard]["json"]["size"][row] < 0:
        return None
    facts = samples.value(shard, row, "json")
    if not isinstance(facts, dict):
        return None
    latitude, longitude = facts.get("latitude"), facts.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None
