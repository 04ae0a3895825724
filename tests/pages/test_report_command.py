"""The command that a report shows makes the very options that the run had: for every model, preset and odd value."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from waterscape import models
from waterscape.pages.report.command import command
from waterscape.start import read_options
from waterscape.training.run import Run, describe, resolve


@pytest.mark.parametrize("model", models.names())
def test_read_again_it_is_the_run(model, tmp_path):
    recipe = next(reversed(models.presets(model).values()))
    preset = next(reversed(models.presets(model)))
    changed = dataclasses.replace(recipe, **dict(_others(recipe)))
    run = Run(
        out=tmp_path / "a run", data="shards/it's a set", columns=("a=b", "c=d e"), batch=7, micro_batch=3,
        best="x y:lower", tensorboard=False, record_draws=True, stall_seconds=0.5, start=("vae=runs/v a e",),
        seed=2**32 - 1,
    )  # fmt: skip
    for made, chosen in ((recipe, Run(out=tmp_path)), (changed, run)):
        program, verb, name, *words = shlex.split(command(facts_of(chosen, model, preset, made)))
        assert (program, verb, name) == ("waterscape", "train", f"{model}:{preset}")
        found, options = read_options(model, preset, words)
        assert options == chosen
        assert found == made


def facts_of(run, model, preset, recipe, processes=1):
    """A run's facts as `run.json` gives them back."""
    return json.loads(json.dumps(resolve(run, describe(model, preset, recipe, {}), "", processes, 1), default=str))


def usual(tmp_path, processes=1):
    reference = models.presets("water_vae")["reference"]
    return facts_of(Run(out=tmp_path), "water_vae", "reference", reference, processes)


def test_several_processes_are_launched(tmp_path):
    """On a CPU, without these two words, `accelerate launch` starts one process, and says nothing."""
    facts = usual(tmp_path, processes=4)
    named = "--num_processes 4 -m waterscape train water_vae:reference "
    for accelerator, start in (
        (None, "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu "),
        ("A GPU", "accelerate launch "),
    ):
        facts["history"][-1]["accelerator"] = accelerator
        told = command(facts)
        assert told.startswith(start + named)
        _, options = read_options("water_vae", "reference", shlex.split(told.partition(" water_vae:reference ")[2]))
        assert options == Run(out=tmp_path, processes=4)


@pytest.mark.parametrize(("batch", "told"), [(64, False), (32, True)])
def test_a_batch_is_told_where_it_is_not_the_presets_own(tmp_path, batch, told):
    reference = models.presets("landscape_gan")["reference"]
    text = command(facts_of(Run(out=tmp_path, batch=batch), "landscape_gan", "reference", reference))
    assert ("--batch" in text) == told
    _, options = read_options("landscape_gan", "reference", shlex.split(text.partition(":reference ")[2]))
    assert options.batch == batch


def test_an_option_of_another_version_is_left_out(tmp_path):
    facts = usual(tmp_path)
    facts["run"]["long_gone"] = 3
    assert "long" not in command(facts)


def _others(recipe):
    """Each choice, number and tuple of numbers among a recipe's options, as another one."""
    hints = get_type_hints(type(recipe))
    for option in dataclasses.fields(recipe):
        value = getattr(recipe, option.name)
        if get_origin(hints[option.name]) is Literal:
            yield option.name, next(other for other in get_args(hints[option.name]) if other != value)
        elif isinstance(value, bool):
            yield option.name, not value
        elif isinstance(value, int | float):
            yield option.name, value * 2 + 1
        elif isinstance(value, tuple) and value and all(isinstance(part, int | float) for part in value):
            yield option.name, tuple(part + 1 for part in value)
