"""Photos that were found, fetched: judged within bounds, freed of what they say of their makers, whole or absent."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from waterscape.durable import write_bytes
from waterscape.errors import UserError
from waterscape.sources.jpeg_segments import JpegError, without_metadata
from waterscape.sources.photo_facts import DATE, DATE_FORM, EXIF
from waterscape.sources.photo_file import DAMAGED, NOT_A_PICTURE, ORIENTATION, Limits, PhotoError, decode
from waterscape.sources.requests_at_once import in_any_order
from waterscape.sources.vk.photo_hosts import HostError, PhotoHosts, UnknownHostError
from waterscape.sources.web import Limits as WebLimits
from waterscape.sources.web import Web, WebError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from waterscape.sources.ledger import Ledger, Photo

MOST_BYTES = 32 << 20
PATIENCE = WebLimits(at_once=8, per_second=50, attempts=4, silent_seconds=30, most_bytes=MOST_BYTES)
ATTEMPTS = 3  # at a photo that comes damaged
IN_A_ROW = 30  # photos that nobody answers for, after which none is asked for
SMALL = 64  # pixels a side of the copy that is decoded to see that the photo is whole
NO_ADDRESS, ANSWERS = "VK tells no address of it", "the server answers"


class LaterError(Exception):
    """A photo that may be had another time."""


class _NeverError(Exception):
    """A photo that cannot be had."""


@dataclass
class Downloaded:
    """What became of the photos so far."""

    fetched: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Reason → photos that cannot be had."""
    later: Counter[str] = field(default_factory=Counter)
    """Reason → photos that the same command asks for again."""


class Downloads:
    """Fetches photos of a ledger into a folder. Safe to use from many threads."""

    def __init__(
        self, ledger: Ledger, out: Path, hosts: PhotoHosts, limits: Limits, patience: WebLimits = PATIENCE
    ) -> None:
        self.ledger, self.out, self.limits, self.at_once = ledger, out, limits, patience.at_once
        self._hosts = hosts
        self._web = Web(patience, may_answer=hosts.may_answer)
        self._lock = threading.Lock()

    def all(self, keys: Sequence[str]) -> Iterator[Downloaded]:
        """Fetch photos; yields the same `Downloaded` after each.

        Raises:
            UserError: none of many in a row could be reached.
        """
        done, in_a_row = Downloaded(), 0
        for _, result in in_any_order(keys, self.one, self.at_once, LaterError):
            if isinstance(result, LaterError):
                done.later[str(result)] += 1
                in_a_row += 1
                if in_a_row == IN_A_ROW:
                    raise UserError(
                        f"{in_a_row} photos in a row cannot be reached, the last: {result}; {done.fetched} are "
                        "fetched, and the same command goes on"
                    )
            else:
                in_a_row = 0
                if result is None:
                    done.fetched += 1
                elif result:
                    done.failed[result] += 1
            yield done

    def one(self, key: str) -> str | None:
        """Fetch a photo, if it is still wanted; returns None, or else why it cannot be had. Raises `LaterError`."""
        photo = self.ledger.photo(key)
        if photo is None or self.ledger.is_forgotten(photo.source, photo.owner):
            return ""
        path = self.out / f"{photo.key}.jpg"
        if photo.sha256 and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == photo.sha256:
            return self._done(photo, path)  # was killed between the two
        try:
            content, facts = self._content(photo)
        except _NeverError as error:
            self.ledger.update(replace(photo, state="failed", reason=str(error)))
            return str(error)
        known = facts | {"facts": photo.facts | facts["facts"]}
        photo = replace(photo, **known, file=self.ledger.name_of(path))
        self.ledger.update(photo)
        write_bytes(path, content)
        return self._done(photo, path)

    def _done(self, photo: Photo, path: Path) -> str | None:
        if not self.ledger.update(replace(photo, state="fetched", reason="")):
            path.unlink(missing_ok=True)  # its owner was forgotten meanwhile
            return ""
        return None

    def _content(self, photo: Photo) -> tuple[bytes, dict[str, Any]]:
        """The file to be stored, and what is known of it. Raises `_NeverError` or `LaterError`."""
        for attempt in range(1, ATTEMPTS + 1):
            raw = self._raw(photo.url)
            try:
                return _judged(raw, self.limits)
            except PhotoError as error:
                if attempt == ATTEMPTS or error.reason not in (DAMAGED, NOT_A_PICTURE):
                    raise _NeverError(error.reason) from error
        raise AssertionError("an attempt returns or raises")

    def _raw(self, url: str) -> bytes:
        if not url:
            raise _NeverError(NO_ADDRESS)
        try:
            self._hosts.check(url)
            answer = self._web.request("GET", url)
        except HostError as error:
            raise _NeverError(str(error)) from error
        except UnknownHostError as error:
            raise LaterError(str(error)) from error
        except WebError as error:
            raise self._of(error) from error
        if answer.status != 200:
            raise _NeverError(f"{ANSWERS} {answer.status}")
        return answer.content

    @staticmethod
    def _of(error: WebError) -> Exception:
        """Without the address, which may tell whose photo it is."""
        reason = str(error).partition(": ")[2]
        return _NeverError(reason) if error.final else LaterError(reason)

    def close(self) -> None:
        """Ask for nothing more."""
        self._web.close()


def _judged(raw: bytes, limits: Limits) -> tuple[bytes, dict[str, Any]]:
    """A photo as it is stored, with its size, hash and facts. Raises `PhotoError`."""
    if raw[:3] != b"\xff\xd8\xff":
        raise PhotoError(NOT_A_PICTURE, f"begins with {raw[:8]!r}")
    seen = decode(raw, limits, small=SMALL)
    orientation = seen.exif.get(ORIENTATION, 1)
    try:
        plain = without_metadata(raw, orientation if orientation in range(2, 9) else 1)
    except JpegError as error:
        raise PhotoError(DAMAGED, str(error)) from error
    facts: dict[str, Any] = {"left_out": list(plain.left_out)} if plain.left_out else {}
    if orientation in range(2, 9):
        facts["orientation"] = orientation
    date = _camera_date(seen.exif)
    if date:
        facts["camera_date"] = date
    digest = hashlib.sha256(plain.content).hexdigest()
    return plain.content, {"width": seen.width, "height": seen.height, "sha256": digest, "facts": facts}


def _camera_date(exif: Any) -> str:
    """When the camera says that the picture was taken, as EXIF writes it, without a time zone; empty if it does not."""
    try:
        date = str(exif.get_ifd(EXIF).get(DATE, "")).strip("\0 ")
    except Exception:  # whatever Pillow's parser comes up with: taken as not known
        return ""
    return date if DATE_FORM.fullmatch(date) and not date.startswith("0000") else ""
