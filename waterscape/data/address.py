"""Addresses of sets: a directory's path, or a URL, which may hold secrets that nothing may show."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from waterscape.errors import UserError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*(?:::[A-Za-z0-9+.-]+)*://)([^/\s'\"]*@)?([^\s?#'\"]*)([?#][^\s'\"]*)?")


def is_remote(place: Path | str) -> bool:
    """Whether a set lies behind a URL, rather than in a directory; `file://` names a directory."""
    return isinstance(place, str) and "://" in place and not place.startswith("file://")


def as_directory(place: Path | str, doing: str) -> Path:
    """The directory that a path or a `file://` URL names. Raises `UserError` for any other URL: copy the set first."""
    if is_remote(place):
        raise UserError(f"{redact(str(place))} is not a directory: {doing} needs one, so copy the set first")
    if isinstance(place, str) and place.startswith("file://"):
        return Path(unquote(urlsplit(place).path))
    return Path(place)


def join(url: str, name: str) -> str:
    """The URL of a file in the set at `url`; a query stays at the end."""
    path, mark, query = url.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def redact(text: str) -> str:
    """A text whose URLs show neither user and password nor query."""
    return URL.sub(lambda url: f"{url[1]}{'…@' if url[2] else ''}{url[3]}{'?…' if url[4] else ''}", text)


def is_http(url: str) -> bool:
    """Whether a web server answers it."""
    return url.startswith(("http://", "https://"))
