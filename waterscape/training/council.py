"""What the processes decide together at the end of a step: whether all of them go on."""

from __future__ import annotations

import time

from waterscape.errors import UserError
from waterscape.training.pulse import pulse
from waterscape.training.records import Records
from waterscape.training.signals import Request

SECONDS = 0.5
"""Between two meetings, about: steps may become ten times slower at once and a signal is still heeded within 5 s."""


class Council:
    """Meets every so many steps, as many as take `SECONDS` by the first process's clock."""

    def __init__(self, records: Records, request: Request) -> None:
        self.records, self.request, self.processes = records, request, records.processes
        self.every, self.steps, self.began = 1, 0, time.monotonic()

    def meet(self) -> str:
        """Why all processes leave after this step; empty: they go on.

        Raises `UserError`, on all of them, where one could not save, or where too many steps in a row were skipped.
        """
        self.steps += 1
        asked = self.request.reason
        if self.steps < self.every and not (asked and self.processes.world == 1):
            return ""
        pulse.doing("deciding together whether to go on")
        problem = self.records.problem()
        seconds = time.monotonic() - self.began if self.processes.first else 0.0
        asking, failing, seconds = self.processes.tally([float(bool(asked)), float(bool(problem)), seconds])
        self.every = max(1, min(2 * self.every, int(self.steps * SECONDS / max(seconds, 1e-6))))
        self.steps, self.began = 0, time.monotonic()
        if failing:
            raise UserError(problem or "another process could not save")
        self.records.check_steps()
        if not asking:
            return ""
        reasons: list[str] = self.processes.gather(asked)
        return next(filter(None, reasons))
