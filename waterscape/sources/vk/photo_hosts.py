"""Where photos may be fetched from: the hosts of VK's own, at public addresses.

The address of a photo comes from an answer, so it is believed no further: a link to a machine of our own network, or to
anybody's server, is not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from waterscape.sources.vk.client import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

IP = ipaddress.IPv4Address | ipaddress.IPv6Address
USUAL_HOSTS = ("userapi.com", "vk.com", "vk.ru", "vk.me", "vkuserphoto.ru", "vkuser.net", "vk-cdn.net")
"""And all hosts below them."""


class HostError(ValueError):
    """An address that is not asked for; the message says why, and shows no more of it than the host."""


class UnknownHostError(Exception):
    """A host whose address nobody knows just now."""


class PhotoHosts:
    """Hosts, by their names, that photos come from."""

    def __init__(self, hosts: Sequence[str], endpoint: str) -> None:
        """Of these hosts; the endpoint's own is one of them where that is an address of this machine."""
        self.hosts = tuple(host.lower().strip(".") for host in hosts)
        address = urlsplit(endpoint)
        self._own = address.netloc if is_loopback(address.hostname or "") else None

    def check(self, url: str) -> None:
        """Raise `HostError` for an address that is not asked for, `UnknownHostError` where nobody knows its host."""
        try:
            address = urlsplit(url)
            host, port = (address.hostname or "").rstrip("."), address.port
        except ValueError as error:
            raise HostError("its address is none") from error
        if self._own is not None and (address.scheme, address.netloc) == ("http", self._own):
            return
        if address.scheme != "https" or address.username is not None or port not in (None, 443):
            raise HostError(f"its address is no plain https one ({address.scheme[:10]}://{host[:100]})")
        if not any(host == known or host.endswith(f".{known}") for known in self.hosts):
            raise HostError(f"it lies at {host[:100]}, which is no host of VK's photos (--photo-hosts adds some)")
        for known in _addresses(host):
            if not _is_public(known):
                raise HostError(f"{host[:100]} leads to {known}, which is no public address")

    def may_answer(self, address: str) -> bool:
        """Whether a photo may come from an IP address: a name may lead elsewhere when it is looked up again."""
        known = _plain(address)
        return _is_public(known) or (self._own is not None and known.is_loopback) or _by_proxy()


def _by_proxy() -> bool:
    """Whether a proxy answers in the hosts' place; NO_PROXY alone is none."""
    return not getproxies().keys().isdisjoint({"http", "https", "all"})


def _addresses(host: str) -> list[IP]:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(f"{host[:100]} has no known address") from error
    return [_plain(address) for address in sorted(found)]


def _plain(address: str) -> IP:
    """An address, without its zone; one of IPv4 that is written as one of IPv6, as itself."""
    known = ipaddress.ip_address(address.partition("%")[0])
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return mapped or known


def _is_public(address: IP) -> bool:
    return address.is_global and not address.is_multicast
