"""Memory of the machine runs out, in real processes: one line says so, and the same command goes on."""

import pytest
from ranks import words

from waterscape.training import checkpoint
from waterscape.training.events import read_ledger
from waterscape.training.outcome import read_outcome

ROOM = 48 << 20  # bytes beyond what a rank has when it starts: too few for a step of this batch
BATCH = 256


def large(tiles, out, steps):
    return words(tiles, out, "--batch", BATCH, "--checkpoint-every", BATCH, "--images", steps * BATCH)


@pytest.mark.long
def test_out_of_memory_is_told_in_a_line_and_the_run_goes_on_where_there_is_more(born, tiles, tmp_path):
    out, logs = tmp_path / "run", tmp_path / "logs"
    assert born(1, large(tiles, out, 1), logs / "first").ended(0) == 0
    limited = born(1, large(tiles, out, 2), logs / "limited", memory=(ROOM, 0))
    assert limited.ended(0) == 1
    (line,) = limited.log(0).splitlines()
    assert line.startswith("error: out of memory on ")
    assert "the checkpoints stand, and the same command goes on where there is more" in line
    assert read_outcome(out).word == "failed"
    assert line == f"error: {read_outcome(out).reason}"
    assert checkpoint.newest(out / "checkpoints").images == BATCH

    assert born(1, large(tiles, out, 2), logs / "again").ended(0) == 0
    assert checkpoint.newest(out / "checkpoints").images == 2 * BATCH
    assert sorted(read_ledger(out)) == list(range(2 * BATCH))


@pytest.mark.long
def test_where_one_rank_runs_out_of_memory_the_other_says_so(born, tiles, tmp_path):
    out = tmp_path / "run"
    ranks = born(2, large(tiles, out, 2), tmp_path / "logs", memory=(ROOM, 1))
    assert [ranks.ended(rank) for rank in (0, 1)] == [1, 1]
    assert ranks.log(1).splitlines()[-1].startswith("error in process 1: out of memory on ")
    reason = read_outcome(out).reason
    assert reason.startswith("another process of the run ended, so this one does too: rank 1 on ")
    assert "has left (out of memory on " in reason
    assert f"error: {reason}" in ranks.log(0)
