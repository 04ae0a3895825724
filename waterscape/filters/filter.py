"""What a filter is: it looks at a photo and says keep or reject, with a score and a reason."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterscape.filters.seen import Seen

ORDER = ("coordinates", "season", "daytime", "exposure", "blur", "scenes", "faces", "persons")
"""The filters' names as the ledger has them, in the order in which they are asked: what is cheap comes first."""


@dataclass(frozen=True)
class Opinion:
    """What a filter thinks of a photo."""

    keep: bool
    score: float | None = None
    """What was measured, in the filter's own unit."""
    reason: str = ""
    """Of a rejection: one of few, so that photos can be counted by it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else was seen, as JSON."""


class Filter(ABC):
    """A filter: a frozen dataclass whose fields are its settings. It is pickled to the processes that look.

    What its files hold is a cached property: read once, and pickled along, so that all judge by what was hashed.
    """

    name: ClassVar[str]

    def check(self) -> None:  # noqa: B027 most want nothing
        """Raise `UserError` where it cannot work: a package, a file is missing. Quick: nothing is loaded."""

    def settings(self) -> dict[str, Any]:
        """All that its opinions depend on, as JSON: of files their hash."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return values | self.hashes

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Setting → the hash of its file, as it was at first."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {name: sha256_of(value) for name, value in values.items() if isinstance(value, Path)}

    @abstractmethod
    def judge(self, seen: Seen) -> Opinion:
        """Look at a photo. Raises `PhotoError` where its picture cannot be used."""

    @property
    def digest(self) -> str:
        """By which opinions of the same filter with the same settings are known again."""
        told = json.dumps([self.name, type(self).__name__, self.settings()], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """A file's hash. Raises `UserError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file that is there") from error


def check_unchanged(path: Path, sha256: str) -> None:
    """Raise `UserError` where a file, read just now, is no longer the one that was hashed."""
    if sha256_of(path) != sha256:
        raise changed(path)


def changed(path: Path) -> UserError:
    """What to tell of a file that is no longer the one that was hashed."""
    return UserError(f"{path} was changed while photos were judged by it: run the same command again")
