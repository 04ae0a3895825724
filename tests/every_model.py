"""A program for tests: takes two steps of every model in this process or in several, and notes what came of it.

Usage: `every_model.py OUT`, alone or as one of several ranks. Each process seeds torch's global generator
otherwise, so a draw that came from there would show.
Writes OUT/RANK.json: by model its losses and a hash of its weights; and OUT/RANK.safetensors: each phase's gradients
in float64, in one process of the whole batch at once, in several of micro-batches.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from waterscape import models
from waterscape.randomness import Draw, hash64
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

BATCH = 5  # 3 and 2 on two processes
NARROW = {
    "landscape_gan": {"width": 4},
    "pixel_cnn": {"side": 40},
    "scene_classifier": {"side": 48},
    "ship_gan": {"width": 4},
    "water_enlarger": {
        "side": 16,
        "window": 8,
        "width": 4,
        "blocks": 1,
        "discriminator_width": 4,
        "adversarial_images": 5,
    },
}
"""Options that make a model quick enough for steps in a test, where its published width is not: by model."""


def recipe(model, preset):
    """A model's preset, narrowed where it must be."""
    return dataclasses.replace(models.presets(model)[preset], **NARROW.get(model, {}))


def build(made):
    """Fresh networks of a recipe, from narrowed untrained ones where it starts from other runs."""
    return made.networks({name: build(recipe(model, "reference")) for name, model in made.starts.items()})


def columns(recipe, numbers):
    """Made-up stored values of a recipe's inputs for the samples of those numbers: the same on any process."""
    made = {}
    for entry in recipe.inputs().values():
        draw = Draw(hash64(5, entry.column), numbers)
        if entry.classes:
            made[entry.column] = draw.integers("class", len(entry.classes)).to(torch.uint8)
        elif len(entry.shape) == 1:
            low, high = entry.stored
            made[entry.column] = low + draw.uniform("numbers", *entry.shape) * (high - low)
        else:
            shape = entry.shape[1:] if entry.shape[0] == 1 else (*entry.shape[1:], entry.shape[0])
            coarse = draw.uniform("tile", 1, 8, 8)
            smooth = torch.nn.functional.interpolate(coarse, size=entry.shape[1:], mode="bilinear")
            stored = entry.stored[0] + smooth * (entry.stored[1] - entry.stored[0])
            whole = entry.stored[1] - entry.stored[0] > 1  # else shares of one, which uint8 would make nothing of
            stored = stored.to(torch.uint8) if whole else stored
            made[entry.column] = stored.expand(-1, entry.shape[0], -1, -1).reshape(len(numbers), *shape)
    return made


def learner(model, preset, processes, out=Path("unused"), precision="float32", micro_batch=None):
    """A learner of a model's preset with seeded networks."""
    made = recipe(model, preset)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = build(made)
    run = Run(out=out, batch=BATCH, precision=precision, micro_batch=micro_batch)
    return Learner(made, run, networks, processes, epoch_images=100)


def fingerprint(networks, *, buffers=True):
    """A hash of all weights and buffers, or of the weights alone."""
    found = hashlib.sha256()
    for network in networks.values():
        for value in network.state_dict().values() if buffers else network.parameters():
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def batch_norms(recipe):
    """Layers with statistics over the batch, which are others in micro-batches."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return [layer for network in build(recipe).values() for layer in network.modules() if isinstance(layer, kind)]


def gradients(model, processes, precision):
    """Each phase's gradients in fresh networks, of the networks that it trains one after another."""
    whole_only = processes.world == 1 or batch_norms(recipe(model, models.DEFAULT_PRESET))
    size = None if whole_only else 2
    taught = learner(model, models.DEFAULT_PRESET, processes, precision=precision, micro_batch=size)
    whole = torch.arange(BATCH)
    mine = torch.tensor_split(whole, processes.world)[processes.rank]
    batch = taught.batch(columns(taught.recipe, mine))
    for phase in taught.phases:
        taught.backward(phase, batch, Draw(0, mine, taught.dtype), BATCH)
        yield f"{model}: {phase.name}", torch.cat([taught.gradients[name].flat[:-1] for name in phase.trains])


def main(out, precision):
    """Two steps of every model in float32, and the gradients of each phase in `precision`."""
    processes = Processes(None, "float32", out)
    torch.manual_seed(1000 + processes.rank)
    results = {}
    for model in models.names():
        taught = learner(model, models.DEFAULT_PRESET, processes)
        losses = []
        for step in range(2):
            whole = torch.arange(step * BATCH, (step + 1) * BATCH)
            mine = torch.tensor_split(whole, processes.world)[processes.rank]
            found = taught.step(columns(taught.recipe, mine), mine, BATCH)
            losses.append({name: processes.sum(value.double()).item() for name, value in found.items()})
        results[model] = {"losses": losses, "weights": fingerprint(taught.networks)}
    found = {name: value for model in models.names() for name, value in gradients(model, processes, precision)}
    save_file(found, out / f"{processes.rank}.safetensors")
    (out / f"{processes.rank}.json").write_text(json.dumps(results))
    processes.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
