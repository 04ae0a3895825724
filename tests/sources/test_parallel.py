"""Work shared by processes: order, errors, and processes that end by force."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from waiting import alive, until

from waterscape.errors import UserError
from waterscape.sources.parallel import FEW, Workers, progress


def test_results_come_in_the_items_order_and_the_processes_serve_again():
    items = [number * 37 % 1009 for number in range(3 * FEW)]
    with Workers(2) as workers:
        assert list(workers.in_order(math.sqrt, items)) == [math.sqrt(item) for item in items]
        assert list(workers.in_order(math.floor, items)) == items


@pytest.mark.parametrize("threads", [0, 1, 2, None])
def test_a_few_workers_are_threads_of_this_process(threads):
    def here(number):
        return number, os.getpid()

    items = list(range(3 * FEW))
    with Workers(2) as workers:
        if threads in (0, 1):  # a function within another is no use to other processes
            with pytest.raises(AttributeError, match="pickle"):
                list(workers.in_order(here, items, threads=threads))
        else:
            assert list(workers.in_order(here, items, threads=threads)) == [(item, os.getpid()) for item in items]


def test_what_the_function_raises_comes_through():
    with Workers(2) as workers, pytest.raises(ValueError, match="math domain"):
        list(workers.in_order(math.sqrt, [-1] * (FEW + 1)))


def test_a_process_that_is_ended_by_force_is_told():
    with Workers(2) as workers, pytest.raises(UserError, match="ended by force"):
        list(workers.in_order(os._exit, [9] * (FEW + 1)))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import os, time\n"
        "from waterscape.sources.parallel import Workers\n"
        "if __name__ == '__main__':\n"
        "    with Workers(2) as workers:\n"
        "        print(next(workers.in_order(os.path.abspath, ['/'] * 200)), flush=True)\n"
        "        print(*workers._pool._processes, flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "program.py").write_text(code)
    with subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "/\n"
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
    until(lambda: not any(alive(child) for child in children))


def test_no_process_at_all_is_refused():
    with pytest.raises(UserError, match="--processes is 0"):
        Workers(0)


def test_progress_passes_on_and_says_how_far_it_is(monkeypatch, capsys):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("waterscape.sources.parallel.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    assert list(progress(range(7), 7, "packing")) == list(range(7))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("packing: 3 of 7 tiles, ")
    assert len(lines) == 2
