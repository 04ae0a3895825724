"""`RUN/model-card.md`: what a trained model is, what it learnt from, what it is worth, and where it must not be used.

After Mitchell 2019 (doi:10.1145/3287560.3287596). Written whenever a training ends, and again by every evaluation.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape import models
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.metrics.card import Card, Figure
from waterscape.pages.report.command import command
from waterscape.training.events import read_events
from waterscape.training.keeping import readable
from waterscape.training.outcome import read_outcome
from waterscape.training.run import read_run

if TYPE_CHECKING:
    from waterscape.data.manifest import Manifest

FILE = "model-card.md"
KEPT = ("synthetic", "licence", "licences", "source", "content")  # of a manifest's facts
NOT_STATED = "not stated: ask whoever made the set before you pass the model or its pictures on"

MADE_UP = (
    "**What it makes is made up.** A new picture shows no place, no water and no day that there ever was, however real "
    "it looks. It is no evidence of anything: do not map, measure, report or decide by it, and do not show it without "
    "saying that it is synthetic. Every file that waterscape writes of it says so, with the run and the checkpoint's "
    "hash; leave that in."
)
PREDICTED = (
    "**A predicted landscape is an invention.** From a satellite tile it makes a view that would go with such a tile, "
    "not the view that is there: houses, trees, shores and skies in it are guesses. Do not use it to tell what a place "
    "looks like, who lives there or whether it is safe."
)
ENLARGED = (
    "**Fine detail is invented.** An enlarged picture keeps the amount of water of each coarse pixel, where the model "
    "promises that; where within it the water lies is a guess that looks likely."
)
REMADE = "Pictures that are made again lose what is rare: small bodies of water, thin rivers, odd colours."
JUDGED = (
    "A class or a water mask is an estimate. It is worst where the ground is unlike that of the training set: other "
    "regions, seasons, sensors, scales, clouds, shadows, ice. Look at the figures of each class, not at their mean."
)
EVERY = (
    "Figures hold for the set and the split they were taken on, under the conditions in the card. The set is not the "
    "world: regions, seasons and kinds of water that it lacks are not learnt."
)
SYNTHETIC = (
    "It has learnt from **synthetic** data, which a program drew. It shows that the method works; it says nothing of "
    "real ground or water."
)
HARMLESS = "It makes no pictures. Its estimates can be wrong, and look no less sure then: see the limits."


def write_model_card(run: Path) -> Path:
    """Write a run's card, from its directory alone. Raises `UserError` where there is no run; `OSError`."""
    facts = read_run(run)
    write_text(run / FILE, "\n\n".join(_sections(run, facts)) + "\n")
    return run / FILE


def set_facts(manifest: Manifest) -> dict[str, Any]:
    """What a run keeps of its set, so that its card can be written where the set is not at hand."""
    facts = manifest.facts
    samples: dict[str, int] = {}
    for shard in manifest.shards:
        samples[shard.split] = samples.get(shard.split, 0) + shard.samples
    kept: dict[str, Any] = {name: facts[name] for name in KEPT if name in facts}
    if not isinstance(kept.get("licences", {}), dict):
        del kept["licences"]  # a manifest may say anything; pictures counted by licence are what is read of it
    return {"name": manifest.name, "samples": samples, **kept}


def _sections(run: Path, facts: Mapping[str, Any]) -> Iterator[str]:
    name = run.resolve().name
    data: Mapping[str, Any] = facts.get("set") or {}
    yield f"# Model card: {name}"
    if data.get("synthetic"):
        yield f"> {SYNTHETIC}"
    yield f"## What it is\n\n{_what(facts['model'])}"
    yield _table(("", ""), list(_identity(run, facts)))
    yield f"The command:\n\n    {command(facts)}"
    yield "## What it learnt from"
    yield _table(("", ""), list(_data(facts, data)))
    yield "## What it is worth"
    yield from _figures(run)
    yield "## Limits"
    yield from _limits(facts, data)
    yield f"## Risks\n\n{_risk(facts)}"


def _what(model: str) -> str:
    """The model's own words: the first two paragraphs of its file, which say what it does and where it comes from."""
    text = (importlib.import_module(f"{models.__name__}.{model}").__doc__ or "").strip()
    return "\n\n".join(_escaped(" ".join(part.split())) for part in text.split("\n\n")[:2])


