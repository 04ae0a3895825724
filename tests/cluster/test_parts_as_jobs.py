"""`--submit N`: the parts of a tool as jobs, on a real SLURM and here; failed ones alone again, then joined."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from collected_pairs import collect
from programs import ROOT

from waterscape.cluster.array import USUAL_SUBMISSION, Submission
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.ledger_pairs import LedgerPairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_set import Sharing

SHARDS = ["--samples-per-shard", 2, "--processes", 1]
# A tool for a part of which something goes wrong the first time that it runs: `failing.py kill|complain`
FAILING = """
from __future__ import annotations
import os, pathlib, signal, sys
sys.path.insert(0, {tools!r})
seen = pathlib.Path({here!r}) / "seen"
if "--part" in sys.argv and sys.argv[sys.argv.index("--part") + 1].startswith("2/") and not seen.exists():
    seen.touch()
    if {how!r} == "kill":
        os.kill(os.getpid() if {alone!r} else os.getppid(), signal.SIGKILL)
    sys.exit("error: the disk is full")
source = pathlib.Path({tools!r}, "pack_pairs.py").read_text()
exec(compile(source.replace("from __future__ import annotations", ""), __file__, "exec"))
"""


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A ledger, and the hashes of the set that one process makes of it."""
    root = tmp_path_factory.mktemp("collected")
    path = collect(root)
    out = root / "alone" / "pairs"
    making.pack(LedgerPairs.find(path, out, None, Joining(sharing=Sharing(samples_per_shard=2))), out)
    return path, hashes(out)


def hashes(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def tool(collected, out, *words, program=ROOT / "tools" / "pack_pairs.py", **environment):
    """`pack_pairs.py --submit` as a process; its exit code, stdout and stderr."""
    words = [program, "--ledger", collected[0], "--out", out, *SHARDS, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def no_slurm(tmp_path):
    (tmp_path / "bin").mkdir()
    for program in ("bash", "sh"):
        (tmp_path / "bin" / program).symlink_to(f"/bin/{program}")
    return {"PATH": str(tmp_path / "bin")}


def failing(tmp_path, how, alone=True):
    """The tool, whose second part fails when it runs first."""
    program = tmp_path / "pack_pairs.py"
    program.write_text(FAILING.format(tools=str(ROOT / "tools"), here=str(tmp_path), how=how, alone=alone))
    return program


@pytest.mark.long
def test_without_slurm_parts_are_processes_of_this_machine(collected, tmp_path, no_slurm):
    out = collected[0].parent / "here" / "pairs"
    done = tool(collected, out, "--submit", 3, program=failing(tmp_path, "complain"), **no_slurm)
    assert done.returncode == 0, done.stderr
    assert "failed: 2; again, attempt 2: the disk is full" in done.stderr
    assert re.search(r"3 parts, 1 of them at a later attempt, and joined, in \d+ s, on this machine", done.stdout)
    assert "photos read                                   24" in done.stdout
    assert hashes(out) == collected[1]
    assert [path.name for path in out.parent.iterdir()] == ["pairs"], "parts, jobs and logs are gone"


@pytest.mark.long
def test_a_mistake_is_told_once_and_nothing_is_left_at_work(collected, tmp_path, no_slurm):
    done = tool(collected, tmp_path / "pairs", "--submit", 2, "--tiles", "mosaic:nowhere", **no_slurm)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "part 1, part 2 failed: of 24 photos none is left" in done.stderr
    words = [ROOT / "tools" / "pack_pairs.py", "--ledger", collected[0], "--out", tmp_path / "b", *SHARDS]
    process = subprocess.Popen(
        [sys.executable, *map(str, [*words, "--submit", 2])], env={**os.environ, **no_slurm}, cwd=ROOT
    )
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(process.pid).children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    _, alive = psutil.wait_procs(children, 20)
    assert not alive


def test_what_cannot_be_is_told():
    for options, told in (
        ({"submit": 0}, "--submit 0: give a number of parts from 1 to 9999"),
        ({"submit": 2, "attempts": 0}, "--attempts is 0"),
        ({"submit": 2, "sbatch": ("exclusive",)}, "is not NAME=VALUE"),
        ({"submit": 2, "time": "soon"}, "is no time limit"),
    ):
        with pytest.raises(UserError, match=told):
            Submission(**options).check()
    USUAL_SUBMISSION.check()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_on_slurm_parts_are_an_array_and_a_lost_one_runs_again_alone(slurm, collected, tmp_path):
    """The command is killed, and the job of part 2; the other jobs go on. Then the command runs again."""
    out = collected[0].parent / "there" / "pairs"
    environment = {**slurm.environment, "PYTHONPATH": str(ROOT / "tests")}
    words = [failing(tmp_path, "kill", alone=False), "--ledger", collected[0], "--out", out, *SHARDS]
    words += ["--submit", 4, "--cpus-per-task", 1, "--time", 10]
    command = [sys.executable, *map(str, words)]
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    record = out.with_suffix(".jobs") / "parts.json"
    deadline = time.monotonic() + 120
    while not record.exists():
        assert first.poll() is None, first.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        first.kill()
    first.wait()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    waited = int(re.search(r"(\d) parts of an earlier command are waited for", done.stderr)[1])
    if waited == 4:  # else its job was gone when the command came again, which submitted that part alone
        assert re.search(r"failed: 2; again, attempt 2: job \d+_\d+ left the queue without a result", done.stderr)
    assert waited >= 3
    assert (tmp_path / "seen").exists()
    assert re.search(r"4 parts(, 1 of them at a later attempt)?, and joined, in \d+ s, on SLURM", done.stdout)
    assert hashes(out) == collected[1]
    assert [path.name for path in out.parent.iterdir()] == ["pairs"]
