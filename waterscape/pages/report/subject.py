"""A run as a report sees it: read once from its own files, whatever state they are in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError
from waterscape.metrics.card import Card
from waterscape.pages.model_card import FILE
from waterscape.training.beats import read_beats
from waterscape.training.checkpoint import every, peek
from waterscape.training.events import read_events
from waterscape.training.outcome import read_outcome
from waterscape.training.run import read_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from waterscape.pages.report.data_set import DataSet
    from waterscape.pages.report.looked_at import LookedAt
    from waterscape.training.checkpoint import Checkpoint


NEEDED = {"event", "images", "time"}
"""What every event tells."""


@dataclass(frozen=True)
class State:
    """How a run stands: `done`, `continue`, `failed`, `runs`, `killed` or `unknown`, and that in words."""

    word: str
    told: str


@dataclass
class Subject:
    """A run. What needs its data or its weights (`data`, `seen`) is there, or the reason why it is not."""

    run: Path
    number: int
    """Place among the runs of the report: its colour."""
    name: str
    facts: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    state: State
    cards: Mapping[str, Card]
    notes: Sequence[str]
    """What could not be read."""
    data: DataSet | str = "not looked at"
    seen: LookedAt | str = "not looked at"

    @property
    def model(self) -> str:
        """MODEL:PRESET."""
        return f"{self.facts['model']}:{self.facts['preset']}"

    @property
    def images(self) -> int:
        """How far it is."""
        return max((event["images"] for event in self.events), default=0)

    @property
    def wanted(self) -> int:
        """How far it was to go."""
        return int(self.facts["run"]["images"])

    @property
    def synthetic(self) -> bool | None:
        """Whether it learnt from synthetic samples; None: not known."""
        if not isinstance(self.data, str):
            return self.data.synthetic
        told = [bool(card.data["synthetic"]) for card in self.cards.values() if card.data.get("trained_on_it")]
        return told[0] if told else None

    @property
    def moments(self) -> list[Path]:
        """Its pictures' rows, oldest first; what is not named by a number of images, such as a copy, is none."""
        return sorted(path for path in (self.run / "pictures").glob("[0-9]*.npz") if path.stem.isdecimal())

    @property
    def model_card(self) -> str | None:
        """The text of its model card, where it has one."""
        path = self.run / FILE
        return path.read_text(errors="replace") if path.is_file() else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest one whose files have their sizes."""
        for path in reversed(every(self.run / "checkpoints")):
            try:
                return peek(path)
            except (OSError, ValueError):
                continue
        return None


def read_subjects(runs: Sequence[Path]) -> list[Subject]:
    """The runs, each once. Raises `UserError` for one that is none, or whose files cannot be understood."""
    different = list({run.resolve(): run for run in runs}.values())
    return [
        _read(run, number, name) for number, (run, name) in enumerate(zip(different, _names(different), strict=True))
    ]


def _read(run: Path, number: int, name: str) -> Subject:
    facts = read_run(run)
    missing = {"model", "preset", "run", "recipe"} - set(facts)
    if missing:
        raise UserError(f"{run}/run.json has no {sorted(missing)[0]}: it was not written by `waterscape train`")
    try:
        events = [event for event in read_events(run) if isinstance(event, dict) and set(event) >= NEEDED]
        state = _state(run, facts)
    except ValueError as error:
        raise UserError(f"{run} cannot be understood ({error}): restore its files, or leave it out") from None
    cards, notes = _cards(run)
    return Subject(run, number, name, facts, events, state, cards, notes)


def _state(run: Path, facts: Mapping[str, Any]) -> State:
    outcome = read_outcome(run)
    if outcome:
        told = {"done": "done", "continue": "stopped, and can go on", "failed": "failed"}[outcome.word]
        return State(outcome.word, f"{told}: {outcome.reason}" if outcome.reason else told)
    states = {beat.process.state() for beat in read_beats(run)}
    if states & {"runs", "stopped"}:
        return State("runs", "goes on just now: what follows is how far it is")
    if states == {"gone"}:
        saved = every(run / "checkpoints")
        told = "the same command goes on from its newest checkpoint" if saved else "it saved nothing, so it begins anew"
        return State("killed", f"was killed: {told}")
    total = facts["run"]["images"]
    return State("unknown", f"has not said how it ended: it goes on elsewhere, or was killed before {total} images")


def _cards(run: Path) -> tuple[dict[str, Card], list[str]]:
    """The run's metric cards, oldest checkpoint first, and what was passed over."""
    cards, notes = {}, []
    for path in sorted((run / "cards").glob("*.json")):
        try:
            card = Card.load(path)
            if not {"images", "sha256"} <= set(card.run) or not {"name", "split", "samples"} <= set(card.data):
                raise UserError(f"{path} is no metric card: `waterscape evaluate` writes them")
            cards[path.stem] = card
        except UserError as error:
            notes.append(str(error))
    return cards, notes


def _names(runs: Sequence[Path]) -> list[str]:
    """The runs' own names, with as many of their folders as tell them apart."""
    parts = [run.resolve().parts for run in runs]
    length = 1
    while len({own[-length:] for own in parts}) < len(parts):
        length += 1
    return ["/".join(own[-length:]) for own in parts]


def spelled(value: Any) -> str:
    """An option or fact in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(spelled, value)) or "–"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
