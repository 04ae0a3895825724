"""What may go wrong between a client and the service, on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Barrier
from typing import Literal

REASONS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
REASONS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE"}


class ServiceError(Exception):
    """An answer that is an error, as the service words it in JSON."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def body(self) -> dict:
        """The JSON of the answer."""
        error = {"code": self.status, "message": self.message, "status": REASONS.get(self.status, "UNKNOWN")}
        return {"error": error}


@dataclass
class Fault:
    """Befalls requests whose path contains `path`: `times` of them, after `after` that go well.

    `answer`: an `error` of `status` and `message`, a `slow` right answer after `seconds`, `cut` short in the middle,
    `lost` after the service did what was asked (the connection ends), `nonsense` in place of JSON or pixels, or an
    operation that `fails` later with the message. Before any, they wait for one another at a `gate`.
    """

    path: str
    answer: Literal["error", "slow", "cut", "lost", "nonsense", "fails"] = "error"
    status: int = 500
    message: str = "An internal error has occurred"
    times: int = 1
    after: int = 0
    seconds: float = 0.0
    gate: Barrier | None = None
    met: int = field(default=0, compare=False)

    def befalls(self, path: str) -> bool:
        """Whether this request is one of them; counts it."""
        if self.path not in path:
            return False
        self.met += 1
        return self.after < self.met <= self.after + self.times
