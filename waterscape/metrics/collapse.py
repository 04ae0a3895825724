"""Whether a GAN collapses: its pictures become alike, its noise counts no more, or its discriminator wins outright.

Four figures, each of the same noise and the same training pictures at every look:

- discriminator accuracy: share of true and made pictures that it tells rightly. At 1 the generator learns nothing.
- diversity: how unlike pictures of different noise are (1 − SSIM of pairs).
- effective rank: in how many directions their features spread.
- latent use: how many of the latent numbers change the pictures, as a share of all.

A figure is a sign of collapse where it is less than a third of what it was at its best in this run, and of what true
pictures have: neither a generator that has not learnt much yet nor a set of pictures that are alike is called
collapsed. Where it is next to nothing, it is a sign from the third look on, whatever was before. A collapse is called
at the second look in a row at which pictures are alike; at the fifth at which the discriminator has won, since many a
generator learns on against one that is nearly always right.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from waterscape.data.pictures import read_stacked
from waterscape.data.samples import Samples
from waterscape.data.shard import ShardError
from waterscape.errors import UserError
from waterscape.metrics.diversity import unlike_pairs
from waterscape.metrics.features import random_features
from waterscape.metrics.latent_use import share_used, total_effects
from waterscape.metrics.rank import effective_rank
from waterscape.randomness import Draw, hash64
from waterscape.recipe import Networks, Phase, Recipe
from waterscape.training.events import read_events
from waterscape.training.learner import Learner
from waterscape.training.run import Run
from waterscape.training.sampling import AT_ONCE, sample
from waterscape.training.watcher import Advice, Sight

NAME = "collapse"
"""Of the events."""
SAMPLES = 64
"""Pictures of a look, true and made."""
EXCHANGED, GROUPS = 16, 16
"""Of latent use: pictures in which a group of numbers is exchanged, and groups at most."""
ACCURACY, DIVERSITY, RANK, USE = "discriminator accuracy", "diversity", "effective rank", "latent use"
WON = 0.99
"""The accuracy from which on a discriminator has won."""
FALLEN = 1 / 3
"""Share of the run's best, and of true pictures', below which a figure has fallen."""
NOTHING, EARLY = 0.1, 2
"""Share of true pictures' below which a figure is next to nothing; looks at which it may be."""
ALIKE, LOST = 2, 5
"""Looks in a row that make a collapse: at which pictures are alike, at which the discriminator has won."""

ANEW: Mapping[str, Any] = {"images": 0, "figures": {}, "signs": {}}
"""Stands among the looks where the run went back: looks in a row are counted from there."""

Figures = Mapping[str, float]


