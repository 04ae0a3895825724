"""Requests to other people's servers, with manners: few at a time, not too often, patient, and never led astray.

One `Web` serves all threads of a program. It counts by host: so many requests at a time and in a second, and when a
server names a time to wait (Retry-After), all requests to it wait. An answer that another attempt may better, or a
connection that fails, is asked for again within bounds. Redirects are followed on the same host only, so that a token
goes nowhere else; errors show neither tokens nor queries.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from waterscape.data.address import redact
from waterscape.data.http_manners import MOST_REDIRECTS, REDIRECTS, TRANSIENT, RedirectError, redirected, retry_after
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx

CONNECT_SECONDS = 20.0
SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-goog-api-key")
QUOTA_WORDS = (
    "too many concurrent",
    "ratelimitexceeded",
    "rate limit exceeded",
    "quota exceeded",
    "resource_exhausted",
)
SHOWN = 300  # characters of a server's own words


@dataclass(frozen=True)
class Limits:
    """How much to ask of one host, and how long to be patient with it."""

    at_once: int = 8
    per_second: float = 10.0
    attempts: int = 8
    """For one request, whose last one may come four minutes after the first."""
    first_pause: float = 1.0
    """Seconds; doubled each time, with some chance added."""
    longest_pause: float = 60.0
    silent_seconds: float = 60.0
    """Without a byte, before an attempt counts as failed."""
    least_bytes_per_second: float = 1000.0
    """Of an answer that has begun, before an attempt counts as failed; a silence within the bounds is forgiven once."""
    total_seconds: float = math.inf
    """For one request, with all attempts and pauses; one whose host wants to rest beyond them fails at once."""
    most_bytes: int = 64 << 20
    """Of an answer; a longer one is refused, before it is read where the server announces its length."""


@dataclass(frozen=True)
class Answer:
    """What a server says in the end; a status of 400 to 499 is an answer too."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters."""
    content: bytes

    @property
    def words(self) -> str:
        """What it gives as the reason, on one line: the message of an error in JSON, or the text.

        Show `SHOWN` characters of it at most, cut after secrets are taken out: of a cut one a part would be left.
        """
        text = self.content.decode(errors="replace")
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            text = str(json.loads(text)["error"]["message"])
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class WebError(UserError):
    """A request that came to nothing; the message names the host, the attempts and the last reason, no secrets."""

    final: bool = False
    """Whether it would come to nothing another time too: too long, led astray, no address of the web."""


class _AgainError(Exception):
    """An attempt that failed, though the next one may succeed."""


class _LateError(Exception):
    """There is no time left for another attempt."""


class _NeverError(Exception):
    """An attempt that failed as every other one would."""


@dataclass
class _Host:
    """What is asked of a host just now."""

    places: threading.BoundedSemaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_turn: float = 0.0
    """By `time.monotonic`."""

    def wait_for_turn(self, per_second: float, closed: threading.Event, deadline: float) -> None:
        """Wait until it may be asked. Raises `_LateError` where that is after `deadline`, by `time.monotonic`."""
        while not closed.is_set():
            with self.lock:
                now = time.monotonic()
                if now >= self.next_turn:
                    self.next_turn = now + 1 / per_second
                    return
                pause = self.next_turn - now
            if now + pause > deadline:
                raise _LateError(f"the server wants no request for {pause:.0f} s")
            closed.wait(pause)

    def rest(self, seconds: float) -> None:
        with self.lock:
            self.next_turn = max(self.next_turn, time.monotonic() + seconds)


