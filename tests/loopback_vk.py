"""A loopback stand-in for VK: `photos.search` and the photos themselves, as its schema and its servers have them.

Shapes of answers and errors are those of github.com/VKCOM/vk-api-schema (version 5.199); errors come with HTTP status
200. It imports nothing of waterscape, keeps a log of all that it was asked for, and misbehaves as it is told to.
"""

from __future__ import annotations

import io
import json
import math
import random
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from loopback import Answering, Loopback
from PIL import Image

TOKEN = "vk1.a.Secret-Token_0123456789abcdef"
RADII = (10, 100, 800, 6000, 50_000)
EARTH = 6_371_008.8
SIZES = {"s": 24, "m": 32, "x": 48, "y": 64, "z": 80, "w": 96}  # type → the longer side in pixels
ERRORS = {
    1: "Unknown error occurred",
    5: "User authorization failed: invalid access_token (4).",
    6: "Too many requests per second",
    9: "Flood control",
    10: "Internal server error: could not check access_token now",
    14: "Captcha needed",
    15: "Access denied",
    29: "Rate limit reached",
    100: "One of the parameters specified was missing or invalid",
}


@dataclass(frozen=True)
class Posted:
    """A photo that somebody put there; `lat` and `long` may be None."""

    owner: int
    number: int
    date: int
    lat: float | None
    long: float | None

    def metres(self, lat: float, long: float) -> float:
        """By the haversine formula."""
        y, x, v, u = map(math.radians, (self.lat, self.long, lat, long))
        half = math.sin((y - v) / 2) ** 2 + math.cos(y) * math.cos(v) * math.sin((x - u) / 2) ** 2
        return 2 * EARTH * math.asin(math.sqrt(half))


@dataclass(frozen=True)
class Asked:
    """A request: when it arrived (monotonic seconds), and its parameters, without the token."""

    at: float
    path: str
    query: str
    parameters: dict[str, str]
    token_in: tuple[str, ...]
    """Where a token stood: body, query, headers."""