class CollapseWatch:
    """Looks at a GAN's run.

    Args:
        recipe: of the model.
        training: the pictures that it learns from.
        out: the run's directory; earlier looks are read from its events.
        seed: of the noise.
        steers: whether going back is advised, or warnings are all.
    """

    def __init__(self, recipe: Recipe, training: Samples, out: Path, seed: int, *, steers: bool) -> None:
        self.recipe, self.training, self.out, self.steers = recipe, training, out, steers
        self.seed = hash64(seed, NAME)
        self._phase = discriminating(recipe)

    @staticmethod
    def applies(recipe: Recipe) -> bool:
        """Whether it is a GAN that makes new pictures."""
        return recipe.can("generate") and discriminating(recipe) is not None

    def look(self, learner: Learner) -> Sight:
        """Take the figures and judge them in the light of earlier looks."""
        found = self.figures(learner)
        found_signs = signs(found, [look["figures"] for look in self._looks if look["images"]], self.true)
        self._looks.append({"images": learner.images, "figures": found, "signs": found_signs})
        collapsed = is_collapse([look["signs"] for look in self._looks])
        warning = roll_back = ""
        if found_signs:
            name = "collapse" if collapsed else "a sign of collapse"
            warning = f"{name} at {learner.images} images: {'; '.join(found_signs.values())}"
        if collapsed and self.steers:
            roll_back = warning
            self._looks.append(ANEW)
        advice = Advice(good=self.steers and not found_signs, roll_back=roll_back)
        floors = {f"floor: {name}": value for name, value in self.true.items()}
        return Sight(found | floors, {"signs": found_signs}, warning, advice)

    def figures(self, learner: Learner) -> dict[str, float]:
        """The four figures of the networks as they are now."""
        device, dtype = learner.processes.device, learner.dtype
        found = self._accuracy(learner)
        classes = self.recipe.sample_classes()
        kinds = torch.arange(SAMPLES, device=device) % max(1, len(classes))
        with learner.shown() as networks:
            some = min(share_at_once(learner), AT_ONCE)
            made = sample(self.recipe, networks, kinds, self.seed, dtype=dtype, at_once=some)
            found |= spread(made.nan_to_num())  # numbers may overflow in a run that goes wrong
            effects = self._effects(networks, kinds[:EXCHANGED], dtype, some)
        return {**found, USE: share_used(effects)}

    @cached_property
    def true(self) -> dict[str, float]:
        """Diversity and effective rank of the true pictures."""
        name = self.recipe.pictured()
        entry = dataclasses.replace(self.recipe.inputs()[name], range=(0.0, 1.0))
        return spread(entry.numbers(self._stored[entry.column], torch.float32))

    def _accuracy(self, learner: Learner) -> dict[str, float]:
        """The discriminator's, where its phase tells it, on training samples; running statistics stay as they were.

        A phase may normalise over the images that it is given, as a step does over those of all processes: so many are
        given here, whatever the number of processes, and the figure does not depend on it. Nothing is kept of them for
        gradients, which take most of a step's memory.
        """
        assert self._phase is not None
        stored, total = self._stored, len(next(iter(self._stored.values())))
        buffers = [buffer for network in learner.networks.values() for buffer in network.buffers()]
        before = [buffer.clone() for buffer in buffers]
        right = 0.0
        for rows in torch.arange(total).tensor_split(-(-total // at_once(learner.run))):
            batch = learner.batch({column: values[rows] for column, values in stored.items()})
            draw = Draw(self.seed, rows.to(learner.processes.device), learner.dtype)
            with torch.no_grad():
                found = self._phase.loss(learner.called, batch, draw)
                for buffer, old in zip(buffers, before, strict=True):
                    buffer.copy_(old)
            if "accuracy" not in found:
                return {}
            right += float(found["accuracy"]) * len(rows)
        return {ACCURACY: right / total}

    def _effects(self, networks: Networks, kinds: Tensor, dtype: torch.dtype, some: int) -> Tensor:
        numbers = torch.arange(2 * EXCHANGED, device=kinds.device)
        one, other = self.recipe.draw_latent(Draw(self.seed, numbers, dtype)).chunk(2)

        def generate(latent: Tensor) -> Tensor:
            parts = zip(latent.split(some), kinds.split(some), strict=True)  # type: ignore[no-untyped-call]
            return torch.cat([self.recipe.generate(networks, part, kind) for part, kind in parts])

        return total_effects(generate, one, other, GROUPS)

    @cached_property
    def _stored(self) -> dict[str, Tensor]:
        """The first training samples that are whole: whether others may be damaged is for the run to say."""
        entries = self.recipe.inputs().values()
        columns = list({entry.column for entry in entries})
        sizes = {entry.column: entry.picture for entry in entries if entry.picture}
        read = []
        for number in range(len(self.training)):
            with contextlib.suppress(ShardError):
                read.append(read_stacked(self.training, [number], columns, sizes))
            if len(read) == SAMPLES:
                break
        self.training.close()  # held open, its tars could not be evicted from a cache
        if len(read) < 2:
            raise UserError(
                f"a GAN learns nothing from {len(read)} whole samples of {len(self.training)}: name more data"
            )
        return {column: torch.cat([one[column] for one in read]) for column in columns}

    @cached_property
    def _looks(self) -> list[Mapping[str, Any]]:
        """Earlier looks, as the run's events tell them."""
        found: list[Mapping[str, Any]] = []
        for event in read_events(self.out):
            if event["event"] == NAME:
                found.append(event)
            elif event["event"] == "rollback":
                found.append(ANEW)
        return found


def at_once(run: Run) -> int:
    """Pictures that the discriminator judges together: those of a step of all processes, or of a micro-batch."""
    return min(run.micro_batch or run.batch, SAMPLES)


def share_at_once(learner: Learner) -> int:
    """Pictures that are made together: no more than one process has of a step, for which memory suffices."""
    return min(at_once(learner.run), -(-learner.run.batch // learner.processes.world))


def discriminating(recipe: Recipe) -> Phase | None:
    """The phase that teaches a discriminator alone, the first one; None where there is none."""
    return next((phase for phase in recipe.phases() if phase.trains == ("discriminator",)), None)


def spread(pictures: Tensor) -> dict[str, float]:
    """How much pictures (N C H W, in 0..1) differ from one another."""
    pictures = pictures.float().cpu()
    return {DIVERSITY: float(unlike_pairs(pictures).mean()), RANK: effective_rank(random_features(pictures))}


def signs(now: Figures, before: Sequence[Figures], true: Figures) -> dict[str, str]:
    """What speaks for a collapse: figure → phrase. `before`: earlier looks; `true`: the figures of true pictures."""
    found = {}
    if now.get(ACCURACY, 0.0) >= WON:
        found[ACCURACY] = f"the discriminator wins: {ACCURACY} {now[ACCURACY]:.2f}"
    for name in (DIVERSITY, RANK, USE):
        best = max((look[name] for look in before if name in look), default=0.0)
        usual = true.get(name, float("inf"))
        if now[name] < FALLEN * best and now[name] < FALLEN * usual:
            found[name] = f"{name} fell from {best:.3g} to {now[name]:.3g}{_beside(name, true)}"
        elif len(before) >= EARLY and now[name] < NOTHING * true.get(name, 0.0):
            found[name] = f"{name} is next to nothing: {now[name]:.3g}{_beside(name, true)}"
    return found


def is_collapse(looks: Sequence[Mapping[str, str]]) -> bool:
    """Whether the signs of all looks so far, oldest first, make a collapse."""
    alike = _in_a_row([any(name != ACCURACY for name in found) for found in looks])
    lost = _in_a_row([ACCURACY in found for found in looks])
    return alike >= ALIKE or lost >= LOST


def _in_a_row(looks: Sequence[bool]) -> int:
    """How many of the last ones are true."""
    return next((count for count, found in enumerate(reversed(looks)) if not found), len(looks))


def _beside(name: str, true: Figures) -> str:
    return f" (true pictures {true[name]:.3g})" if name in true else ""
