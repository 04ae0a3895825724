"""One file from afar, whole and verified: taken up where it broke off, tried again within bounds, never believed."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from waterscape.data.address import is_http, redact
from waterscape.data.transfer import AgainError, Body, HaltedError, NeverError, Wanted, WrongSumError, transfer
from waterscape.errors import UserError

MOST_IDLE_ATTEMPTS = 8  # in a row that bring nothing new
MOST_WRONG_SUMS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; doubled each time, and drawn between half and whole
TOLD_FROM = 3  # attempts in vain


class FetchError(UserError):
    """A file that cannot be had; the message names its address without secrets, the attempts and the last reason."""


class MissingError(FetchError):
    """There is no such file."""


def fetch(
    wanted: Wanted,
    file: BinaryIO | None,
    halt: threading.Event,
    *,
    advance: Callable[[int], None] = lambda _: None,
    idle_attempts: int = MOST_IDLE_ATTEMPTS,
) -> None:
    """Fetch a file into `file`, whatever the other side does.

    What `file` holds already is taken for the file's beginning; where the sum then denies it, all is fetched again.

    Args:
        wanted: which file, and what it must be.
        file: where to, unbuffered; None: it is only summed.
        halt: ends the attempt soon after it is set.
        advance: told the bytes that came, or were there; a negative number where some came in vain.
        idle_attempts: how many in a row may bring nothing new.

    Raises:
        FetchError: it cannot be had. `MissingError`: there is none.
        UserError: the disk refuses it, or a library is missing.
        HaltedError: `halt` was set.
    """
    attempt = transfer
    if is_http(wanted.url):
        from waterscape.data.http import transfer_http  # its library takes a third of a second, and few sets are remote

        attempt = transfer_http
    body = Body(wanted, file, advance)
    attempts = idle = wrong_sums = 0
    while True:
        before = body.furthest
        attempts += 1
        try:
            if wanted.size is None or body.done < wanted.size:
                attempt(wanted.url, body, halt)
            if halt.is_set():
                raise HaltedError
            body.finish()
        except NeverError as error:
            kind = MissingError if error.missing else FetchError
            raise kind(f"{redact(wanted.url)}: {_reason(error, wanted.url)}") from None
        except AgainError as error:
            idle = 1 if body.furthest > before else idle + 1
            wrong_sums += isinstance(error, WrongSumError)
            reason = _reason(error, wanted.url)
            if idle >= idle_attempts or wrong_sums >= MOST_WRONG_SUMS:
                raise FetchError(
                    f"{redact(wanted.url)} cannot be fetched, {attempts} attempts, the last: {reason}; see that the "
                    "set is whole there and can be reached, then run the same command again"
                ) from None
            if idle >= TOLD_FROM:
                print(f"{redact(wanted.url)}: attempt {attempts} failed ({reason}); trying again", file=sys.stderr)
            longest = min(FIRST_PAUSE * 2 ** (idle - 1), LONGEST_PAUSE)
            halt.wait(max(error.pause, longest * random.uniform(0.5, 1)))  # noqa: S311 (spreads clients, no secret)
        else:
            return


def _reason(error: Exception, url: str) -> str:
    """An attempt's reason on one line, without secrets."""
    query = url.partition("?")[2]
    text = " ".join(str(error).split())
    return redact(text.replace(query, "…") if query else text)[:300]
