"""The contract: when a phase is due, and what an input takes."""

import math

import pytest
import torch

from waterscape.errors import UserError
from waterscape.recipe import Input, Phase


def due(steps, **when):
    phase = Phase("some", (), lambda *_: {}, **when)
    return [step for step in range(steps) if phase.due(step, 5 * step)]


def test_a_phase_is_due_every_so_many_steps_from_one_number_of_images_until_another():
    assert due(4) == [0, 1, 2, 3]
    assert due(8, every=3) == [0, 3, 6]
    assert due(8, since=11) == [3, 4, 5, 6, 7]
    assert due(8, until=15) == [0, 1, 2]
    assert due(20, since=15, until=60, every=4) == [4, 8]


def test_where_one_phase_ends_the_next_begins():
    assert sorted(due(9, until=22) + due(9, since=22)) == list(range(9))


def test_a_tile_of_another_size_is_named():
    entry = Input("occurrence.npy", (1, 256, 256), stored=(0, 100))
    assert entry.numbers(torch.full((3, 256, 256), 50), torch.float32).shape == (3, 1, 256, 256)
    with pytest.raises(UserError, match=r"samples of occurrence\.npy are 128 × 128, the model reads 1 × 256 × 256"):
        entry.numbers(torch.zeros(3, 128, 128), torch.float32)


@pytest.mark.parametrize("shape", [(4, 5, 5, 3), (4, 5, 5), (4, 7)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_what_is_stored_is_left_as_it_is(shape, dtype):
    stored = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
    given = stored.clone()
    wanted = (3, 5, 5) if len(shape) == 4 else (1, 5, 5) if len(shape) == 3 else (7,)
    entry = Input("some.npy", wanted, stored=(0, 255), range=(-1, 1))
    found = entry.numbers(stored, torch.float32)
    assert torch.equal(stored, given)
    assert found.shape == (4, *wanted)
    assert sorted(found.flatten().tolist()) == pytest.approx(
        sorted((given * 2.0 / 255 - 1).flatten().tolist()), abs=1e-6
    )