class Web:
    """A client for one kind of servers. Safe to use from many threads."""

    def __init__(self, limits: Limits | None = None, *, may_answer: Callable[[str], bool] = lambda _: True) -> None:
        """With its limits; `may_answer` says of an IP address that answers whether it is listened to."""
        import httpx

        self._may_answer = may_answer
        self.limits = limits or Limits()
        self._client = httpx.Client(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=self.limits.at_once),
            follow_redirects=False,
        )
        self._hosts: defaultdict[str, _Host] = defaultdict(
            lambda: _Host(threading.BoundedSemaphore(self.limits.at_once))
        )
        self._lock = threading.Lock()
        self._closed = threading.Event()
        _keep_secrets_out_of_logs()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The content at an address. Raises `WebError` for whatever else than 200 the server says in the end."""
        answer = self.request("GET", url, headers)
        if answer.status != 200:
            words = _without_secrets(answer.words, headers or {}, url)[:SHOWN]
            raise WebError(f"{redact(url)}: the server answers {answer.status} ({words})")
        return answer.content

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | str | None = None
    ) -> Answer:
        """What the server says in the end. A request that has effects may have them twice.

        Raises:
            WebError: no answer came, or none that is final; it is too long, or leads to another host.
        """
        limits = self.limits
        headers = {name: value for name, value in (headers or {}).items() if name.lower() != "accept-encoding"}
        headers["Accept-Encoding"] = "identity"
        with self._lock:
            host = self._hosts[urlsplit(url).netloc]
        tried, answer, deadline = 0, None, time.monotonic() + limits.total_seconds

        def may_be_better(error: Exception) -> bool:
            in_time = max(host.next_turn, time.monotonic()) < deadline
            return isinstance(error, _AgainError) and in_time and not self._closed.is_set()

        try:
            for attempt in tries(limits, may_be_better):
                with attempt:
                    tried = attempt.num
                    with host.places:
                        answer = self._attempt(host, method, url, headers, content, deadline)
        except (_AgainError, _LateError, _NeverError, RedirectError) as error:
            reason = _without_secrets(" ".join(str(error).split()), headers, url)[:SHOWN]
            attempts = f"{tried} attempts, the last: " if tried > 1 else ""
            failure = WebError(f"{redact(url)}: {attempts}{reason}")
            failure.final = not isinstance(error, _AgainError | _LateError)
            raise failure from None
        assert answer is not None
        return answer

    def _attempt(
        self,
        host: _Host,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | str | None,
        deadline: float,
    ) -> Answer:
        """One attempt, redirects on the same host included.

        Raises `_AgainError`, `_LateError`, `_NeverError`, `RedirectError`.
        """
        import httpx

        for _ in range(MOST_REDIRECTS + 1):
            host.wait_for_turn(self.limits.per_second, self._closed, deadline)
            if self._closed.is_set():
                raise _AgainError("it was given up")
            seconds = max(min(self.limits.silent_seconds, deadline - time.monotonic()), 0.001)
            timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS), pool=None)
            try:
                with self._client.stream(
                    method, url, headers=dict(headers), content=content, timeout=timeout
                ) as response:
                    peer = response.extensions["network_stream"].get_extra_info("server_addr")
                    if peer and not self._may_answer(str(peer[0])):
                        raise _NeverError(f"{peer[0]} answers, which is no address for that")
                    if response.status_code not in REDIRECTS:
                        return self._judged(host, self._read(response, deadline))
                    url = redirected(url, response.headers.get("location", ""))
            except httpx.TimeoutException as error:
                raise _AgainError(f"no answer within {seconds:.3g} s") from error
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise _NeverError(f"this is no address of the web ({error})") from error
            except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:  # RuntimeError: closed meanwhile
                raise _AgainError(f"{type(error).__name__}: {error}") from error
        raise _NeverError(f"more than {MOST_REDIRECTS} redirects")

    def _read(self, response: httpx.Response, deadline: float) -> Answer:
        """All bytes of an answer, no more than may be. That none are missing is h11's care, which counts them.

        They are taken as they come: a few of a compressed answer may stand for any number.
        """
        most, began = self.limits.most_bytes, time.monotonic()
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise _NeverError(f"the answer is compressed ({coding[:20]}), which nobody asked for")
        announced = response.headers.get("content-length", "")
        content = bytearray()
        if not announced.isdigit() or int(announced) <= most:
            for piece in response.iter_raw():
                content += piece
                if len(content) > most:
                    break
                patience = self.limits.silent_seconds + len(content) / self.limits.least_bytes_per_second
                patience = min(patience, deadline - began)
                if time.monotonic() - began > patience:
                    raise _AgainError(f"only {len(content)} bytes came within {max(patience, 0.0):.0f} s")
            else:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, headers, bytes(content))
        raise _NeverError(f"the answer is longer than {most} bytes, which is not read")

    def _judged(self, host: _Host, answer: Answer) -> Answer:
        """The answer, where it is final. Raises `_AgainError`."""
        spoken = answer.content[:4096].decode(errors="replace").lower() if answer.status >= 400 else ""
        if answer.status in TRANSIENT or any(words in spoken for words in QUOTA_WORDS):
            host.rest(retry_after(answer.headers.get("retry-after", "")))
            raise _AgainError(f"the server answers {answer.status} ({answer.words})")
        return answer

    def close(self) -> None:
        """Ask for nothing more; requests under way have their last attempt."""
        self._closed.set()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tries(limits: Limits, may_be_better: Callable[[Exception], bool]) -> Iterator[Any]:
    """Attempts at something, each a context in which it is done, with growing pauses after errors that may pass."""
    import stamina

    return iter(
        stamina.retry_context(
            may_be_better,
            attempts=limits.attempts,
            timeout=None,
            wait_initial=limits.first_pause,
            wait_max=limits.longest_pause,
            wait_jitter=limits.first_pause,
        )
    )


def _without_secrets(text: str, headers: Mapping[str, str], url: str) -> str:
    """A server's or library's words, without what was sent to it in confidence."""
    secrets = [value for name, value in headers.items() if name.lower() in SECRET_HEADERS]
    secrets += [value.split()[-1] for value in secrets if value.split()]
    secrets += [urlsplit(url).query, *(part.partition("=")[2] for part in urlsplit(url).query.split("&"))]
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "…")
    return redact(text)


class _Redacting(logging.Filter):
    """httpx tells every address at the level INFO, with its query."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_REDACTING = _Redacting()


def _keep_secrets_out_of_logs() -> None:
    logging.getLogger("httpx").addFilter(_REDACTING)
    logging.getLogger("stamina").addHandler(logging.NullHandler())  # else each pause is a line on stderr
