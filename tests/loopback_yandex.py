"""A stand-in for Yandex Static Maps on this machine: its parameters, its limits, and its errors as it words them.

    with serve() as server:
        os.environ["YANDEX_STATIC_URL"], os.environ["YANDEX_APIKEY"] = server.url, server.key

After yandex.com/maps-api/docs/static-api/request.html and api.yandex.com/dev/staticapi/doc/en/response. It draws
synthetic ground that depends on the place alone. It imports nothing of the package that it judges.
"""

from __future__ import annotations

import io
import json
import re
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import numpy as np
from loopback import Answering, Loopback
from PIL import Image

KEY = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
MOST = (650, 450)


@dataclass
class Asked:
    """A request that came, and when (seconds, monotonic)."""

    ll: str
    query: dict[str, str]
    at: float
    status: int = 0


@dataclass
class Server(Loopback):
    """A running stand-in: its `url`, `key`, and what it was asked, faults included.

    `faults` are met by the next requests, one each: a status, or one of `html`, `map`, `blank`, `none`, `cut`, `small`,
    `bomb`, `long`, `text`, `key`, `elsewhere`. `always` befalls those of a place (its `ll`).
    """

    key: str = KEY
    seconds: float = 0.0
    """That an answer takes."""
    daily: float = float("inf")
    """Requests, after which the key has no more."""
    faults: list[int | str] = field(default_factory=list)
    always: dict[str, int | str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    filler: int = 0
    """Letters before the words of an error."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.listen(_Handler, "service")

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    def good(self) -> list[Asked]:
        """Requests that were answered with a picture of the place."""
        return [one for one in self.asked if one.status == 200]


def ground(longitude: float, latitude: float, size: tuple[int, int] = (450, 450)) -> Image.Image:
    """What a satellite is made to have seen there: noise of several sizes in the colours of a forest."""
    random = np.random.default_rng([int((longitude + 180) * 1e6), int((latitude + 90) * 1e6)])
    width, height = size
    field_ = np.zeros((height, width))
    for step, weight in ((64, 30), (16, 18), (4, 10), (1, 6)):
        coarse = random.normal(size=(height // step + 2, width // step + 2)) * weight
        field_ += np.kron(coarse, np.ones((step, step)))[:height, :width]
    colours = np.array([70, 95, 60]) + field_[..., None] * np.array([0.8, 1.0, 0.7])
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def drawn_map(size: tuple[int, int]) -> Image.Image:
    """A road map: what the service gives whom it gives no satellite layer."""
    image = Image.new("RGB", size, (229, 242, 214))
    for at in range(30, size[0], 90):
        image.paste((255, 255, 255), (at, 0, at + 5, size[1]))
        image.paste((250, 225, 140), (0, at, size[0], at + 7))
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    """A file."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=90)
    return stream.getvalue()


class _Handler(Answering, BaseHTTPRequestHandler):
    service: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        service, one = self.service, Asked(query.get("ll", ""), query, time.monotonic())
        with service.lock:
            service.asked.append(one)
            fault = service.always.get(one.ll) or (service.faults.pop(0) if service.faults else None)
            spent = len(service.good()) >= service.daily
        time.sleep(service.seconds)
        try:
            self._answer(url.path, query, one, fault, spent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, path: str, query: dict[str, str], one: Asked, fault: int | str | None, spent: bool) -> None:
        if path.rstrip("/") != "/v1":
            return self._send(404, b"<html><head><title>404 Not Found</title></head></html>", "text/html")
        if "apikey" not in query:
            return self._error(403, "Missing apikey parameter")
        if query["apikey"] != self.service.key:
            return self._error(403, f"Invalid api key:{query['apikey']}")
        if spent:
            return self._error(429, "Limit is exceeded")
        if fault == 429:
            return self._error(429, f"Too many requests of {query['apikey']}", Retry_After="0")
        if isinstance(fault, int):
            return self._error(fault, f"Sorry for {query['apikey']}")
        size = tuple(int(side) for side in query.get("size", "450,450").split(","))
        if size[0] > MOST[0] or size[1] > MOST[1]:
            return self._xml('Parameter "size" is out of range')
        if not re.fullmatch(r"-?\d+(\.\d+)?,-?\d+(\.\d+)?", query.get("ll", "")) or not 0 <= int(query["z"]) <= 21:
            return self._xml("Unable to evaluate area of interest")
        longitude, latitude = (float(part) for part in query["ll"].split(","))
        if query.get("l") != "sat":
            return self._send(200, encoded(drawn_map(size), "PNG"), "image/png")
        if fault is None:
            one.status = 200
            return self._send(200, encoded(ground(longitude, latitude, size), "JPEG"), "image/jpeg")
        return self._send(*self._odd(str(fault), longitude, latitude, size))

    def _odd(self, fault: str, longitude: float, latitude: float, size: tuple[int, int]) -> tuple[int, bytes, str]:
        """Answers of 200 that are no tile of the place."""
        good = encoded(ground(longitude, latitude, size), "JPEG")
        blank = Image.new("RGB", size, (200, 200, 200))
        header = b"IHDR" + struct.pack(">IIBBBBB", 65_535, 65_535, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        kinds = {
            "html": (b"<!DOCTYPE html><html><title>Are you a robot?</title></html>", "text/html"),
            "text": (b"sorry", "text/plain"),
            "key": (self.service.key.encode(), "text/plain"),
            "map": (encoded(drawn_map(size), "PNG"), "image/png"),
            "blank": (encoded(blank, "PNG"), "image/png"),
            "cut": (good[: len(good) // 2], "image/jpeg"),
            "small": (encoded(ground(longitude, latitude, (300, 200)), "JPEG"), "image/jpeg"),
            "bomb": (bomb + struct.pack(">I", 100) + b"IDAT" + b"\0" * 104, "image/png"),
            "long": (good + b"\x00" * (9 << 20), "image/jpeg"),
            "elsewhere": (encoded(ground(0, 0, size), "JPEG"), "image/jpeg"),
        }
        return (200, *kinds[fault])

    def _xml(self, message: str) -> None:
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<error><status>400</status><message>{message}</message></error>'
        )
        self._send(400, body.encode(), "application/xml")

    def _error(self, status: int, message: str, **headers: str) -> None:
        names = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 429: "Too Many Requests"}
        message = "x" * self.service.filler + message
        body = {"statusCode": status, "error": names.get(status, "Internal Server Error"), "message": message}
        self._send(status, json.dumps(body).encode(), "application/json", **headers)

    def _send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.begin(status, len(body), Content_Type=kind, **headers)
        self.wfile.write(body)


def serve(faults: Sequence[int | str] = (), **options: object) -> Server:
    """A stand-in that answers in the block of a `with`."""
    return Server(faults=list(faults), **options)
