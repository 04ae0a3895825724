"""Killed and signalled in real processes, again and again: the last whole checkpoint stands and nothing is torn."""

import sys
import time

import pytest
from programs import ROOT, run_program

WHERE = ROOT / "tests" / "training" / "faults.py"


def faults(word, tiles, out, *more, timeout=280):
    """Run the program of faults to its end; returns what it says of itself."""
    done = run_program(WHERE, word, tiles, out, *more, timeout=timeout, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    log = out / "log"
    assert done.returncode == 0, f"{done.stderr}\n{log.read_text()[-3000:] if log.exists() else ''}"
    print(done.stdout, file=sys.stderr)
    return done.stdout


def test_killed_three_times_at_random_moments_it_ends_in_the_same_weights(tiles, tmp_path):
    assert "3 kills" in faults("kills", tiles, tmp_path, 3, time.time_ns())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_fifty_times_at_random_moments(tiles, tmp_path):
    assert "40 kills" in faults("kills", tiles, tmp_path / "alone", 40, time.time_ns(), timeout=800)
    assert "10 kills" in faults("kills", tiles, tmp_path / "two", 10, time.time_ns(), 2, timeout=800)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_before_each_file_operation_of_a_save_there_is_a_whole_checkpoint(tiles, tmp_path):
    assert "newest then [128, 192]" in faults("steps", tiles, tmp_path, 1, timeout=800)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_five_hundred_random_signals_nothing_is_torn(tiles, tmp_path):
    faults("signals", tiles, tmp_path, 500, time.time_ns(), timeout=800)
