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

    Without an accelerator, `accelerate launch` starts one process whatever it is told, but for the words used here.
    An option that this version does not know, or that holds the default, is left out.
    """
    last = facts["history"][-1] if facts.get("history") else {}
    processes = last.get("processes") or 1
    words = ["train", f"{facts['model']}:{facts['preset']}", *_options(facts, processes)]
    if processes == 1:
        return shlex.join(["waterscape", *words])
    launch = ["accelerate", "launch"]
    if not last.get("accelerator"):
        launch = ["ACCELERATE_USE_CPU=true", *launch, "--multi_gpu"]
    return shlex.join([*launch, "--num_processes", str(processes), "-m", "waterscape", *words])


def _options(facts: Mapping[str, Any], processes: int) -> Iterator[str]:
    usual = {option.name: option.default for option in dataclasses.fields(Run)}
    preset: dict[str, Any] = {}
    try:
        preset = dataclasses.asdict(models.presets(facts["model"])[facts["preset"]])  # type: ignore[call-overload]
        usual["batch"] = models.usual_batch(facts["model"], facts["preset"])
    except (UserError, KeyError):  # of another version: every option is told
        preset = {}
    given = {name: value for name, value in facts["run"].items() if name in usual}
    if processes > 1:
        given["processes"] = processes  # so that a start of fewer is refused
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
