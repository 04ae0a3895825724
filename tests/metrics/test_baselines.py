"""What needs no training: its figures against counts by hand, its conditions those of the network beside it."""

import numpy as np
import pytest
from small_landsat import write_lakes

from waterscape.data.shards import ShardSet
from waterscape.metrics.baselines import baselines, segmentation_figures
from waterscape.metrics.card import Card, Figure
from waterscape.metrics.intervals import GROUPS
from waterscape.metrics.water_maps import INDEX, threshold_way, window, windows
from waterscape.models.pixel_cnn import PRESETS as PIXELS
from waterscape.models.shape_classifier import PRESETS as SHAPES
from waterscape.models.water_enlarger import PRESETS as ENLARGERS

CARD = Card(
    run={"name": "a"},
    data={"name": "set", "split": "test", "samples": 20, "synthetic": True, "trained_on_it": True},
    conditions={"pictures": "1 × 64 × 64"},
    figures=(
        Figure("PSNR: enlarged", 30.0, 29.0, 31.0, better="higher"),
        Figure("PSNR: bicubic", 25.0, 24.0, 26.0, better="higher"),
        Figure("PSNR: bicubic conserved", 26.0, better="higher"),
    ),
)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    return write_lakes(tmp_path_factory.mktemp("lakes") / "lakes", tiles=3 * 24)


def test_thresholds_of_an_index_by_hand(lakes):
    """IoU and accuracy of all pixels together, and an interval by the jackknife's own definition over one figure."""
    held = ShardSet(lakes, "test")
    seen = [window(held, number) for number in range(len(held))]
    called = [one.bands[..., INDEX] > 0 for one in seen]
    both = sum(int((c & w.water & w.known).sum()) for c, w in zip(called, seen, strict=True))
    either = sum(int(((c | w.water) & w.known).sum()) for c, w in zip(called, seen, strict=True))
    right = sum(int(((c == w.water) & w.known).sum()) for c, w in zip(called, seen, strict=True))
    found = {figure.name: figure for figure in segmentation_figures(threshold_way(), windows(held))}
    assert found["IoU"].value == pytest.approx(both / either)
    assert found["Jaccard distance"].value == pytest.approx(1 - both / either)
    assert found["accuracy"].value == pytest.approx(right / sum(int(w.known.sum()) for w in seen))
    assert (found["IoU"].better, found["Jaccard distance"].better) == ("higher", "lower")
    assert len(seen) >= 2 * GROUPS
    assert found["IoU"].low <= found["IoU"].value <= found["IoU"].high <= 1


def test_few_windows_have_figures_without_intervals(lakes):
    figures = segmentation_figures(threshold_way(), list(windows(ShardSet(lakes, "test")))[:3])
    assert {figure.low for figure in figures} == {None}
    assert segmentation_figures(threshold_way(), []) == ()


def test_maps_have_three_thresholds_under_the_networks_conditions(lakes):
    found = baselines(CARD, PIXELS["reference"], ShardSet(lakes, "test"), ShardSet(lakes, "train"))
    assert list(found) == ["MNDWI > 0", "Otsu of each window", "Otsu of the training windows"]
    first, *others = found.values()
    assert all(first.differences(other) == [] for other in others)
    assert first.run["name"] == "MNDWI > 0"
    assert first.data["trained_on_it"] is False
    assert first.conditions["pictures"] == "1 × 64 × 64"


def test_simple_enlargements_are_taken_from_the_networks_card(tiles):
    found = baselines(CARD, ENLARGERS["reference"], ShardSet(tiles, "valid"), ShardSet(tiles, "train"))
    assert {name: card.figure("PSNR").value for name, card in found.items()} == {"bicubic": 25, "bicubic conserved": 26}


def test_the_most_frequent_class_of_the_training_set(tiles):
    held_out, training = ShardSet(tiles, "valid"), ShardSet(tiles, "train")
    kinds = [np.asarray([some.read(n)["shape.npy"] for n in range(len(some))]) for some in (held_out, training)]
    names, counts = np.unique(kinds[1], return_counts=True)
    expected = (kinds[0][:20] == names[counts.argmax()]).mean()
    (card,) = baselines(CARD, SHAPES["reference"], held_out, training).values()
    assert card.figure("accuracy").value == pytest.approx(expected)
