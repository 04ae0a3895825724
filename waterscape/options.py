"""A command line as a typed dataclass: its fields are the options."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from waterscape.errors import UserError

Options = TypeVar("Options")
Part = TypeVar("Part", int, float, str)


def parse(kind: type[Options], arguments: Sequence[str], program: str) -> Options:
    """The options that `arguments` give; fields that are dataclasses themselves contribute theirs without a prefix.

    Raises `UserError` for a word that is no option, with the one it resembles and all there are. A value of the wrong
    type, or a required one left out, is told by tyro, which ends the program with exit code 2.
    """
    parsed, unknown = parse_some(kind, arguments, program)
    if unknown:
        known = ["--" + name.replace("_", "-") for name in _names(kind)]
        word = unknown[0].split("=")[0]
        near = difflib.get_close_matches(word.replace("_", "-"), known, 1, 0.5)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{program} has no option {word}{meant}; it has {', '.join(known)}")
    return parsed


def parse_some(kind: type[Options], arguments: Sequence[str], program: str) -> tuple[Options, list[str]]:
    """As `parse`; words that are none of these options are given back, in their order, for somebody else to read."""
    parsed, unknown = tyro.cli(
        kind, args=list(arguments), prog=program, config=(tyro.conf.OmitArgPrefixes,), return_unknown_args=True
    )
    return parsed, list(unknown)


def comma_separated(kind: type[Part], metavar: str) -> PrimitiveConstructorSpec[tuple[Part, ...]]:
    """How a command line writes a tuple of numbers or words, 256,64: to be put into `Annotated`."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: tuple(kind(word) for word in words[0].split(",")),
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(part, kind) for part in value),
        str_from_instance=lambda value: [",".join(str(part) for part in value)],
    )


def _names(kind: Any) -> Iterator[str]:
    """The options' names; what is given by its place alone has none."""
    for option in dataclasses.fields(kind):
        if "Positional" in str(option.type):  # an annotation is text where its module postpones them
            continue
        if dataclasses.is_dataclass(option.type):
            yield from _names(option.type)
        elif dataclasses.is_dataclass(option.default) and not isinstance(option.default, type):
            yield from _names(option.default)
        else:
            yield option.name
