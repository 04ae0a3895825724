"""What every HTTP client of ours keeps to: which answers to ask for again, how long to wait, where to be led."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
TRANSIENT = {408, 425, 429, *range(500, 600)}
LONGEST_RETRY_AFTER = 300.0  # seconds


class RedirectError(ValueError):
    """A redirect that is not followed; the message says where it leads, without secrets."""


def redirected(url: str, location: str) -> str:
    """Where a redirect leads, on the same host only: any other one might be inside our network, or gather tokens.

    Raises `RedirectError`.
    """
    target = urljoin(url, location)
    one = urlsplit(url)
    allowed = [(one.hostname, one.port, one.scheme)]
    if (one.port, one.scheme) == (None, "http"):
        allowed.append((one.hostname, None, "https"))
    try:
        other = urlsplit(target)
        leads = (other.hostname, other.port, other.scheme)
    except ValueError:
        location, leads = "", (None, None, "")
    if not location or leads not in allowed:
        where = f"{leads[2]}://{leads[0] or ''}" if location else "nowhere"
        raise RedirectError(f"it redirects to {where}, which is not followed: give the address there itself")
    return target


def retry_after(value: str) -> float:
    """Seconds to wait, from a header that gives seconds or a date; 0 where it gives neither."""
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
