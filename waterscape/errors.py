"""How a mistake of the user's is told: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(ValueError):
    """Something the user can mend; the message is one line that says how."""


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line to its end and leave with its exit code.

    A `ValueError` or `OSError` becomes one line on stderr and exit code 1; an interrupt becomes 130. Anything else is
    a fault of ours and keeps its traceback.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        code = 0
    except (ValueError, OSError) as error:
        rank = os.environ.get("RANK", "0")
        who = "error" if rank == "0" else f"error in process {rank}"
        print(f"{who}: {' '.join(str(error).split())}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
