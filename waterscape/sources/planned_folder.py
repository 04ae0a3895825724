"""A folder that an export fills over many starts: its `plan.json` says what belongs into it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PLAN = "plan.json"


def check_plan(folder: Path, wanted: Mapping[str, Any], *, before: Collection[str] = ()) -> dict[str, Any]:
    """The plan that stands in a folder, {} where none does.

    Args:
        folder: it may be absent.
        wanted: what the plan must say; it may say more.
        before: names of files that may stand there before a plan does.

    Raises `UserError` where the folder is for something else, or is not ours.
    """
    file = folder / PLAN
    if not file.exists():
        if folder.exists() and (not folder.is_dir() or _holds_others(folder, before)):
            raise UserError(f"{folder} stands already and is no export: give --out another folder")
        return {}
    try:
        stands = dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged: give --out another folder") from error
    plain = json.loads(json.dumps(wanted))
    other = [name.replace("_sha256", "") for name in plain if stands.get(name) != plain[name]]
    if other:
        raise UserError(f"{folder} is for another export ({', '.join(other)} differ): give --out another folder")
    return stands


def sweep(folder: Path) -> None:
    """Remove what programs that run no more left half written, in the folder and right below it."""
    for left in (*folder.glob(".partial-*"), *folder.glob("*/.partial-*")):
        if not _runs(left.name.split("-")[1]):
            left.unlink(missing_ok=True)


def _holds_others(folder: Path, before: Collection[str]) -> bool:
    """Whether there is more than what may be, and what `replacing` leaves where it is killed at the first file."""
    return any(path.name not in before and not path.name.startswith(".partial-") for path in folder.iterdir())


def _runs(number: str) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
