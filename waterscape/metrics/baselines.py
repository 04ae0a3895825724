"""What needs no training, on the very samples that a network is judged by: without it, a network's figures say little.

- Maps of water: MNDWI above 0, and above Otsu's threshold of each window or of the training windows.
- Enlargements: nearest pixels, bicubic, and bicubic that reduces to its input.
- Classes: always the one that the training set holds most of.

Each is a metric card like the network's own, taken under the same conditions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.pictures import read_stacked
from waterscape.metrics import classification
from waterscape.metrics.card import Better, Card, Figure
from waterscape.metrics.intervals import LEAST, Interval, jackknife
from waterscape.metrics.water_maps import (
    HIGHER_IS_BETTER,
    Way,
    Window,
    Worth,
    network_way,
    otsu_of,
    otsu_way,
    threshold_way,
    windows,
)

if TYPE_CHECKING:
    from waterscape.data.samples import Samples
    from waterscape.models import Trained
    from waterscape.recipe import Recipe

UNBOUNDED = ("absolute area error",)
"""Figures of maps that may be larger than 1."""
JUDGED_BY = "windows' masks, where all that the network sees is known"


def mapped(card: Card, trained: Trained, held_out: Samples) -> Card:
    """A pixel network's card with what its maps of whole windows are worth, as thresholds are judged: by masks."""
    figures = segmentation_figures(network_way(trained.recipe, trained.networks), windows(held_out))
    return dataclasses.replace(card, figures=figures, conditions=_of_maps(card))


def baselines(card: Card, recipe: Recipe, held_out: Samples, training: Samples) -> dict[str, Card]:
    """Cards of the simple ways, by name; none where the model has no counterpart that needs no training.

    Args:
        card: of a network of the recipe, on `held_out`.
        recipe: of the network.
        held_out: what is judged.
        training: where thresholds and shares of classes come from.
    """
    if recipe.can("segment"):
        ways = {
            "MNDWI > 0": threshold_way(),
            "Otsu of each window": otsu_way,
            "Otsu of the training windows": threshold_way(otsu_of(windows(training))),
        }
        found = {name: segmentation_figures(way, windows(held_out)) for name, way in ways.items()}
        return {name: _card(card, name, figures, _of_maps(card)) for name, figures in found.items()}
    if recipe.can("enlarge"):
        return {name: _card(card, name, figures) for name, figures in _by_way(card).items()}
    if recipe.can("classify"):
        name = "always the most frequent class"
        return {name: _card(card, name, (_most_frequent(recipe, held_out, training, card.data["samples"]),))}
    return {}


def segmentation_figures(way: Way, held: Iterable[Window]) -> tuple[Figure, ...]:
    """What a way to map water is worth on windows, with intervals over the windows where there are enough."""
    judged = []
    for window in held:
        one = Worth()
        one.add(window, way(window.bands))
        judged.append(one)
    each = np.empty(len(judged), object)
    each[:] = judged

    def figures(some: Iterable[Worth]) -> Mapping[str, float]:
        together = Worth()
        for one in some:
            together.whole += one.whole
            together.boundary += one.boundary
        return {name: value for name, value in together.figures().items() if np.isfinite(value)}

    if len(each) >= LEAST:
        found = jackknife(figures, each)
    else:
        found = {name: Interval(value, np.nan, np.nan) for name, value in figures(each).items()}
    return tuple(_figure(name, interval) for name, interval in found.items())


def _figure(name: str, found: Interval) -> Figure:
    most = np.inf if name in UNBOUNDED else 1.0
    low, high = (None if np.isnan(limit) else float(np.clip(limit, 0, most)) for limit in (found.low, found.high))
    better: Better = "higher" if name in HIGHER_IS_BETTER else "lower"
    return Figure(name, float(found.value), low, high, better=better)


def _by_way(card: Card) -> dict[str, tuple[Figure, ...]]:
    """The simple ways that an enlarger's card holds beside its own: `PSNR: bicubic` is bicubic's `PSNR`."""
    found: dict[str, tuple[Figure, ...]] = {}
    for figure in card.figures:
        name, colon, way = figure.name.rpartition(": ")
        if colon and way in ("nearest", "bicubic", "bicubic conserved"):
            found[way] = (*found.get(way, ()), dataclasses.replace(figure, name=name))
    return found


def _most_frequent(recipe: Recipe, held_out: Samples, training: Samples, samples: int) -> Figure:
    column = next(entry.column for entry in recipe.inputs().values() if entry.classes)
    true, taught = (
        read_stacked(some, range(count), [column], {})[column].numpy()
        for some, count in ((held_out, samples), (training, len(training)))
    )
    right = (true == np.bincount(taught).argmax()).astype(np.float64)
    return Figure(classification.ACCURACY, float(right.mean()), better="higher")


def _of_maps(card: Card) -> dict[str, Any]:
    return {**card.conditions, "judged by": JUDGED_BY}


def _card(card: Card, name: str, figures: tuple[Figure, ...], conditions: Mapping[str, Any] | None = None) -> Card:
    """A card of what no run made, under the conditions of one that a run has."""
    nobody = {"name": name, "model": "none: needs no training"}
    data = {**card.data, "trained_on_it": False}
    return dataclasses.replace(card, run=nobody, data=data, figures=figures, conditions=conditions or card.conditions)
