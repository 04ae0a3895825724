"""A metric card: what an evaluation found, and everything that its figures depend on, in one JSON file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from waterscape.durable import write_text
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Figure:
    """One figure of a card. What is not known is None."""

    name: str
    value: float
    low: float | None = None
    """Of the 95 % interval."""
    high: float | None = None
    floor: float | None = None
    """The same figure of true samples in place of made ones: nothing can be better, but by chance."""
    ceiling: float | None = None
    """The same figure of noise, or of the simplest way: nothing should be worse."""
    better: Better = ""


@dataclass(frozen=True)
class Card:
    """The figures of one checkpoint on one set, under stated conditions."""

    run: Mapping[str, Any]
    """Name, model, preset, images, checkpoint and its sha256."""
    data: Mapping[str, Any]
    """Name, split and manifest's sha256 of the set, samples read, whether they are synthetic."""
    conditions: Mapping[str, Any]
    """Features and their sha256, pictures made and compared, their size, dtype, seed."""
    figures: tuple[Figure, ...]
    software: Mapping[str, str] = field(default_factory=dict)

    def differences(self, other: Card) -> list[str]:
        """In what the two were not taken alike, so that their figures do not compare: a phrase each; none: they do."""
        pairs = [
            *((f"set's {name}", self.data, other.data, name) for name in ("manifest_sha256", "split", "samples")),
            *((name, self.conditions, other.conditions, name) for name in {**self.conditions, **other.conditions}),
        ]
        return [
            f"{told}: {_short(mine.get(name))} and {_short(its.get(name))}"
            for told, mine, its, name in pairs
            if mine.get(name) != its.get(name)
        ]

    def figure(self, name: str) -> Figure | None:
        """By name, or None."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def body(self) -> dict[str, Any]:
        """It as plain JSON, which `of_body` reads."""
        figures = [{n: v for n, v in asdict(figure).items() if v is not None} for figure in self.figures]
        return {"format": FORMAT, **asdict(self), "figures": figures}

    @classmethod
    def of_body(cls, body: Mapping[str, Any]) -> Card:
        """Of plain JSON.

        Raises `UserError` for one of a newer version; `ValueError`, `KeyError`, `TypeError` or `AttributeError` for
        what is none.
        """
        if body["format"] != FORMAT:
            raise UserError("a card of a newer version: update waterscape")
        rest = {name: value for name, value in body.items() if name != "format"}
        return cls(**{**rest, "figures": tuple(Figure(**figure) for figure in body["figures"])})

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text(path, json.dumps(self.body(), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Card:
        """Read one. Raises `UserError` where it is none, or one of a newer version."""
        try:
            return cls.of_body(json.loads(path.read_text()))
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): `waterscape evaluate` writes cards") from error
        except UserError as error:
            raise UserError(f"{path} is {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no metric card: `waterscape evaluate` writes them") from error


def table(cards: Mapping[str, Card]) -> str:
    """The figures of cards side by side, by the cards' names: value and interval, floor and ceiling of the first."""
    names = list(dict.fromkeys(figure.name for card in cards.values() for figure in card.figures))
    widest = max((len(name) for name in names), default=0)
    lines = [f"{'':{widest}}  " + "  ".join(f"{name:>26}" for name in cards) + f"  {'floor':>10}  {'ceiling':>10}"]
    for name in names:
        found = [card.figure(name) for card in cards.values()]
        first = next(figure for figure in found if figure)
        limits = "  ".join(f"{_number(limit):>10}" for limit in (first.floor, first.ceiling))
        lines.append(f"{name:{widest}}  " + "  ".join(f"{_told(figure):>26}" for figure in found) + f"  {limits}")
    return "\n".join(line.rstrip() for line in lines)


def _told(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return _number(figure.value)
    return f"{_number(figure.value)} [{_number(figure.low)}, {_number(figure.high)}]"


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
