"""What VK answers to `photos.search`, judged before anything of it is believed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

PLAIN_SIZES = "sxmyzw"
"""Proportional copies from small to large, whose width and height old photos give as 0."""


class AnswerError(ValueError):
    """An answer that is none: not JSON, or not of the schema's shape."""


class RefusalError(Exception):
    """An error that VK gives in the body of an answer, whose HTTP status is 200 all the same."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words


@dataclass(frozen=True)
class Item:
    """A photo in an answer."""

    owner: str
    number: str
    date: int
    """Seconds since 1970: when it was put there."""
    latitude: float | None
    longitude: float | None
    url: str
    """Of its largest size; empty: there is none."""
    width: int | None
    height: int | None


@dataclass(frozen=True)
class Page:
    """A part of an answer."""

    counted: int
    """As many photos there are, says VK, over all pages."""
    items: tuple[Item, ...]
    slots: int
    """Items that came, those included of which nothing can be made."""


def page_of(content: bytes) -> Page:
    """An answer's content. Raises `AnswerError`, or `RefusalError` for one that VK gives."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the answer is no JSON ({len(content)} bytes)") from error
    if not isinstance(answer, dict):
        raise AnswerError("the answer is no object")
    if isinstance(answer.get("error"), dict):
        code = answer["error"].get("error_code")
        told = str(answer["error"].get("error_msg", ""))
        words = " ".join("".join(letter if letter.isprintable() else " " for letter in told).split())
        raise RefusalError(code if _is_whole(code) else 0, words)
    response = answer.get("response")
    if not isinstance(response, dict):
        raise AnswerError("the answer holds neither response nor error")
    counted: Any = response.get("count")
    items = response.get("items")
    if not _is_whole(counted) or counted < 0 or not isinstance(items, list):
        raise AnswerError("the answer's response lacks count or items")
    return Page(counted, tuple(found for item in items if (found := _item(item)) is not None), len(items))


def _item(item: Any) -> Item | None:
    """A photo; None where it has no owner, number or date."""
    if not isinstance(item, dict) or not all(_is_whole(item.get(name)) for name in ("owner_id", "id", "date")):
        return None
    latitude, longitude = _degrees(item.get("lat"), 90), _degrees(item.get("long"), 180)
    if latitude is None or longitude is None:
        latitude = longitude = None
    url, width, height = _largest(item)
    return Item(str(item["owner_id"]), str(item["id"]), item["date"], latitude, longitude, url, width, height)


def _largest(item: dict[str, Any]) -> tuple[str, int | None, int | None]:
    """Address, width and height of the largest size; the original among them, where VK tells it."""
    sizes = item.get("sizes")
    told = [*(sizes if isinstance(sizes, list) else []), item.get("orig_photo")]
    usable = [one for one in told if isinstance(one, dict) and _is_address(one.get("url"))]
    if not usable:
        return "", None, None

    def size(one: dict[str, Any]) -> tuple[int, int]:
        kind = one.get("type")
        pixels = math.prod(one[name] if _is_whole(one.get(name)) else 0 for name in ("width", "height"))
        return pixels, PLAIN_SIZES.find(kind) if isinstance(kind, str) and len(kind) == 1 else -1

    best = max(usable, key=size)
    width, height = (
        best[name] if _is_whole(best.get(name)) and best[name] > 0 else None for name in ("width", "height")
    )
    return best["url"], width, height


def _degrees(value: Any, most: float) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most:
        return float(value)
    return None


def _is_address(value: Any) -> bool:
    """Whether it may be one: halves of surrogate pairs, which no database takes, are as little printable as others."""
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_whole(value: Any) -> bool:
    """Whether a number is whole, and one that a database can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
