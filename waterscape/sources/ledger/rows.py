"""The rows of a ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["keep", "reject"]
HAND = "hand"
"""Who decides in `Decision.by` where a person does: above all filters."""


@dataclass(frozen=True)
class Photo:
    """A photo that a source told of, whether fetched or not."""

    key: str
    """A name that tells nothing of the owner, such as `vk-0f3a…`: see `Ledger.key_of`. Files are called by it."""
    source: str
    """Of what: `vk`."""
    owner: str
    """Whose it is, as the source counts people. Never shown."""
    number: str
    """Which of the owner's photos."""
    latitude: float | None = None
    """Degrees."""
    longitude: float | None = None
    taken: float | None = None
    """Seconds since 1970, UTC: when it was taken, or else put there (`facts` may say which)."""
    url: str = ""
    """Where its largest size lies. Without a token."""
    width: int | None = None
    """Pixels, as the source states them until the file is there."""
    height: int | None = None
    licence: str = ""
    state: Literal["found", "fetched", "failed"] = "found"
    """found: to be fetched. failed: it cannot be had, `reason` says why."""
    reason: str = ""
    file: str = ""
    """Relative to the ledger's folder: see `Ledger.path_of`."""
    sha256: str = ""
    """Of the file."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the manifest may state."""


@dataclass(frozen=True)
class Decision:
    """What somebody, or a filter, thinks of a photo."""

    photo: str
    """Key."""
    by: str
    """A filter's name, or `HAND`. One of each stands; the ones before it are in the history."""
    verdict: Verdict
    score: float | None = None
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """Such as the threshold, or the classes seen."""
    at: float = 0.0
    """Seconds since 1970; set by the ledger."""


@dataclass(frozen=True)
class Tile:
    """The satellite tile of a photo's place."""

    photo: str
    """Key."""
    source: str
    """`yandex`, `earthengine:sentinel-2`, `mosaic:NAME`."""
    state: Literal["fetched", "failed"] = "fetched"
    reason: str = ""
    file: str = ""
    """Relative to the ledger's folder."""
    sha256: str = ""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    metres_per_pixel: float | None = None
    licence: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """Such as CRS, zoom, date; the address asked for, without secrets."""


@dataclass(frozen=True)
class Request:
    """A question to a source that was answered in full, so that it is not asked again."""

    key: str
    """Whatever tells it from all others of the ledger."""
    cell: str
    """The part of the area that it belongs to."""
    counted: int = 0
    """As many photos there are, says the source."""
    got: int = 0
    """As many were in the answer."""
    facts: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0
    """Seconds since 1970; set by the ledger."""
