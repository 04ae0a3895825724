"""One attempt by HTTP: a request that goes on where the last one broke off, and follows no redirect to another host.

The session is fsspec's, so proxies and credentials are those of its configuration.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from typing import Any

import aiohttp

from waterscape.data.http_manners import MOST_REDIRECTS, REDIRECTS, TRANSIENT, RedirectError, redirected, retry_after
from waterscape.data.transfer import PIECE, AgainError, Body, HaltedError, NeverError, file_system

CONNECT_SECONDS = 20.0
SILENT_SECONDS = 60.0  # without a byte
LOOK_SECONDS = 0.2
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
            if answer.status not in REDIRECTS:
                _judge(answer.status, answer.headers, body)
                async for piece in answer.content.iter_chunked(PIECE):
                    body.write(piece)
                return
            try:
                there = redirected(there, answer.headers.get("Location", ""))
            except RedirectError as error:
                raise NeverError(str(error)) from error
    raise NeverError(f"more than {MOST_REDIRECTS} redirects")


def _judge(status: int, headers: Any, body: Body) -> None:
    """Whether the answer's body is what was asked for; an answer from the start makes the body start again."""
    if status in TRANSIENT:
        raise AgainError(f"the server answers {status}", retry_after(headers.get("Retry-After", "")))
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
