"""One owner for each directory: real processes race for it, die holding it, and are overtaken by a newer restart."""

import json
import signal
import subprocess
import sys
import time

import pytest
from programs import ROOT

from waterscape.errors import UserError
from waterscape.training.owner import OutdatedError, Owner

CLAIM = """
import sys, time
from pathlib import Path
from waterscape.errors import UserError
from waterscape.training.owner import Owner
out, moment = Path(sys.argv[1]), float(sys.argv[2])
while time.time() < moment: pass
try:
    owner = Owner.claim(out)
except UserError as error:
    print(error, flush=True)
    sys.exit(1)
print("owner", owner.number, flush=True)
sys.stdin.read()
try:
    with owner.fence():
        (out / "published").write_text(str(owner.number))
except UserError as error:
    print(error, flush=True)
    sys.exit(1)
owner.leave()
"""


def claim(out, moment=0.0, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(out), str(moment)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("races", [4, pytest.param(20, marks=pytest.mark.long)])
def test_each_race_has_one_winner(races, tmp_path):
    for race in range(races):
        moment = time.time() + 0.3
        runners = [claim(tmp_path, moment) for _ in range(4)]
        lines = [runner.stdout.readline() for runner in runners]
        winners = [runner for runner, line in zip(runners, lines, strict=True) if line.startswith("owner")]
        assert len(winners) == 1, lines
        assert lines[runners.index(winners[0])] == f"owner {race + 1}\n"
        refusals = [line for line in lines if not line.startswith("owner")]
        assert all(
            f"process {winners[0].pid} on " in line and "end it or give another --out" in line for line in refusals
        )
        if race % 2:  # leaves by itself, or dies and leaves its place behind
            winners[0].communicate()
        else:
            winners[0].kill()
        for runner in runners:
            runner.communicate()
    assert json.loads((tmp_path / "owner.json").read_text())["number"] == races


def test_a_newer_restart_of_the_same_job_takes_over_and_the_old_one_publishes_nothing(tmp_path):
    old = claim(tmp_path, SLURM_JOB_ID="17", SLURM_RESTART_COUNT="0")
    assert old.stdout.readline() == "owner 1\n"
    other = claim(tmp_path, SLURM_JOB_ID="18", SLURM_RESTART_COUNT="1")
    told, _ = other.communicate()
    assert "SLURM job 17, restart 0" in told
    twin = claim(tmp_path, SLURM_JOB_ID="17", SLURM_RESTART_COUNT="0")
    assert "is in use" in twin.communicate()[0]
    new = claim(tmp_path, SLURM_JOB_ID="17", SLURM_RESTART_COUNT="1")
    assert new.stdout.readline() == "owner 2\n"
    told, _ = old.communicate()
    assert old.returncode == 1
    assert "was taken over" in told
    assert "restart 1" in told
    assert not (tmp_path / "published").exists()
    late = claim(tmp_path, SLURM_JOB_ID="17", SLURM_RESTART_COUNT="0")
    assert "is in use" in late.communicate()[0], "an earlier restart does not take it back"
    new.communicate()
    assert (tmp_path / "published").read_text() == "2"


def test_an_owner_on_another_machine_counts_as_alive_until_it_left(tmp_path):
    there = claim(tmp_path)
    there.stdout.readline()
    there.kill()
    there.communicate()
    facts = json.loads((tmp_path / "owner.json").read_text())
    elsewhere = {**facts, "host": "elsewhere", "boot": "another"}
    (tmp_path / "owner.json").write_text(json.dumps(elsewhere))
    with pytest.raises(UserError, match=r"on elsewhere .*remove .*owner.json if that machine or process is gone"):
        Owner.claim(tmp_path)
    (tmp_path / "owner.json").write_text(json.dumps({**elsewhere, "left": True}))
    Owner.claim(tmp_path).leave()


def test_an_owner_stopped_for_a_while_is_still_the_owner(tmp_path):
    stopped = claim(tmp_path)
    stopped.stdout.readline()
    stopped.send_signal(signal.SIGSTOP)
    with pytest.raises(UserError, match="is in use"):
        Owner.claim(tmp_path)
    stopped.send_signal(signal.SIGCONT)
    stopped.communicate()
    assert stopped.returncode == 0


def test_whoever_lost_the_directory_finds_out_at_the_fence(tmp_path):
    owner = Owner.claim(tmp_path)
    with owner.fence():
        pass
    (tmp_path / "owner.json").unlink()
    with pytest.raises(OutdatedError, match="taken over"), owner.fence():
        pass
    owner.leave()


def test_a_damaged_owner_file_is_named(tmp_path):
    (tmp_path / "owner.json").write_text("{")
    with pytest.raises(UserError, match=r"owner.json is damaged; remove it"):
        Owner.claim(tmp_path)
