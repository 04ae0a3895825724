"""Yandex Static Maps: the satellite layer around a place, one GET request a tile.

    GET https://static-maps.yandex.ru/v1?apikey=…&ll=LONGITUDE,LATITUDE&z=15&size=450,450&l=sat&lang=en_US

Pictures of at most 650 × 450 pixels at zooms of 0 to 21; errors come as 400 (a parameter), 403 (no key, or not a known
one; its words repeat the key), 429 (too many requests), with a message as JSON, XML or plain text
(yandex.com/maps-api/docs/static-api/request.html, api.yandex.com/dev/staticapi/doc/en/response). The key goes into the
request alone: what is recorded or told of an address has no query.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from waterscape.data.address import redact
from waterscape.errors import UserError
from waterscape.sources.satellite.picture import suffix_of
from waterscape.sources.satellite.source import (
    EQUATOR_METRES,
    NO_PICTURE,
    REFUSED,
    Demand,
    DeniedError,
    NoTileError,
    SatelliteTile,
    UnansweredError,
    metres_per_pixel,
)
from waterscape.sources.web import SHOWN, Answer, Limits, Web, WebError

ADDRESS = "https://static-maps.yandex.ru/v1"
URL_VARIABLE, KEY_VARIABLE = "YANDEX_STATIC_URL", "YANDEX_APIKEY"
KEY = re.compile(r"[A-Za-z0-9._-]{8,200}")
MOST_WIDTH, MOST_HEIGHT, MOST_ZOOM = 650, 450, 21
LIMITS = Limits(at_once=2, per_second=5.0, attempts=6, silent_seconds=30, most_bytes=8 << 20)
ATTEMPTS = 3  # at an answer that is no picture
TERMS = (
    "© Yandex and its providers of imagery (yandex.com/legal/maps_termsofuse). Storing tiles wants an extended "
    "licence, and commercial tariffs have no satellite layer (yandex.ru/dev/commercial/doc/en/concepts/staticapi): "
    "see that yours allows both"
)


@dataclass
class Yandex:
    """A `TileSource`; its key is that of the environment variable YANDEX_APIKEY."""

    zoom: int = 15
    size: tuple[int, int] = (450, 450)
    limits: Limits = field(default_factory=lambda: LIMITS)
    licence = TERMS
    name = "yandex"
    _web: Web | None = field(default=None, repr=False)
    _key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        width, height = self.size
        if not 0 <= self.zoom <= MOST_ZOOM:
            raise UserError(f"--zoom {self.zoom}: Yandex has 0 to {MOST_ZOOM}")
        if not (1 <= width <= MOST_WIDTH and 1 <= height <= MOST_HEIGHT):
            raise UserError(f"--size {width},{height}: Yandex gives at most {MOST_WIDTH},{MOST_HEIGHT} pixels")

    @property
    def plan(self) -> dict[str, Any]:
        """Zoom, size and layer."""
        return {"zoom": self.zoom, "size": list(self.size), "layer": "sat"}

    @property
    def finest_metres(self) -> float:
        """At 75° north or south."""
        return EQUATOR_METRES / (4 << self.zoom)

    @property
    def demand(self) -> Demand:
        """Of a key."""
        notes = (
            "each request counts towards your key's limit a day and its price: --most N asks for so many at a time",
            f"terms: {TERMS}",
        )
        return Demand(
            self.limits.at_once, self.limits.per_second, (0.2, 2.0), self.size[0] * self.size[1] * 4e-7, notes
        )

    def __enter__(self) -> Self:
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not self._key:
            raise UserError(f"Yandex wants a key: set {KEY_VARIABLE} (developer.tech.yandex.ru, Static API)")
        if not KEY.fullmatch(self._key):
            raise UserError(f"{KEY_VARIABLE} holds what no key is: letters, digits, '-', '_' and '.' alone")
        address = urlsplit(self._address)
        if address.scheme != "https" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise UserError(f"{URL_VARIABLE} must be https://…, since the key is sent there")
        self._web = Web(self.limits)
        return self

    def __exit__(self, *_: object) -> None:
        if self._web:
            self._web.close()

    def tile_at(self, latitude: float, longitude: float) -> SatelliteTile:
        """See `TileSource`."""
        width, height = self.size
        for attempt in range(1, ATTEMPTS + 1):
            content = self._asked(latitude, longitude)
            try:
                if self._key.encode() in content:
                    raise NoTileError(NO_PICTURE, "it repeats the key")
                suffix = suffix_of(content, width, height)
                break
            except NoTileError as error:
                if error.reason != NO_PICTURE or attempt == ATTEMPTS:
                    raise NoTileError(error.reason, str(error).partition(": ")[2]) from None
        facts = {
            "zoom": self.zoom,
            "address": redact(self._address),
            "projection": "EPSG:3395",
            "asked": [latitude, longitude],
        }
        return SatelliteTile(content, suffix, width, height, metres_per_pixel(latitude, self.zoom), facts)

    @property
    def _address(self) -> str:
        return os.environ.get(URL_VARIABLE, ADDRESS).partition("?")[0]

    def _asked(self, latitude: float, longitude: float) -> bytes:
        """The content of an answer of 200."""
        assert self._web is not None
        asked = {
            "ll": f"{longitude:.6f},{latitude:.6f}",
            "z": self.zoom,
            "size": ",".join(map(str, self.size)),
            "l": "sat",
            "lang": "en_US",
            "apikey": self._key,
        }
        try:
            answer = self._web.request("GET", f"{self._address}?{urlencode(asked, safe=',')}")
        except WebError as error:
            raise UnansweredError(self._without_key(str(error))) from None
        if answer.status == 200:
            return answer.content
        words = f"Yandex answers {answer.status}: {self._words(answer)}"
        if answer.status in (401, 403):
            raise DeniedError(
                f"{words}. See that {KEY_VARIABLE} holds a key of the Static API (a new one wants 15 minutes) and "
                "that its tariff has the satellite layer"
            )
        raise NoTileError(REFUSED, words)

    def _words(self, answer: Answer) -> str:
        """An error's message, which JSON, XML or text may hold."""
        text = self._without_key(answer.content.decode(errors="replace"))[:10_000]  # first: a cut key is none to find
        found = re.search(r'"message"\s*:\s*"([^"]*)"', text) or re.search(r"<message>([^<]*)</message>", text)
        if not found and re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE):
            found = re.search(r"<title>([^<]*)</title>", text, re.IGNORECASE)
        words = found[1] if found else re.sub(r"<[^>]*>", " ", text)
        return self._without_key(" ".join(words.split()))[:SHOWN]

    def _without_key(self, text: str) -> str:
        return redact(text.replace(self._key, "…"))
