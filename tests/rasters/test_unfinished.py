"""Work that goes on: what is noted is there, what is torn is not believed, another command's is not touched."""

import subprocess
import sys

import numpy as np
import pytest
from programs import ROOT

from waterscape.errors import UserError
from waterscape.rasters.mask import strips, write_mask
from waterscape.rasters.unfinished import Unfinished, beside, publish
from waterscape.rasters.windows import split

SHAPE = (50, 70)
PARTS = split(*SHAPE, 20, 30)
PICTURE = np.random.default_rng(0).random(SHAPE, np.float32)


def begin(out, command=None, *, anew=False):
    return Unfinished(out, command or {"scene": "a"}, SHAPE, PARTS, anew=anew)


def store(work, numbers):
    for number in numbers:
        row, column, height, width = PARTS[number]
        work.store(number, PICTURE[row : row + height, column : column + width])
        work.done.add(number)


def test_parts_are_put_together_in_any_order(tmp_path):
    with begin(tmp_path / "water.tif") as work:
        store(work, reversed(range(len(PARTS))))
        assert np.array_equal(work.rows(0, 50), PICTURE)
        assert np.array_equal(work.rows(13, 4), PICTURE[13:17])
        assert work.raw.stat().st_size == PICTURE.nbytes


def test_what_was_kept_is_done_and_nothing_else(tmp_path):
    out = tmp_path / "water.tif"
    with begin(out) as work:
        store(work, [3, 1])
        work.keep()
        store(work, [5])
    with begin(out) as work:
        assert work.done == {1, 3}
        store(work, [0])
        work.keep()
    assert (beside(out) / "ledger").read_text() == "1\n3\n0\n"


def test_a_torn_line_is_not_believed(tmp_path):
    out = tmp_path / "water.tif"
    with begin(out) as work:
        store(work, [0, 1])
        work.keep()
    with (beside(out) / "ledger").open("a") as file:
        file.write("1")  # of 12, say
    with begin(out) as work:
        assert work.done == {0, 1}
        store(work, [2])
        work.keep()
    with begin(out) as work:
        assert {0, 1, 2} <= work.done <= set(range(len(PARTS)))


def test_another_commands_work_is_not_touched(tmp_path):
    out = tmp_path / "water.tif"
    with begin(out) as work:
        store(work, range(len(PARTS)))
        work.keep()
    with pytest.raises(UserError, match=r"unfinished work of a command with another scene: .*--overwrite"):
        begin(out, {"scene": "b"})
    with begin(out) as work:
        assert len(work.done) == len(PARTS)
    with begin(out, {"scene": "b"}, anew=True) as work:
        assert not work.done
    with begin(out, {"scene": "b"}) as work:
        assert not work.done


@pytest.mark.long
def test_two_programs_do_not_write_one_result(tmp_path):
    out = tmp_path / "water.tif"
    program = f"from test_unfinished import begin; from pathlib import Path; begin(Path({str(out)!r}))"
    words = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": f"{ROOT}/tests/rasters:{ROOT}/tests", "PATH": ""}
    with begin(out):
        other = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert "is being written by another program" in other.stderr
    assert subprocess.run(words, capture_output=True, env=environment, cwd=tmp_path, check=False).returncode == 0


def test_the_mask_is_above_the_threshold(tmp_path):
    picture = PICTURE.copy()
    picture[3, 4], picture[5:9, 6:20] = 0.25, np.nan
    with begin(tmp_path / "water.tif") as work:
        for number, (row, column, height, width) in enumerate(PARTS):
            work.store(number, picture[row : row + height, column : column + width])
        tally = write_mask(work, 0.25, tmp_path / "mask.raw")
        assert np.array_equal(np.concatenate(list(strips(work))), picture, equal_nan=True)
    mask = np.fromfile(tmp_path / "mask.raw", np.uint8).reshape(SHAPE)
    assert mask[3, 4] == 0
    assert (mask == 255).sum() == tally.unknown == 4 * 14
    assert np.array_equal(mask == 1, picture > 0.25)
    assert (tally.water, tally.land) == ((mask == 1).sum(), (mask == 0).sum())


def test_a_result_takes_its_name_whole(tmp_path):
    (tmp_path / "made").write_text("new")
    (tmp_path / "final").write_text("old")
    publish(tmp_path / "made", tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final").read_text() == "new"
