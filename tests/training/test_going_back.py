"""A GAN that collapses goes back to its last good checkpoint: one run, wherever it is killed, on two processes too."""

import pytest
from coloured_scenes import write_scenes
from programs import run_program


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("world", "moments"), [(1, (0, 1, 3, 4)), (2, (1, 2, 5))], ids=["one process", "two processes"]
)
def test_killed_or_stopped_around_going_back_it_is_bitwise_the_same_run(tmp_path, world, moments):
    scenes = write_scenes(tmp_path / "scenes")
    words = ["tests/training/rollbacks.py", scenes, tmp_path / "runs", world, *moments]
    found = run_program(*words, timeout=800, OMP_NUM_THREADS="1")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("the same run") == len(moments)
