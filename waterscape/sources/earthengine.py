"""Earth Engine's real client, spoken to with our manners: whose credentials, which endpoint, how much at a time.

The client keeps its state for the whole program. Where it is initialised already, as in a notebook, it stays as it is.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import warnings
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from waterscape.errors import UserError
from waterscape.sources.web import SHOWN, Limits, Web, WebError

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDPOINT = "https://earthengine-highvolume.googleapis.com"
"""For many requests at a time (developers.google.com/earth-engine/guides/processing_environments)."""
MOST_AT_ONCE = 40
MOST_PER_SECOND = 100.0
"""6000 requests a minute, 40 at a time: a project's usual quota (developers.google.com/earth-engine/guides/usage)."""
LIMITS = Limits(at_once=10, per_second=MOST_PER_SECOND, attempts=9, silent_seconds=330, most_bytes=128 << 20)
"""A computation may take five minutes before the first byte comes."""
URL_VARIABLE, KEY_VARIABLE = "EARTHENGINE_URL", "GOOGLE_APPLICATION_CREDENTIALS"
PROJECT_VARIABLE = "GOOGLE_CLOUD_PROJECT"
PROJECT = re.compile(r"(\w[\w.-]*\.\w+:)?[a-z][-a-z0-9]{2,28}[a-z0-9]|\d+")
REGISTER = "https://console.cloud.google.com/earth-engine"
LIST_SECONDS = 10.0
"""Without a byte, before the client does without its list of deprecated assets."""


_ours: list[Web] = []
"""What `connect` opened and `disconnect` has not closed."""


class EarthEngineError(UserError):
    """Something that Earth Engine did not do; the message says what, and what to do."""


class UnreachableError(EarthEngineError):
    """Nothing that answers was reached: whatever else were asked for would fare no better just now."""


class RefusedError(EarthEngineError):
    """Earth Engine knows these credentials not, or this project may not use it: no other request would fare better."""


def connect(project: str | None, *, limits: Limits = LIMITS) -> None:
    """Make Earth Engine's client ready, unless it is.

    Credentials are those of the key file that `GOOGLE_APPLICATION_CREDENTIALS` names (a service account, say), else the
    user's own, as `earthengine authenticate` left them. `EARTHENGINE_URL` names another endpoint; one on this machine
    is spoken to without credentials.

    Args:
        project: Google Cloud project that the work is counted to; None: the one that `GOOGLE_CLOUD_PROJECT` names.
        limits: of requests; ours are below a project's usual quota.

    Raises:
        UserError: no project, or the client was made ready for another one.
        EarthEngineError: it cannot be reached, credentials are missing, expired or refused.
    """
    project = project or os.environ.get(PROJECT_VARIABLE)
    if not project:
        raise UserError(
            f"Earth Engine counts work to a Google Cloud project: give --project NAME or set {PROJECT_VARIABLE} "
            f"(register one at {REGISTER})"
        )
    if not PROJECT.fullmatch(project):
        raise UserError(
            f"--project {project} cannot be a project: give its ID, such as my-project-123, as {REGISTER} has it"
        )
    import ee

    if ee.data.is_initialized():
        given = ee.data._get_state().cloud_api_user_project
        if given != project:
            raise UserError(
                f"Earth Engine's client was initialised for the project {given} and stays so: give --project {given}"
            )
        return
    logging.getLogger("googleapiclient").addHandler(logging.NullHandler())  # it logs what it raises
    url = os.environ.get(URL_VARIABLE, ENDPOINT).rstrip("/")
    credentials = _credentials(url)
    ee.data.setMaxRetries(0)  # `Web` does that, and keeps to Retry-After
    web = Web(limits)
    _ours.append(web)
    try:
        with explained("connecting"), _impatient():
            ee.Initialize(credentials, url=url, project=project, http_transport=Transport(web))
    except EarthEngineError:
        disconnect()
        raise


def disconnect() -> None:
    """Undo what `connect` did, if it did anything; requests under way are not repeated."""
    import ee

    while _ours:
        _ours.pop().close()
        ee.Reset()


