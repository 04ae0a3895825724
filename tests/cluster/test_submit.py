"""`waterscape submit`, `sweep`, `jobs`, `doctor`: what is submitted, and what is told."""

import dataclasses
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import ROOT, run_program

from waterscape.__main__ import dispatch
from waterscape.cluster.job import Job
from waterscape.cluster.listing import Jobs, list_jobs
from waterscape.cluster.submit import Allocation, minutes
from waterscape.cluster.sweep import combinations, ranked
from waterscape.errors import UserError
from waterscape.training.events import Events
from waterscape.training.outcome import Outcome
from waterscape.training.run import Run

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("12:00:00", 720), ("30:00", 30), ("0:20", 1), ("1-12", 2160), ("1-00:30", 1470), ("2-0:0:1", 2881)],
)
def test_time_limits_are_slurms(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nodes": 0}, "--nodes is 0; give 1 or more"),
        ({"time": "soon"}, "--time soon is no time limit"),
        ({"time": "2:00"}, "--signal-seconds 180 is not within --time 2:00"),
        ({"sbatch": ("exclusive",)}, "--sbatch exclusive is not NAME=VALUE"),
        ({"after": ("vae",)}, "--after vae is no number of a job"),
    ],
)
def test_what_cannot_be_is_told(options, told):
    with pytest.raises(UserError, match=told):
        Allocation(**options).check()


def test_a_rank_per_gpu_unless_stated():
    assert [Allocation().tasks, Allocation(gpus_per_node=4).tasks] == [1, 4]
    assert Allocation(gpus_per_node=4, tasks_per_node=2).tasks == 2


def test_no_option_of_an_allocation_is_one_of_trains():
    assert not {f.name for f in dataclasses.fields(Allocation)} & {f.name for f in dataclasses.fields(Run)}


def test_a_job_holds_its_words_and_nothing_else():
    job = Job(("train", "water_vae", "--out", "runs/vae"), "runs/vae")
    assert pickle.loads(pickle.dumps(job)) == job
    assert vars(job) == {"words": job.words, "out": job.out}


def test_grids():
    assert list(combinations(["lr=1e-4,3e-4", "batch=32"])) == [
        ("lr=1e-4,batch=32", ["--learning-rate", "1e-4", "--batch", "32"]),
        ("lr=3e-4,batch=32", ["--learning-rate", "3e-4", "--batch", "32"]),
    ]
    for words in (["lr"], ["lr=1,"], ["=1"], ["batch=1", "batch=2"]):
        with pytest.raises(UserError, match="--grid"):
            list(combinations(words))


def test_a_sweep_is_ranked_by_the_newest_figure(tmp_path):
    for name, errors in {"a": [1.0, 5.0], "b": [9.0, 2.0], "c": []}.items():
        (tmp_path / name).mkdir()
        events = Events(tmp_path / name, 0)
        for images, error in enumerate(errors, 1):
            events.write("picture", images, measured={"squared error": error, "other": -error})
        events.close()
    Outcome("done", "2 images").write(tmp_path / "b")
    outs = [tmp_path / name for name in "abc"]
    assert [line.split()[0] for line in ranked(outs)[1:]] == ["b", "a", "c"]
    assert [line.split()[0] for line in ranked(outs, "other")[1:]] == ["a", "b", "c"]
    assert ranked(outs)[1].split() == ["b", "2", "2", "done"]
    with pytest.raises(UserError, match="--rank-by speed: the runs have measured squared error, other"):
        ranked(outs, "speed")


def test_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no run in"):
        list_jobs(Jobs(tmp_path))


@pytest.fixture(scope="module")
def without_slurm(tmp_path_factory):
    """A search path on which SLURM is not to be found."""
    directory = tmp_path_factory.mktemp("bin")
    for program in ("git", "bash", "sh"):
        found = subprocess.run(["which", program], capture_output=True, text=True, check=False).stdout.strip()
        if found:
            (directory / program).symlink_to(found)
    return str(directory)


def small(tiles, out):
    widths = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--images", 320, "--batch", 32]
    return ["--data", tiles, "--out", out, *widths, "--held-out", 16, "--no-tensorboard"]


def test_a_mistake_is_told_before_a_job_waits_with_it(tiles, tmp_path, without_slurm, monkeypatch):
    monkeypatch.setenv("PATH", without_slurm)
    words = ["submit", "water_vae", *map(str, small(tiles, tmp_path))]
    for more, told in {
        ("--learnin-rate", "1"): r"has no option --learnin-rate \(did you mean --learning-rate",
        ("--nodes", "2"): r"--nodes 2, but there is no SLURM here \(no sbatch\): give --nodes 1",
        ("--processes", "3"): "--processes 3, but --nodes and --tasks-per-node make 1 ranks",
        ("--start", "vae=x"): "this model starts from: none; given: vae",
    }.items():
        with pytest.raises(UserError, match=told):
            dispatch([*words, *more])
    with pytest.raises(UserError, match="say what to train: waterscape submit MODEL"):
        dispatch(["submit"])


