from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from waterscape.errors import UserError
from waterscape.options import comma_separated, parse


@dataclass(frozen=True)
class Inner:
    """Options of a part."""

    rate: float = 0.1


@dataclass(frozen=True)
class Options:
    """Options of a program."""

    place: Annotated[Path, tyro.conf.Positional]
    inner: Inner = Inner()
    samples: int = 3
    sizes: Annotated[tuple[int, ...], comma_separated(int, "N,N")] = (256,)


def test_fields_are_the_options_and_those_of_a_part_have_no_prefix():
    assert parse(Options, ["here", "--rate", "0.5", "--sizes", "64,32"], "program") == Options(
        Path("here"), Inner(0.5), sizes=(64, 32)
    )


def test_an_unknown_option_is_told_with_its_neighbour_and_all_there_are():
    with pytest.raises(UserError) as caught:
        parse(Options, ["here", "--sample", "5"], "program")
    assert str(caught.value) == (
        "program has no option --sample (did you mean --samples?); it has --rate, --samples, --sizes"
    )


def test_what_is_given_by_its_place_is_not_offered_as_an_option():
    with pytest.raises(UserError, match=r"no option --place .*; it has --rate, --samples, --sizes"):
        parse(Options, ["here", "--place=there"], "program")
