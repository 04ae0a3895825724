"""One attempt by HTTP: a request that goes on where the last one broke off, and follows no redirect to another host.

The session is fsspec's, so proxies and credentials are those of its configuration.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from waterscape.data.transfer import PIECE, AgainError, Body, HaltedError, NeverError, file_system

CONNECT_SECONDS = 20.0
SILENT_SECONDS = 60.0  # without a byte
LOOK_SECONDS = 0.2
MOST_REDIRECTS = 5
LONGEST_RETRY_AFTER = 300.0
TRANSIENT = {408, 425, 429, *range(500, 600)}
MISSING = {404, 410}


def transfer_http(url: str, body: Body, halt: threading.Event) -> None:
    """One attempt: everything from where the body ends, or from the start where the server has another file by now.

    Raises:
        AgainError: the answer may be another one next time.
        NeverError: it will not.
        HaltedError: `halt` was set.
    """
    system, _ = file_system(url)
    transfer = asyncio.run_coroutine_threadsafe(_request(system, url, body), system.loop)
    while not transfer.done():
        if halt.is_set():
            transfer.cancel()
            raise HaltedError
        concurrent.futures.wait([transfer], LOOK_SECONDS)
    try:
        transfer.result()
    except (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL) as error:
        raise NeverError(f"{type(error).__name__}: {error}") from error
    except TimeoutError as error:
        raise AgainError("time ran out") from error
    except (aiohttp.ClientError, OSError) as error:
        raise AgainError(f"{type(error).__name__}: {error}") from error


async def _request(system: Any, url: str, body: Body) -> None:
    session = await system.set_session()
    options = {name: value for name, value in system.kwargs.items() if name not in ("headers", "allow_redirects")}
    headers = {**system.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    if body.done:
        headers["Range"] = f"bytes={body.done}-"
        if body.tag:
            headers["If-Range"] = body.tag
    options["timeout"] = aiohttp.ClientTimeout(None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    there = url
    for _ in range(MOST_REDIRECTS + 1):
        address = system.encode_url(there)
        async with session.get(address, headers=headers, allow_redirects=False, **options) as answer:
            if answer.status not in (301, 302, 303, 307, 308):
                _judge(answer.status, answer.headers, body)
                async for piece in answer.content.iter_chunked(PIECE):
                    body.write(piece)
                return
            there = _redirected(there, answer.headers.get("Location", ""))
    raise NeverError(f"more than {MOST_REDIRECTS} redirects")


def _judge(status: int, headers: Any, body: Body) -> None:
    """Whether the answer's body is what was asked for; an answer from the start makes the body start again."""
    if status in TRANSIENT:
        raise AgainError(f"the server answers {status}", _retry_after(headers.get("Retry-After", "")))
    if status in MISSING:
        raise NeverError(f"there is no such file ({status})", missing=True)
    if status in (401, 403):
        raise NeverError(f"access is refused ({status}): see to the credentials")
    start = 0
    if status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if not found or int(found[1]) != body.done:
            body.restart()
            raise AgainError("the server answers with another part than was asked for")
        start = body.done
    elif status == 416:
        body.restart()
        raise AgainError("the server has fewer bytes than came before")
    elif status != 200:
        raise NeverError(f"the server answers {status}")
    elif body.done:
        body.restart()
    body.tag = headers.get("ETag", "")
    if body.tag.startswith("W/"):  # weak: not for ranges (RFC 9110, 13.1.5)
        body.tag = ""
    length, size = headers.get("Content-Length", ""), body.wanted.size
    if length.isdigit() and size is not None and start + int(length) != size:
        raise AgainError(f"the server announces {start + int(length)} bytes instead of {size}")


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads, on the same host only: any other one might be inside our network, or gather tokens."""
    target = urljoin(url, location)
    one, other = urlsplit(url), urlsplit(target)
    same = (one.hostname, one.port, one.scheme) == (other.hostname, other.port, other.scheme)
    safer = (one.hostname, one.port, one.scheme, other.port, other.scheme) == (
        other.hostname,
        None,
        "http",
        None,
        "https",
    )
    if not location or not (same or safer):
        where = f"{other.scheme}://{other.hostname or ''}" if location else "nowhere"
        raise NeverError(f"it redirects to {where}, which is not followed: give the address there itself")
    return target


def _retry_after(value: str) -> float:
    """Seconds to wait, from a header that gives seconds or a date; 0 where it gives neither."""
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
