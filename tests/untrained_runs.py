"""Runs whose networks have fresh, seeded weights: for tests of what is done with a run, without its training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from every_model import build, recipe

from waterscape.models import Trained

TILES = {"pixels": [160, 160], "metres_per_pixel": 2.5}


def untrained(model, preset="recommended", name=None, facts=None, **options):
    """A run of a model's preset, narrowed, with these options."""
    made = replace(recipe(model, preset), **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = build(made)
    for network in networks.values():
        network.eval().requires_grad_(False)
    run = Path(name or model)
    return Trained(run, model, preset, made, networks, "000000000008", "ab" * 32, 8, facts or {})


def encoder(**facts):
    """A satellite encoder and its generator of four numbers, of tiles of 160 × 160 pixels of 2.5 m."""
    return untrained("satellite_encoder", name="encoder", facts={"tiles": TILES} | facts, loss="mse", resized=128)


def landscapes():
    """A generator of four numbers."""
    return untrained("landscape_gan", "small", "landscapes", side=16)


def enlarger():
    """Of water: 64 × 64 to 256 × 256."""
    return untrained("water_enlarger", name="enlarger", side=64)


def scenes():
    """A classifier of photos."""
    return untrained("scene_classifier", "small", "scenes")


def shapes():
    """A classifier of water bodies."""
    return untrained("shape_classifier", name="shapes")


def tiles_of_water():
    """Classes of water, of more numbers than there are sliders."""
    return untrained("water_gan", name="water", width=8)
