"""Figures of a classifier: summed over batches, they are those of a direct count."""

import numpy as np
import pytest
import torch

from waterscape.errors import UserError
from waterscape.metrics import classification
from waterscape.metrics.classification import Verdicts
from waterscape.metrics.drawn import agreements, drawn_classes
from waterscape.randomness import Draw

CLASSES = ("lake", "river", "coast", "delta")


def made(samples=200, absent=3):
    """Logits that are right more often than not; the class `absent` never comes."""
    draw = Draw(0, torch.arange(samples))
    kinds = draw.integers("kind", absent)
    logits = 2 * draw.normal("logits", len(CLASSES))
    logits[torch.arange(samples), kinds] += 2.5
    return logits, kinds


def test_sums_over_batches_are_the_direct_count():
    logits, kinds = made()
    sums = {}
    for rows in (slice(0, 90), slice(90, 91), slice(91, 200)):
        for name, value in classification.sums(logits[rows], kinds[rows], CLASSES).items():
            sums[name] = sums.get(name, 0) + float(value)
    figures = classification.figures({name: value / 200 for name, value in sums.items()}, CLASSES)
    verdicts = Verdicts(CLASSES, logits.double().softmax(1).numpy(), kinds.numpy())
    assert figures["accuracy"] == pytest.approx(verdicts.accuracy)
    assert figures["calibration error"] == pytest.approx(verdicts.calibration_error, abs=1e-5)
    for number, name in enumerate(CLASSES[:3]):
        assert figures[f"recall: {name}"] == pytest.approx(verdicts.recall[number], abs=1e-6)
        assert figures[f"precision: {name}"] == pytest.approx(verdicts.precision[number], abs=1e-6)
    assert "recall: delta" not in figures, "no sample of it, so nothing to tell"
    assert np.isnan(verdicts.recall[3])
    true = np.log(verdicts.probabilities[np.arange(200), kinds.numpy()])
    assert figures["cross-entropy"] == pytest.approx(-true.mean(), abs=1e-5)


def test_a_confusion_that_can_be_counted_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    verdicts = Verdicts(("a", "b"), probabilities, np.array([0, 1, 1, 0]))
    assert verdicts.confusion.tolist() == [[2, 0], [1, 1]]
    assert verdicts.accuracy == 0.75
    assert verdicts.recall.tolist() == [1.0, 0.5]
    assert verdicts.precision.tolist() == [pytest.approx(2 / 3), 1.0]
    assert verdicts.calibration == [
        (pytest.approx(0.6), 0.0, 1),
        (pytest.approx(0.7), 1.0, 1),
        (pytest.approx(0.8), 1.0, 1),
        (pytest.approx(0.9), 1.0, 1),
    ]
    assert verdicts.calibration_error == pytest.approx((0.6 + 0.3 + 0.2 + 0.1) / 4)


def test_agreement_with_what_was_drawn(tmp_path):
    world = tmp_path / "world.json"
    kinds = ["lake", "river", "river", "open water"]
    bodies = [[{"kind": "lake", "pixels": 20}, {"kind": kind, "pixels": 900}] for kind in kinds]
    files = [
        f'{{"file": "r/{n}.tif", "bodies": {str(body).replace(chr(39), chr(34))}}}' for n, body in enumerate(bodies)
    ]
    world.write_text(f'{{"files": [{", ".join(files)}]}}')
    classes = ("lake", "river", "unclassifiable")
    drawn = drawn_classes(world, classes)
    assert drawn == {"0.tif": "lake", "1.tif": "river", "2.tif": "river"}
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.4, 0.5], [0.1, 0.4, 0.5]])
    verdicts = Verdicts(classes, probabilities, np.array([0, 0, 2, 0]))
    found = {
        one.which: one
        for one in agreements(
            verdicts, ["x/0.tif", "x/1.tif", "x/2.tif", "x/3.tif"], np.array([False, True, True, True]), drawn
        )
    }
    everything = found["all"]
    assert everything.tiles == 3
    assert (everything.rules, everything.network, everything.best_name) == pytest.approx((1 / 3, 2 / 3, 1.0))
    assert found["rules: unclassifiable"].best_name == 1.0
    assert found["main body whole"].tiles == 1
    with pytest.raises(UserError, match="the world drew none of these tiles"):
        agreements(verdicts, ["other.tif"] * 4, np.zeros(4, bool), drawn)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(UserError, match=r"is no world\.json"):
        drawn_classes(tmp_path / "bad.json", classes)
