"""What enlarged occurrence is worth: figures of pictures whose errors are known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from waterscape.metrics.enlargement import bicubic, figures, shoreline_length, simple_ways, sums
from waterscape.nn.conserving import reduced


def disc(radius, side=256, at=(127.3, 128.6)):
    """A lake: N 1 side side."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2).float()[None, None]


def measured(made, true):
    return figures({name: float(value) / len(true) for name, value in sums(made, true, reduced(true, 4)).items()})


def test_the_shore_of_a_round_lake_is_as_long_as_its_circle():
    for radius in (10.4, 40.4, 100.4):
        assert shoreline_length(disc(radius) > 0.5).item() == pytest.approx(2 * math.pi * radius, rel=0.03)


def test_a_lake_that_grew_has_its_shoreline_displaced_by_so_much():
    for farther in (1, 3, -2):
        found = measured(disc(60 + farther), disc(60))
        assert found["shoreline error in pixels"] == pytest.approx(abs(farther), rel=0.08)
        area = 100 * abs((60 + farther) ** 2 / 60**2 - 1)
        assert found["wet area error in percent"] == pytest.approx(area, rel=0.03)
        assert found["water error in percent"] == pytest.approx(area, rel=0.03)


def test_nothing_is_wrong_with_the_truth():
    true = torch.cat([disc(60), disc(20), torch.zeros(1, 1, 256, 256)])
    found = measured(true, true)
    assert found == {"PSNR": pytest.approx(100), "SSIM": pytest.approx(1)} | dict.fromkeys(list(found)[2:], 0.0)


def test_a_dry_set_has_no_shoreline_error():
    dry = torch.zeros(2, 1, 64, 64)
    assert measured(dry, dry)["shoreline error in pixels"] == 0


def test_batches_add_up():
    made, true = torch.cat([disc(61), disc(22)]), torch.cat([disc(60), disc(20)])
    whole = sums(made, true, reduced(true, 4))
    parts = [sums(made[rows], true[rows], reduced(true[rows], 4)) for rows in (slice(1), slice(1, 2))]
    for name, value in whole.items():
        assert torch.allclose(value, parts[0][name] + parts[1][name]), name


def test_simple_ways_keep_what_they_are_said_to_keep():
    low = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    ways = simple_ways(low, 4)
    for name, made in ways.items():
        assert made.shape == (2, 1, 64, 64), name
        assert 0 <= made.min() <= made.max() <= 1, name
        kept = torch.allclose(reduced(made, 4), low, atol=1e-6)
        assert kept == (name != "bicubic"), name


def test_bicubic_is_the_one_of_pillow():
    low = torch.rand(12, 20, generator=torch.Generator().manual_seed(0))
    pillow = Image.fromarray(low.numpy()).resize((80, 48), Image.Resampling.BICUBIC)
    assert torch.allclose(bicubic(low[None, None], 4)[0, 0], torch.from_numpy(np.array(pillow)).clamp(0, 1), atol=1e-6)
