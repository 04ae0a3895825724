"""Fewer shards than processes, and shards that do not come out even: no process waits, each sample once an epoch."""

import pytest
from programs import write_tiles
from ranks import words

from waterscape.data.manifest import Manifest
from waterscape.training.beats import read_beats
from waterscape.training.events import read_ledger

SAMPLES = {1: 30, 2: 60, 3: 80}  # of so many shards: 27, 32 + 22, 32 + 32 + 8 samples to train on


@pytest.mark.long
@pytest.mark.parametrize(("shards", "world"), [(1, 2), (3, 2), (2, 3), (1, 3)])
@pytest.mark.parametrize("batch", [2, 7, 12])  # smaller than three processes, divided by none, divided by both
def test_each_process_takes_equal_steps_and_each_sample_comes_once_an_epoch(shards, world, batch, born, tmp_path):
    data, out = write_tiles(tmp_path / "few", samples=SAMPLES[shards]), tmp_path / "run"
    there = Manifest.load(data).split("train")
    assert len(there) == shards
    total = sum(shard.samples for shard in there)
    steps = 3 * total // batch
    ranks = born(world, words(data, out, "--batch", batch, "--images", steps * batch), tmp_path / "logs")
    assert [ranks.ended(rank, 120) for rank in range(world)] == [0] * world, ranks.log(0)

    assert [(beat.look.steps, beat.look.images) for beat in read_beats(out)] == [(steps, steps * batch)] * world
    ledger = read_ledger(out)
    assert sorted(ledger) == list(range(steps * batch))
    for epoch in range(3):
        read = [ledger[place] for place in range(epoch * total, min((epoch + 1) * total, steps * batch))]
        assert len(set(read)) == len(read)
        assert epoch == 2 or len(read) == total
    for rank in range(world):
        lines = (out / "ledger" / f"rank-{rank:05d}.tsv").read_text().splitlines()
        of_step = [0] * steps
        for line in lines:
            of_step[int(line.split("\t")[0]) // batch] += 1
        assert set(of_step) == {len(range(rank, batch, world))}, "as many images in every step"
