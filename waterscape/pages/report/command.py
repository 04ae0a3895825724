"""The command that made a run, from its `run.json`: what it was given, and nothing that is the default."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from waterscape import models
from waterscape.errors import UserError
from waterscape.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def command(facts: Mapping[str, Any]) -> str:
    """`waterscape train …`, through `accelerate launch` where several processes trained; words are quoted as need be.

    An option that this version does not know, or that holds the default, is left out.
    """
    words = ["train", f"{facts['model']}:{facts['preset']}", *_options(facts)]
    processes = facts["history"][-1]["processes"] if facts.get("history") else 1
    start = ["accelerate", "launch", "--num_processes", str(processes), "-m", "waterscape"]
    return shlex.join([*(start if processes > 1 else ["waterscape"]), *words])


def _options(facts: Mapping[str, Any]) -> Iterator[str]:
    usual = {option.name: option.default for option in dataclasses.fields(Run)}
    preset: dict[str, Any] = {}
    try:
        preset = dataclasses.asdict(models.presets(facts["model"])[facts["preset"]])  # type: ignore[call-overload]
    except (UserError, KeyError):  # of another version: every option is told
        preset = {}
    given = {name: value for name, value in facts["run"].items() if name in usual}
    order = ("data", "start", "out", *(name for name in given if name not in ("data", "start", "out")))
    for name in order:
        if name in given and _plain(given[name]) != _plain(usual[name]):
            yield from _words(name, given[name], repeated=name in ("start", "columns"))
    for name, value in facts["recipe"].items():
        if name not in preset or _plain(value) != _plain(preset[name]):
            yield from _words(name, value, repeated=False)


def _words(name: str, value: Any, *, repeated: bool) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if repeated:
        return [word for one in value for word in (f"--{option}", str(one))]
    if isinstance(value, list | tuple):
        return [f"--{option}", *map(str, value)]
    return [f"--{option}", str(value)]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
