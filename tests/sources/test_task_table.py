"""How tasks are shown: in place on a terminal, a line a change elsewhere."""

from __future__ import annotations

import io

import pytest

from waterscape.errors import UserError
from waterscape.pages.occurrence_tasks import tell_end
from waterscape.sources.server_tasks.table import ROWS, LiveTable, table
from waterscape.sources.server_tasks.task_list import Task


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_runs_and_what_failed_stand_before_what_waits():
    tasks = [Task(f"waits{number}", "", "PENDING") for number in range(ROWS + 5)]
    tasks += [
        Task("fails", "", "FAILED", attempt=3, reason="Internal error."),
        Task("runs", "", "RUNNING", progress=0.5),
    ]
    tasks += [Task("done", "", "SUCCEEDED")]
    head, first, second, *_ = lines = table(tasks, 120)
    assert head == f"1 of {len(tasks)} tasks done, 1 running, 1 failed, {ROWS + 5} pending; 2 min"
    assert first.split() == ["runs", "running", "██████······", "50%"]
    assert lines[-1] == f"  … and {ROWS + 7 - ROWS} more"
    assert second.split() == ["fails", "failed", "attempt", "3", "Internal", "error."]


def test_a_terminal_is_drawn_over_and_a_log_gets_a_line_a_change():
    tasks = [Task("one", "", "RUNNING"), Task("other", "", "PENDING")]
    screen, log = Terminal(), io.StringIO()
    on_screen, in_log = LiveTable(tasks, screen), LiveTable(tasks, log)
    for state in ("RUNNING", "SUCCEEDED"):
        tasks[0].state = state
        on_screen.show(tasks[0])
        in_log.show(tasks[0])
        on_screen.show()
        in_log.show()
    assert screen.getvalue().count("\x1b[3F\x1b[J") == 2  # what was drawn had three lines
    assert screen.getvalue().rstrip().endswith("other                        pending")
    assert log.getvalue().splitlines() == ["one running ············ 0%", "one succeeded"]


def test_tasks_that_nobody_knows_are_counted_apart_from_those_that_failed(capsys):
    states = ("SUCCEEDED", "FAILED", "CANCELLED", "FORGOTTEN")
    tasks = [Task(state.lower(), "", state, reason="why") for state in states]
    with pytest.raises(UserError) as told:
        tell_end(tasks)
    assert capsys.readouterr().out == "1 of 4 tasks done, 2 failed, 1 unknown\n"
    again, look = str(told.value).split("; the same command starts them again, and no other; ")
    assert again == "2 tasks failed"
    assert look == "1 tasks are unknown: look whether their files are there, then --again forgotten"
    with pytest.raises(UserError) as told:
        tell_end(tasks[::3])
    assert str(told.value) == look
    tell_end(tasks[:1])