def _identity(run: Path, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "model", f"{facts['model']}:{facts['preset']}"
    outcome, saved = read_outcome(run), readable(run / "checkpoints")
    newest = saved[-1] if saved else None
    yield "images", f"{newest.images if newest else 0:,} of {facts['run']['images']:,}"
    yield "ended", f"{outcome.word}: {outcome.reason}" if outcome else "not yet, or was killed"
    if newest:
        yield "newest checkpoint", f"`{newest.path.name}`, sha256 `{newest.sha256}`"
    for start, what in facts.get("starts", {}).items():
        yield f"started from ({start})", f"{what['model']}:{what['preset']}, sha256 `{what.get('sha256', '')}`"
    options, history = facts["run"], facts["history"]
    yield "batch, seed, precision", f"{options['batch']}, {options['seed']}, {options['precision']}"
    yield "starts", f"{len(history)}; the last on {history[-1]['processes']} process(es)"
    versions = {**history[-1]["versions"], "revision": history[-1].get("revision")}
    yield "software", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    events = read_events(run)
    skipped = sum(event.get("skipped_steps", 0) for event in events)
    if skipped:
        yield "steps skipped", f"{skipped}, whose loss or gradients were not finite"
    for event in events:
        if event["event"] == "rollback" and event["to"] is not None:
            yield "went back", f"at {event['images']:,} images to the weights of {event['to']:,}: {event['reason']}"
    collapses = [event for event in events if event["event"] == "collapse" and event.get("warning")]
    if collapses:
        yield "signs of collapse", f"at {len(collapses)} looks; the last: {collapses[-1]['warning']}"


def _data(facts: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "set", str(data.get("name", facts["run"]["data"]))
    yield "manifest", f"sha256 `{facts['manifest_sha256']}`"
    if data.get("samples"):
        yield "samples", ", ".join(f"{split} {count:,}" for split, count in data["samples"].items())
    yield "kind", "**synthetic**" if data.get("synthetic") else "real" if "synthetic" in data else "not stated"
    if data.get("source"):
        yield "source", str(data["source"])
    licence = data.get("licence")
    yield "licence", str(licence) if licence and licence != "not stated" else NOT_STATED
    licences = data.get("licences")
    for told, count in licences.items() if isinstance(licences, dict) else ():
        yield "of single pictures", f"{told}: {count}"
    for start, what in facts.get("starts", {}).items():
        theirs = what.get("set") or {}
        if theirs and theirs != data:
            told = f"{theirs['name']}, licence: {theirs.get('licence', NOT_STATED)}"
            yield f"of the start ({start})", told + (", synthetic" if theirs.get("synthetic") else "")


def _figures(run: Path) -> Iterator[str]:
    """A table for each metric card, the newest checkpoint's first."""
    found = []
    for path in sorted((run / "cards").glob("*.json")):
        try:
            found.append((path, Card.load(path)))
        except UserError:
            yield f"`{path.name}` is no metric card of this version, and is left out."
    if not found:
        yield "Nothing was measured yet: `waterscape evaluate RUN` does it."
    for path, card in sorted(found, key=lambda one: -int(one[1].run["images"])):
        kind = "synthetic " if card.data["synthetic"] else ""
        trained = "the set it learnt from" if card.data["trained_on_it"] else "another set than it learnt from"
        yield f"### {_escaped(path.stem)}"
        of = f"{card.data['samples']:,} {kind}samples of {card.data['split']} of {_escaped(card.data['name'])}"
        yield f"After {card.run['images']:,} images, checkpoint `{card.run['sha256'][:12]}`, on {of} ({trained})."
        yield _table(
            ("figure", "value", "95 % interval", "floor", "ceiling", "better"),
            [
                (f.name, _number(f.value), _interval(f), _number(f.floor), _number(f.ceiling), f.better)
                for f in card.figures
            ],
        )


def _limits(facts: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    recipe = models.presets(facts["model"]).get(facts["preset"])
    yield EVERY
    if data.get("synthetic"):
        yield SYNTHETIC
    if recipe and (recipe.can("classify") or recipe.can("segment")):
        yield JUDGED
    if recipe and recipe.can("reconstruct"):
        yield REMADE


def _risk(facts: Mapping[str, Any]) -> str:
    recipe = models.presets(facts["model"]).get(facts["preset"])
    told = {"generate": MADE_UP, "decode": PREDICTED, "enlarge": ENLARGED}
    found = [text for what, text in told.items() if recipe is None or recipe.can(what)]
    return "\n\n".join(found) or HARMLESS


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(text: str) -> str:
    """Text that neither ends a cell or line nor begins HTML."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{_number(figure.low)} to {_number(figure.high)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