@dataclass
class Vk(Loopback):
    """The service, as a context."""

    posted: list[Posted]
    reach: int = 3000
    """Paging leads no further."""
    per_second: int = 3
    """Requests in any second; of more, error 6 tells."""
    hidden: frozenset[int] = frozenset()
    """Numbers of photos that are counted and not shown."""
    ignores_offset: bool = False
    counts_past_reach: bool = True
    """Else the pages that lie past the reach say that there is nothing at all."""
    latency: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    api_faults: list[Callable[[Handler], None]] = field(default_factory=list)
    photo_faults: dict[int, list[Callable[[Handler, bytes], None]]] = field(default_factory=lambda: defaultdict(list))
    addresses: dict[int, str] = field(default_factory=dict)
    """Photo's number → another address that the API tells for it; {url} is the server's own."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = {posted.number: posted for posted in self.posted}
        self.listen(Handler, "vk")

    @property
    def searches(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.startswith("/method/")]

    @property
    def downloads(self) -> Counter[int]:
        """Number of the photo → times that it was asked for."""
        return Counter(int(asked.path.split("/")[3]) for asked in self.asked if asked.path.startswith("/impg/"))

    def most_in_a_second(self) -> int:
        """Searches."""
        times = sorted(asked.at for asked in self.searches)
        return max(
            (sum(start <= other < start + 1 for other in times[place:]) for place, start in enumerate(times)), default=0
        )

    def item(self, posted: Posted) -> dict:
        """As `photos_photo` of the schema."""
        told = self.addresses.get(posted.number)
        place = f"{{url}}/impg/c{posted.owner % 1000}/{posted.number}/{{side}}.jpg?size={{side}}x{{side}}&sign=ab"
        sizes = [
            {
                "type": kind,
                "width": side,
                "height": side * 3 // 4,
                "url": (told or place).format(url=self.url, side=side),
            }
            for kind, side in SIZES.items()
        ]
        random.Random(posted.number).shuffle(sizes)
        item = {"album_id": -7, "date": posted.date, "id": posted.number, "owner_id": posted.owner, "sizes": sizes}
        item |= {"text": f"подпись {posted.number}", "has_tags": False, "access_key": "0f"}
        if posted.lat is not None:
            item |= {"lat": posted.lat, "long": posted.long}
        if posted.number % 3 == 0:
            item["orig_photo"] = {**max(sizes, key=lambda size: size["width"]), "type": "base"}
        return item

    def search(self, asked: dict[str, str]) -> dict:
        """`photos.search`."""
        if int(asked.get("radius", 5000)) not in RADII:
            return error(100, asked, "radius is not one of 10, 100, 800, 6000, 50000")
        lat, long, radius = float(asked["lat"]), float(asked["long"]), int(asked["radius"])
        start, end = int(asked.get("start_time", 0)), int(asked.get("end_time", 1 << 40))
        count, offset = int(asked.get("count", 100)), int(asked.get("offset", 0))
        if count > 1000:
            return error(100, asked, "count should be less or equal to 1000")
        found = [
            one
            for one in self.posted
            if start <= one.date <= end and (one.lat is None or one.metres(lat, long) <= radius)
        ]
        found.sort(key=lambda one: (-one.date, one.number))
        offset = 0 if self.ignores_offset else offset
        page = found[offset : min(offset + count, self.reach)]
        items = [self.item(one) for one in page if one.number not in self.hidden]
        counted = len(found) if offset < self.reach or self.counts_past_reach else 0
        return {"response": {"count": counted, "items": items}}


class Handler(Answering, BaseHTTPRequestHandler):
    vk: Vk

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path, _, query = self.path.partition("?")
        asked = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
        token = asked.pop("access_token", "")
        with self.vk.lock:
            self._note(path, query, asked, body)
            now = time.monotonic()
            busy = sum(now - one.at < 1 for one in self.vk.searches) > self.vk.per_second
            fault = self.vk.api_faults.pop(0) if self.vk.api_faults else None
        time.sleep(self.vk.latency)
        try:
            if fault is not None:
                fault(self)
            elif path != "/method/photos.search":
                self.json(error(3, asked, "Unknown method passed"))
            elif "v" not in asked:
                self.json(error(8, asked, "Invalid request: v (version) is required"))
            elif token != TOKEN:
                self.json(error(5, asked))
            elif busy:
                self.json(error(6, asked))
            else:
                self.json(self.vk.search(asked))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        with self.vk.lock:
            self._note(path, query, {}, "")
            number = int(path.split("/")[3]) if path.startswith("/impg/") else -1
            faults = self.vk.photo_faults[number]
            fault = faults.pop(0) if faults else None
        time.sleep(self.vk.latency)
        try:
            posted = self.vk.numbers.get(number)
            content = picture(posted, int(path.split("/")[-1].partition(".")[0])) if posted else b""
            if fault is not None:
                fault(self, content)
            elif posted is None:
                self.answer(404, b"no such photo")
            else:
                self.answer(200, content, Content_Type="image/jpeg")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _note(self, path: str, query: str, asked: dict[str, str], body: str) -> None:
        places = {"body": body, "query": query, "headers": str(self.headers)}
        where = tuple(name for name, text in places.items() if TOKEN in text or "access_token" in text)
        self.vk.asked.append(Asked(time.monotonic(), path, query, asked, where))

    def json(self, answer: dict) -> None:
        self.answer(
            200, json.dumps(answer, ensure_ascii=False).encode(), Content_Type="application/json; charset=utf-8"
        )

    def answer(self, status: int, content: bytes, *, announced: int | None = None, **headers: str) -> None:
        self.begin(status, len(content) if announced is None else announced, **headers)
        self.wfile.write(content)
        if announced not in (None, len(content)):
            self.close_connection = True


def error(code: int, asked: dict[str, str], words: str = "") -> dict:
    """As `base_error` of the schema."""
    told = [{"key": name, "value": value} for name, value in asked.items()]
    parameters = [{"key": "oauth", "value": "1"}, {"key": "method", "value": "photos.search"}, *told]
    return {"error": {"error_code": code, "error_msg": words or ERRORS[code], "request_params": parameters}}


def refuse(code: int, words: str = "") -> Callable[[Handler], None]:
    """The next question gets this error."""
    return lambda handler: handler.json(error(code, {}, words))


def say(status: int, content: bytes = b"sorry", **headers: str) -> Callable[..., None]:
    """The next question, or the next request for a photo, gets this."""
    return lambda handler, *_: handler.answer(status, content, **headers)


def hang_up(handler: Handler, *_: object) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def cut_short(handler: Handler, content: bytes) -> None:
    """The connection ends before the content does."""
    handler.answer(200, content[: len(content) // 2], announced=len(content))


def garble(handler: Handler, content: bytes) -> None:
    """A length that is right, and half of the bytes."""
    handler.answer(200, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def endless(handler: Handler, _: bytes) -> None:
    """Bytes without an end, and no length announced."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def picture(posted: Posted, side: int, kind: str = "JPEG") -> bytes:
    """A synthetic photo, which says more of its maker than it should: EXIF with GPS, a comment, a thumbnail."""
    draw = random.Random(posted.number)
    size = (side, side * 3 // 4)
    coarse = Image.frombytes("RGB", (4, 3), draw.randbytes(36)).resize(size)
    image = Image.blend(coarse, Image.frombytes("RGB", size, draw.randbytes(3 * math.prod(size))), 0.1)
    exif = Image.Exif()
    exif[0x013B] = f"Owner {posted.owner} of camera"  # artist
    exif.get_ifd(0x8769)[0x9003] = "2021:06:0" + str(1 + posted.number % 9) + " 12:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (55.0, 30.0, 0.0), 3: "E", 4: (37.0, 30.0, 0.0)})
    if posted.number % 5 == 0:
        exif[0x0112] = 6
    stream = io.BytesIO()
    image.save(stream, kind, exif=exif, **({"comment": f"user {posted.owner}"} if kind == "JPEG" else {}))
    return stream.getvalue()


def bomb() -> bytes:
    """A small JPEG whose header claims 60000 × 60000 pixels."""
    content = bytearray(picture(Posted(1, 1, 0, 0, 0), 24))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(content)


def world(photos: int, box: tuple[float, float, float, float], days: tuple[int, int], seed: int = 0) -> list[Posted]:
    """Photos all over a box (S, W, N, E), put there between two days since 1970; every tenth has no place."""
    draw = random.Random(seed)
    south, west, north, east = box
    return [
        Posted(
            draw.choice([1, -1]) * draw.randrange(10**8, 10**9),
            457_000_000 + number,
            draw.randrange(days[0] * 86400, days[1] * 86400),
            None if number % 10 == 9 else round(draw.uniform(south, north), 6),
            None if number % 10 == 9 else round(draw.uniform(west, east), 6),
        )
        for number in range(photos)
    ]
