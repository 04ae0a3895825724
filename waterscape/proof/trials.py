"""The trainings of a proof: undisturbed, killed and resumed, moved between numbers of processes; and what they show."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from waterscape import models
from waterscape.data.balance import planned_order
from waterscape.data.batches import ShardSet
from waterscape.errors import UserError
from waterscape.proof import compare
from waterscape.proof.compare import Check, identical, within
from waterscape.proof.launch import Ranks, images_of
from waterscape.proof.made_set import write_made_set
from waterscape.proof.options import Proof
from waterscape.recipe import Input, Recipe
from waterscape.start import read_options
from waterscape.training import checkpoint
from waterscape.training.events import read_draws, read_events, read_ledger

SAMPLES = 280
"""Of the made set: less than 50 batches of 7, so that the stream runs over an epoch's end."""


class Trials:
    """The trainings of one proof, below the directory `place`; `words` are further options of `waterscape train`."""

    def __init__(self, proof: Proof, model: str, preset: str, words: Sequence[str], place: Path) -> None:
        self.proof, self.title, self.words, self.place = proof, f"{model}:{preset}", list(words), place
        self.random = random.Random(proof.seed)  # noqa: S311 the moments of kills need no secrecy
        starts = [f"--start={name}={place / name}" for name in models.presets(model)[preset].starts]
        tried = ["--out", str(place / "none"), "--batch", str(proof.batch), *starts, *words]
        self.recipe, run = read_options(model, preset, tried)  # a wrong option ends here, before anything runs
        self.data = proof.data or str(write_made_set(place / "made", inputs(self.recipe), SAMPLES, proof.seed))
        self.shards = ShardSet(self.data, "train")
        self.order = planned_order(self.shards, proof.seed, run.balance)
        self.seconds_per_step = 0.0
        trainings = len(starts) + 2 * len(proof.processes) + (len(proof.processes) > 1)
        self.bar = tqdm(total=trainings * proof.length, unit="image", desc=f"prove {self.title}", disable=None)

    def checks(self) -> Iterator[Check]:
        """Train and compare."""
        proof = self.proof
        for name, model in self.recipe.starts.items():
            self.words += [f"--start={name}={self.start_run(name, model)}"]
        whole = {n: self.run([n]) for n in proof.processes}
        killed = {n: self.run([n] * (proof.kills + 1)) for n in proof.processes}
        one, *others = proof.processes
        plan = compare.planned(self.shards, self.order, proof.length)
        yield identical(f"{count(one)}, undisturbed", "samples as planned", plan, read_ledger(whole[one]))
        for n in proof.processes:
            subject = f"{count(n)}, killed {proof.kills} times"
            yield compare.resumed(subject, killed[n], proof.kills, len(self.shards))
            yield from bitwise(subject, whole[n], killed[n])
        for n in others:
            yield from self.alike(f"{count(n)} against {one}", whole[one], whole[n])
        if others:
            worlds = [*proof.processes, one]
            subject, moved = f"killed between {arrows(worlds)} processes", self.run(worlds)
            yield compare.resumed(subject, moved, len(others) + 1, len(self.shards))
            yield from self.alike(subject, whole[one], moved)
            yield from self.gradients(whole[one], one, others)
        self.bar.close()

    def alike(self, subject: str, one: Path, other: Path) -> Iterator[Check]:
        """Another number of processes."""
        yield identical(subject, "samples", read_ledger(one), read_ledger(other))
        yield identical(subject, "draws", read_draws(one), read_draws(other))
        yield within(subject, "first loss", compare.first_loss(one, other), compare.FIRST_LOSS)
        if self.proof.float64:
            yield within(subject, "parameters", compare.farthest_parameter(one, other), compare.PARAMETERS)

    def gradients(self, run: Path, one: int, others: Sequence[int]) -> Iterator[Check]:
        """Each phase's gradients on other numbers of processes, all from the weights of one run."""
        began, written = time.monotonic(), {n: self.place / f"gradients-{n}.safetensors" for n in (one, *others)}
        for n, path in written.items():
            Ranks(n, ["-m", "waterscape.proof.gradients", run, path], path.with_suffix(".log")).wait()
        self.tell("gradients from equal weights", began)
        for n in others:
            yield from compare.gradients(f"{count(n)} against {one}, equal weights", written[one], written[n])

    def run(self, worlds: Sequence[int]) -> Path:
        """Train on `worlds[0]` processes until killed, go on with `worlds[1]`, …. Returns the run's directory.

        None is killed before it has begun and a checkpoint stands: there would be nothing to go on from.
        """
        proof = self.proof
        out = self.place / "-".join(["run", *map(str, worlds)])
        words = self.train_words(self.title, out, proof.length, *self.words)
        began, shown = time.monotonic(), self.bar.n
        killed: list[int] = []

        def look() -> int:
            images = images_of(out)
            self.bar.update(shown + images - self.bar.n)
            begun = sum(event["event"] == "start" for event in read_events(out)) > len(killed)
            return images if begun and checkpoint.every(out / "checkpoints") else 0

        for world, (images, delay) in zip(worlds, self.moments(len(worlds) - 1), strict=True):
            ranks = Ranks(world, [*words, "--processes", world], out.with_suffix(".log"))
            ended = ranks.wait(look, images)
            if images < proof.length:
                time.sleep(delay)
                if ended or not ranks.running():
                    raise UserError(
                        f"a training ended before it could be killed after {images} images: give more --images"
                    )
                ranks.kill()
                killed.append(look())
        if not killed:
            self.seconds_per_step = seconds_per_step(out)
        what = f"killed after {', '.join(map(str, killed))} images" if killed else "undisturbed"
        self.tell(f"{f'{arrows(worlds)} processes' if len(set(worlds)) > 1 else count(worlds[0])}, {what}", began)
        return out

    def moments(self, kills: int) -> list[tuple[float, float]]:
        """When to kill: after so many images and so many seconds more; at the end, never.

        One moment in each of equal parts of the first epoch, after the first checkpoint, and long enough before the end
        for one who looks late.
        """
        last = 0.7 * min(self.proof.length, len(self.shards))
        part = (last - self.proof.every) / max(1, kills)
        firsts = [self.proof.every + part * number for number in range(kills)]
        uniform = self.random.uniform
        found = [(uniform(first, first + part), uniform(0, 2 * self.seconds_per_step)) for first in firsts]
        return [*found, (float("inf"), 0.0)]

    def start_run(self, name: str, model: str) -> Path:
        """Train a run that the model starts from, briefly."""
        out, began, recipe = self.place / name, time.monotonic(), models.presets(model)["reference"]
        starts = [f"--start={other}={self.start_run(other, its)}" for other, its in recipe.starts.items()]
        words = self.train_words(f"{model}:reference", out, 4 * self.proof.batch, *starts)
        Ranks(1, words, out.with_suffix(".log")).wait()
        self.bar.update(self.proof.length)
        self.tell(f"{name}: {model}:reference to start from", began)
        return out

    def train_words(self, title: str, out: Path, images: int, *more: str) -> list[object]:
        """The command line of a training that reports each step and draws few pictures."""
        proof = self.proof
        words = [
            "-m",
            "waterscape",
            "train",
            title,
            "--data",
            self.data,
            "--out",
            out,
            "--batch",
            proof.batch,
            "--seed",
            proof.seed,
        ]
        words += ["--images", images, "--report-every", proof.batch, "--checkpoint-every", proof.every]
        words += ["--picture-every", 10**9, "--evaluate-every", 0, "--held-out", 0, "--no-tensorboard"]
        return [*words, "--record-draws", "--precision", "float64" if proof.float64 else "float32", *more]

    def tell(self, what: str, began: float) -> None:
        """A line on stderr, above the bar where there is one."""
        tqdm.write(f"prove-resume: {what}: {time.monotonic() - began:.1f} s", file=sys.stderr)


