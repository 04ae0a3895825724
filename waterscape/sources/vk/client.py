"""Questions to VK's API: one method, few in a second, patient where patience helps, plain where it does not."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode, urlsplit

from waterscape.errors import UserError
from waterscape.sources.vk.answers import AnswerError, Page, RefusalError, page_of
from waterscape.sources.web import Limits, Web, WebError, tries

if TYPE_CHECKING:
    from waterscape.sources.vk.cover import Circle
    from waterscape.sources.vk.turns import Turns

ENDPOINT, VERSION = "https://api.vk.com", "5.199"
URL_VARIABLE, TOKEN_VARIABLE = "VK_URL", "VK_TOKEN"
MOST_PER_SECOND = 3.0
RADII = (10, 100, 800, 6000, 50_000)
"""Metres; `photos.search` knows no others."""
PAGE = 1000
"""Photos in an answer, at most."""
REACH = 3000
"""Photos that paging leads to, as others have found (no page of VK's says so). An earlier end is noticed as well."""
PATIENCE = Limits(at_once=3, per_second=10, attempts=8, first_pause=1.0, longest_pause=120.0, most_bytes=32 << 20)
SHOWN = 200  # characters of VK's words

# Codes of errors.json in VK's schema.
SLOWER = {6: "too many requests a second", 9: "flood control", 32: "wait"}
AGAIN = {1: "unknown error", 10: "internal error", 36: "timeout", 43: "out of order for now"} | SLOWER
ADVICE = {
    5: f"set {TOKEN_VARIABLE} to a token that is valid now",
    27: f"set {TOKEN_VARIABLE} to a user's or a service token",
    28: f"set {TOKEN_VARIABLE} to a user's or a service token",
    14: "VK wants to see a person: open vk.com with this account, then run the same command again",
    17: "VK wants to check the account: open vk.com with it, then run the same command again",
    18: "this account is deleted or banned: use another one's token",
    29: "the account's quota of this method is spent: run the same command again tomorrow, it goes on where it stopped",
    37: "this account is banned: use another one's token",
}
OF_THE_PLACE = (15, 19, 30, 104)  # access denied, blocked, private, not found: another place may be answered
OTHERWISE = "see https://dev.vk.com/reference/errors; what was fetched stays, the same command goes on"


class VKError(UserError):
    """VK answers no more questions for now; the message says why and what to do, and shows no token."""


class PlaceError(UserError):
    """A question that VK does not answer, though it may answer others."""


class VK:
    """VK's API with somebody's token. Safe to use from many threads."""

    def __init__(self, turns: Turns, patience: Limits = PATIENCE) -> None:
        """Make ready with the token of `VK_TOKEN`. Raises `UserError` without one; nothing is asked yet."""
        self.url = endpoint()
        self._token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not self._token:
            raise UserError(
                f"VK answers only who has a token: set {TOKEN_VARIABLE} (https://dev.vk.com, your app's key)"
            )
        if not self._token.isascii() or not self._token.isprintable() or " " in self._token:
            raise UserError(f"{TOKEN_VARIABLE} is no token: it holds letters that none has")
        self.turns = turns
        self.waiting = ""
        """For what, while VK asks for patience."""
        self._patience = patience
        self._web = Web(patience)

    def search(self, circle: Circle, start: int, end: int, offset: int) -> Page:
        """Photos within a circle, put there from one second to another, both included, from the `offset`-th on.

        Raises:
            PlaceError: VK does not answer this question, or not in a way that makes sense.
            VKError: nor any other one, for now.
        """
        patience = self._patience
        body = urlencode(
            {
                "lat": f"{circle.latitude:.6f}",
                "long": f"{circle.longitude:.6f}",
                "radius": circle.radius,
                "start_time": start,
                "end_time": end,
                "sort": 0,
                "count": PAGE,
                "offset": offset,
                "v": VERSION,
                "access_token": self._token,
            }
        )
        try:
            for attempt in tries(patience, self._may_be_better):
                with attempt:
                    return self._ask(body)
        except RefusalError as error:
            words = f"VK answers with error {error.code} ({self._without_token(error.words)})"
            if error.code in OF_THE_PLACE:
                raise PlaceError(words) from None
            patient = f", {patience.attempts} times: run the same command again later" if error.code in AGAIN else ""
            raise VKError(words + (patient or f": {ADVICE.get(error.code, OTHERWISE)}")) from None
        except AnswerError as error:
            raise PlaceError(f"{error}, {patience.attempts} times") from None
        raise AssertionError("an attempt returns or raises")

    def _ask(self, body: str) -> Page:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            with self.turns.one():
                answer = self._web.request("POST", f"{self.url}/method/photos.search", headers, body)
        except WebError as error:
            raise VKError(f"{self._without_token(str(error))}; run the same command again later") from None
        if answer.status != 200:
            words = self._without_token(answer.words)
            raise VKError(f"VK answers {answer.status} ({words}); run the same command again later")
        page = page_of(answer.content)
        self.waiting = ""
        return page

    def _may_be_better(self, error: Exception) -> bool:
        if isinstance(error, RefusalError) and error.code in SLOWER:
            self.waiting = f"error {error.code}, {SLOWER[error.code]}"
            self.turns.quiet(self._patience.first_pause)
        return isinstance(error, AnswerError) or (isinstance(error, RefusalError) and error.code in AGAIN)

    def _without_token(self, words: str) -> str:
        """Somebody's words without the token, or its beginning where they are cut there."""
        return re.sub(re.escape(self._token[:6]) + r"\S*", "…", words)[:SHOWN]

    def close(self) -> None:
        """Ask for nothing more."""
        self._web.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def endpoint() -> str:
    """VK's address; `VK_URL` names another one. Raises `UserError` for one that a token may not be sent to."""
    url = os.environ.get(URL_VARIABLE, ENDPOINT).rstrip("/")
    address = urlsplit(url)
    if address.scheme != "https" and not is_loopback(address.hostname or ""):
        raise UserError(f"{URL_VARIABLE} must be https://HOST, or an address of this machine: a token is sent there")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