def test_the_batch_script(tiles, tmp_path, monkeypatch, capsys):
    """What would be submitted, where SLURM's programs are found (they are not run)."""
    for program in ("sbatch", "srun"):
        (tmp_path / program).write_text("")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ["submit", "water_vae:reference", "--data", tiles, "--out", tmp_path / "vae", "--dry-run"]
    words += ["--nodes", 2, "--gpus-per-node", 4, "--partition", "gpu", "--after", 17, "--image", "waterscape.sif"]
    assert dispatch([*map(str, words), "--sbatch", "account=geo"]) == 0
    text = capsys.readouterr().out.replace(sys.executable, "PYTHON").replace(str(ROOT), "CHECKOUT")
    text = text.replace(str(tmp_path), "HERE").replace(str(tiles), "TILES")
    if os.environ.get("WATERSCAPE_WRITE_GOLDEN"):
        (GOLDEN / "submit.txt").write_text(text)
    assert text == (GOLDEN / "submit.txt").read_text()
    assert not (tmp_path / "vae").exists()


@pytest.mark.long
def test_without_slurm_a_job_runs_on_this_machine(tiles, tmp_path, without_slurm):
    out = tmp_path / "vae"
    words = ["-m", "waterscape", "submit", "water_vae", *small(tiles, out), "--tasks-per-node", 2]
    environment = {"PATH": without_slurm, "ACCELERATE_USE_CPU": "true"}
    done = run_program(*words, **environment)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 280
    while not (out / "outcome").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (out / "outcome").read_text().startswith("done"), [p.read_text() for p in (out / "jobs").glob("*.out")]
    told = run_program("-m", "waterscape", "jobs", tmp_path, "--tail", 1, **environment).stdout
    assert re.search(r"vae +\d+ done +320 of 320", told)
    assert len(re.findall(r"\d+_[01]_log.out:", told)) == 2


@pytest.mark.long
@pytest.mark.timeout(900)
class TestOnSlurm:
    """On three virtual nodes."""

    @pytest.fixture
    def waterscape(self, slurm):
        """Run `waterscape …` where SLURM is; its output."""
        return lambda *words: slurm.client(sys.executable, "-m", "waterscape", *words)

    def test_stopped_before_its_limit_it_goes_on_after_the_one_it_waits_for(self, slurm, waterscape, tiles, tmp_path):
        """A limit of one minute, which submitit's own handler misjudges; two jobs, the second --after the first."""
        shape, short = ["--nodes", 2, "--cpus-per-task", 1], ["--time", 1, "--signal-seconds", 40]
        first = tmp_path / "first"
        slow = ["--picture-every", 32, "--checkpoint-every", 32]
        told = waterscape("submit", "water_vae", *small(tiles, first), "--images", 1600, *slow, *shape, *short)
        number = re.match(r"job (\d+):", told)[1]
        more = [*small(tiles, tmp_path / "second"), *shape, "--after", number]
        second = re.match(r"job (\d+):", waterscape("submit", "water_vae", *more))[1]
        assert re.search(rf"second +{second} pending", waterscape("jobs", tmp_path))
        slurm.restarted(number)
        logs = (first / "jobs").glob("*_log.out")
        assert slurm.ended(second) == "COMPLETED", [path.read_text() for path in logs]
        assert slurm.facts(number)["JobState"] == "COMPLETED"
        assert (first / "outcome").read_text().startswith("done")

    def test_a_sweep_is_an_array_with_a_table(self, slurm, waterscape, tiles, tmp_path):
        words = ["sweep", "water_vae", "--grid", "lr=1e-3,1e-6", *small(tiles, tmp_path), "--cpus-per-task", 1]
        told = waterscape(*words)
        numbers = re.findall(r"job (\d+_[01]):", told)
        assert len(numbers) == 2
        for number in numbers:
            assert slurm.ended(number) == "COMPLETED"
        table = waterscape(*words, "--table").splitlines()
        assert {line.split()[0] for line in table[1:]} == {"lr=1e-3", "lr=1e-6"}
        figures = [float(line.split()[-3]) for line in table[1:]]
        assert figures == sorted(figures)
        assert [line.split()[-2:] for line in table[1:]] == [["320", "done"]] * 2
