"""Serving a page on this machine to the person who started it, and to nobody else.

Whatever listens on loopback can be asked by every program here and, through the browser, by every website. So:

- only 127.0.0.1 is listened on; a `Host` that is no name of this machine is refused (DNS rebinding);
- the printed address holds a token that opens the page once. It is swapped for a cookie that scripts cannot read
  (HttpOnly) and other sites cannot use (SameSite=Strict), and is in no address afterwards; then a new one is printed;
- what is sent must come from the page itself (`Origin`; JSON or plain bytes, which other sites cannot send unasked);
- bodies are bounded, scripts stand in files of their own (CSP), errors are told without their traceback.

Ports are no border for cookies: a hostile web server on this machine, once it is visited under the same name, is sent
the cookie as well. It takes a program that runs here to do that.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import socket
import webbrowser
from importlib.resources import files as resources
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.resources.abc import Traversable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ADDRESS = "127.0.0.1"
HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")  # the port may be another where ssh forwards it
MOST_BODY_BYTES = 1 << 16
MOST_ADDRESS_BYTES = 4096
PATIENCE_SECONDS = 2  # for answers under way when the server is stopped
SAFE = ("GET", "HEAD")
TAKEN = ("application/json", "application/octet-stream")  # neither is a form's: browsers ask first where sites differ
GONE = 499  # a status that nobody reads: the request was given up
KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# A page that goes on, rather than a redirect: a Strict cookie is not sent along a way that began at another site, such
# as a terminal in the browser.
OPENED = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>waterscape</title>'
    '<p><a href="/">Go on</a>'
)


class Session:
    """Who may look: the token that opens the page next, and the cookie that it is swapped for."""

    def __init__(self, port: int, tell: Callable[[str], None]) -> None:
        """`tell` is given each new address."""
        self.cookie = f"waterscape-{port}"  # by port: another page of this machine has another one
        self._port, self._tell = port, tell
        self._secret, self._token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

    @property
    def url(self) -> str:
        """The address that opens the page, once."""
        return f"http://{ADDRESS}:{self._port}/?token={self._token}"

    def swap(self, token: str) -> Response:
        """The cookie for the token. Raises `HTTPException` for one that is wrong or was used."""
        if not _equal(token, self._token):
            raise HTTPException(401, "this link was used, or is of another start; open the newest one that was printed")
        self._token = secrets.token_urlsafe(32)
        self._tell(self.url)
        response = HTMLResponse(OPENED)
        response.set_cookie(self.cookie, self._secret, httponly=True, samesite="strict")
        return response

    def check(self, cookies: dict[str, str]) -> None:
        """Raise `HTTPException` for whoever has not the cookie."""
        if not _equal(cookies.get(self.cookie, ""), self._secret):
            raise HTTPException(401, "open the link that the tool printed in its terminal")


class Guard:
    """Answers a request that may not be made itself, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, session: Session, most_body_bytes: int) -> None:
        self._app, self._session, self._most = app, session, most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":  # no WebSockets here
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise HTTPException(413, f"more than {self._most} bytes are not taken")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._app
        try:
            answer = self._judge(Request(scope)) or answer
        except HTTPException as error:
            answer = PlainTextResponse(error.detail, error.status_code)
        await answer(scope, bounded, with_headers)

    def _judge(self, request: Request) -> Response | None:
        """An answer that the application has no part in, or None. Raises `HTTPException`."""
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
            raise HTTPException(421, "this machine is called 127.0.0.1 or localhost here")
        origin = headers.get("origin")
        if origin != f"http://{hosts[0]}" and (origin is not None or request.method not in SAFE):
            raise HTTPException(403, "this was not asked by the page itself")
        if len(request.scope["query_string"]) + len(request.scope["path"]) > MOST_ADDRESS_BYTES:
            raise HTTPException(414, "the address is too long")
        if request.method == "GET" and request.url.path == "/" and "token=" in request.url.query:
            return self._session.swap(parse_qs(request.url.query).get("token", [""])[0])
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise HTTPException(403, "this was asked by another site")
        self._session.check(request.cookies)
        if request.method not in SAFE:
            self._judge_body(headers)
        return None

    def _judge_body(self, headers: Headers) -> None:
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in TAKEN:
            raise HTTPException(415, f"{' or '.join(TAKEN)} is wanted")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            raise HTTPException(413, f"more than {self._most} bytes are not taken")


def protected(routes: Sequence[BaseRoute], session: Session, most_body_bytes: int = MOST_BODY_BYTES) -> Guard:
    """The application: every request is judged before any route sees it.

    The guard stands around all of it, as Starlette answers what went wrong unforeseen outside of its own middleware.
    """
    application = Starlette(
        routes=[Route("/favicon.ico", _nothing), *routes],  # browsers ask for it by themselves
        exception_handlers={HTTPException: _refused, UserError: _refused, Exception: _failed},
    )
    return Guard(application, session, most_body_bytes)


def serve(
    routes: Sequence[BaseRoute],
    port: int,
    *,
    open_browser: bool = False,
    tell: Callable[[str], None] = print,
    most_body_bytes: int = MOST_BODY_BYTES,
) -> None:
    """Serve until Ctrl-C. The address is told; a browser is opened only on request.

    Args:
        routes: of Starlette; `files` makes those of a page's own files.
        port: on 127.0.0.1; 0: any that is free.
        open_browser: open the user's own browser too.
        tell: is given each line that the user should see.
        most_body_bytes: a larger body of a request is refused.

    Raises:
        UserError: the port cannot be had.
    """
    try:
        listener = socket.create_server((ADDRESS, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} of {ADDRESS} cannot be had ({error}): name another by --port, 0 for any"
        ) from None
    with listener:
        port = listener.getsockname()[1]
        session = Session(port, lambda url: tell(f"opened; to open it again, in another browser or once lost: {url}"))
        tell(f"open {session.url}")
        tell(f"Ctrl-C stops. From another machine: ssh -L {port}:{ADDRESS}:{port} …, then the same link")
        if open_browser:
            webbrowser.open(session.url)
        options = uvicorn.Config(
            protected(routes, session, most_body_bytes),
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=PATIENCE_SECONDS,
        )
        with contextlib.suppress(KeyboardInterrupt):  # mostly passed on by uvicorn; now and then it just returns
            uvicorn.Server(options).run(sockets=[listener])
        tell("stopped")


def files(folder: Traversable) -> list[BaseRoute]:
    """Routes of a page's own files and of those that all pages share (`pages/page`), read once.

    `index.html` is at /, the others at /page/NAME. Nothing else is read.
    """
    everybodys = resources("waterscape.pages") / "page"
    found = (file for place in (everybodys, folder) for file in place.iterdir())
    content = {file.name: file.read_bytes() for file in found if file.name.rpartition(".")[2] in KINDS}

    async def answer(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in content:
            raise HTTPException(404, "there is no such file")
        return Response(content[name], media_type=KINDS[name.rpartition(".")[2]])

    return [Route("/", answer), Route("/page/{name}", answer)]


async def _nothing(_: Request) -> Response:
    return Response(status_code=204)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(getattr(error, "detail", error))}, getattr(error, "status_code", 400))


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "the server failed at this; its terminal says more"}, 500)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