def bitwise(subject: str, whole: Path, killed: Path) -> Iterator[Check]:
    """The same number of processes: nothing differs."""
    yield identical(subject, "samples", read_ledger(whole), read_ledger(killed))
    yield identical(subject, "draws", read_draws(whole), read_draws(killed))
    yield identical(subject, "losses", compare.losses(whole), compare.losses(killed))
    number, differing = compare.differing_tensors(whole, killed)
    found = f"{number} values equal" if not differing else f"{len(differing)} differ, such as {differing[0]}"
    yield Check(subject, "weights, optimizers", found, "bitwise", not differing)


def inputs(recipe: Recipe) -> list[Input]:
    """All that a recipe and the runs that it starts from read."""
    started = [inputs(models.presets(model)["reference"]) for model in recipe.starts.values()]
    return [*recipe.inputs().values(), *(entry for each in started for entry in each)]


def seconds_per_step(out: Path) -> float:
    """The mean time between two reports of a run that reports each step."""
    times = [event["time"] for event in read_events(out) if event["event"] == "report"]
    return float((times[-1] - times[0]) / max(1, len(times) - 1))


def count(processes: int) -> str:
    """So many processes, in words."""
    return f"{processes} process{'es' if processes > 1 else ''}"


def arrows(worlds: Sequence[int]) -> str:
    """1 → 2 → 3."""
    return " → ".join(map(str, worlds))