@contextmanager
def _impatient() -> Iterator[None]:
    """What the client asks for by itself, past `Web`, may not keep it for ever: a list that it can do without."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LIST_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unable to initialize deprecated assets")
            yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """What Earth Engine's client raises within becomes an `EarthEngineError` of one line.

    It is an `UnreachableError` where no final answer came, a `RefusedError` where access is refused. An answer in which
    the client finds nothing that it expects becomes an error too: no other code belongs within.
    """
    import ee
    import httplib2
    from google.auth.exceptions import GoogleAuthError, TransportError
    from googleapiclient.errors import Error, HttpError

    try:
        yield
    except TransportError as error:
        raise UnreachableError(_offline(doing, error)) from None
    except GoogleAuthError as error:
        raise RefusedError(
            f"{doing}: the credentials are expired or were withdrawn ({_line(error)}): run `earthengine authenticate`, "
            f"or see to the key file in {KEY_VARIABLE}"
        ) from None
    except (ee.EEException, Error) as error:
        cause = error if isinstance(error, HttpError) else error.__context__
        status = int(cause.resp.status) if isinstance(cause, HttpError) else None
        words = f"{doing}: Earth Engine answers{f' {status}' if status else ''}: {_line(error)}"
        if status == 401:
            raise RefusedError(f"{words}: run `earthengine authenticate` again") from None
        if status == 403:
            raise RefusedError(
                f"{words}: see that --project is registered ({REGISTER}) and that you may use it"
            ) from None
        raise EarthEngineError(words) from None
    except WebError as error:
        raise UnreachableError(f"{doing}: {_line(error)}; try again later") from None
    except (OSError, HTTPException, httplib2.HttpLib2Error) as error:  # the user's own client does without `Web`
        raise UnreachableError(f"{doing}: {_line(error)}; try again later") from None
    except (TypeError, KeyError, AttributeError) as error:
        raise EarthEngineError(f"{doing}: Earth Engine answers what makes no sense; try again later") from error


class Transport:
    """`Web` as Earth Engine's client wants it: with the one method of `httplib2.Http` that it calls."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
        **_: Any,
    ) -> tuple[Any, bytes]:
        """The answer's headers, its status among them, and its content. Raises `WebError`."""
        import httplib2

        answer = self._web.request(method, uri, headers, body)
        return httplib2.Response({**answer.headers, "status": str(answer.status)}), answer.content


def _credentials(url: str) -> Any:
    """Whoever asks. Raises `UserError`, `RefusedError`, `UnreachableError`; no message shows what a file holds."""
    import ee
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError, TransportError

    address = urlsplit(url)
    if _is_loopback(address.hostname or ""):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    if address.scheme != "https":
        raise UserError(
            f"{URL_VARIABLE} must be https://HOST, or an address of this machine, since credentials are sent there"
        )
    key = os.environ.get(KEY_VARIABLE)
    try:
        if key:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # meant for files that are not the user's own
                load: Any = google.auth.load_credentials_from_file
                return load(key, scopes=ee.oauth.SCOPES)[0]
        return ee.data.get_persistent_credentials()
    except TransportError as error:
        raise UnreachableError(_offline("connecting", error)) from None
    except ee.EEException:
        raise RefusedError(
            "nobody has signed in to Earth Engine here, or the sign-in has expired: run `earthengine authenticate`, or "
            f"name the key file of a service account in {KEY_VARIABLE}"
        ) from None
    except (GoogleAuthError, ValueError, OSError, TypeError, KeyError, AttributeError):
        raise RefusedError(
            f"{KEY_VARIABLE} names {key}, which is no key file of Google's that can be read"
            if key
            else "the credentials of `earthengine authenticate` on this machine cannot be read or used: run it again"
        ) from None


def _offline(doing: str, error: BaseException) -> str:
    return f"{doing}: Google cannot be reached to check the credentials ({_line(error)}); try again later"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:SHOWN]
