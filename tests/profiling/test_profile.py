"""A step's anatomy, its least time by the roofline, and its trace."""

import dataclasses
import gzip
import json
import math
import time

import pytest
import torch
from cxx import need_cxx
from PIL import Image
from programs import finish, run, start

from waterscape import models
from waterscape.errors import UserError
from waterscape.profiling import measuring, ways
from waterscape.profiling.afresh import compiling_afresh
from waterscape.profiling.anatomy import Anatomy, Seconds, hearing, part_of
from waterscape.profiling.roofline import Counting, Rates, Work, measure_rates
from waterscape.profiling.stepper import Stepper
from waterscape.profiling.trace import Busy, device_busy
from waterscape.proof.made_set import write_made_set
from waterscape.training.descending import descend
from waterscape.training.processes import Processes
from waterscape.training.pulse import pulse
from waterscape.training.run import Run

RATES = Rates(1e9, (1 << 10, 1 << 20), (1e8, 1e8))
CPU = torch.device("cpu")


def test_time_counts_for_the_part_that_was_begun():
    anatomy = Anatomy(CPU)
    with hearing(anatomy):
        pulse.doing("reading")
        time.sleep(0.02)
        pulse.doing("loss of first")
        with pulse.waiting("all_reduce of a layer"):
            time.sleep(0.04)
        until = time.process_time() + 0.03
        while time.process_time() < until:
            pass
        pulse.doing("average")
        anatomy.end_step()
    pulse.doing("reading")  # nobody listens any more
    (step,) = anatomy.steps
    assert set(step) >= {"data", "forward", "all-reduce", "average"}
    assert step["data"].wall >= 0.02
    assert step["all-reduce"].wall >= 0.04
    assert step["all-reduce"].processor < 0.02
    assert step["forward"].processor >= 0.03
    assert step["forward"].wall >= 0.03


@pytest.mark.parametrize(
    ("mark", "part"),
    [
        ("backward of bound", "backward"),
        ("all_reduce of the gradients of encoder", "all-reduce"),
        ("all_reduce of a sum", "deciding"),
        ("picture and held-out samples", "other"),
    ],
)
def test_marks_are_parts(mark, part):
    assert part_of(mark) == part


def test_work_is_counted_forward_and_backward():
    one, other = torch.randn(30, 40, requires_grad=True), torch.randn(40, 50)
    counting = Counting(RATES)
    with counting:
        counting.tell("loss of first")
        made = (one @ other).t().t()  # views are no work
        counting.tell("backward of first")
        made.backward(torch.ones(30, 50))
    forward, backward = counting.parts["forward"], counting.parts["backward"]
    assert (forward.operations, forward.flops) == (1, 2 * 30 * 40 * 50)
    assert forward.bytes == 4 * (30 * 40 + 40 * 50 + 30 * 50)
    assert forward.least == pytest.approx(max(forward.flops / 1e9, forward.bytes / 1e8))
    assert backward.flops == 2 * 30 * 40 * 50  # the other one needs no gradient


def test_what_was_expanded_is_read_once():
    counting = Counting(RATES)
    with counting:
        torch.ones(1, 8).expand(1000, 8).sum()
    assert counting.parts["other"].bytes < 1000


def test_convolutions_have_a_rate_of_their_own_where_they_are_rounded():
    def least(rates):
        counting = Counting(rates)
        with counting:
            counting.tell("loss of first")
            torch.conv2d(torch.ones(1, 64, 32, 32), torch.ones(64, 64, 3, 3))
            counting.tell("backward of first")
            torch.ones(200, 200) @ torch.ones(200, 200)
        return [counting.parts[part].least for part in ("forward", "backward")]

    slow = Rates(1e6, (1 << 10, 1 << 20), (1e12, 1e12))
    (convolution, product), (rounded, same) = least(slow), least(dataclasses.replace(slow, convolved=4e6))
    assert (rounded, same) == (pytest.approx(convolution / 4), product)


def test_where_the_compiler_gives_up_it_is_told():
    made = torch.compile(lambda value: value + 1, dynamic=False, backend="eager")
    for first in (1, 6, 11):  # what was compiled before the block counts for nothing
        with compiling_afresh():
            for size in range(first, first + 5):
                made(torch.ones(size))

    def compile_many():
        with compiling_afresh():
            for size in range(1, 100):
                made(torch.ones(size))

    with pytest.raises(UserError, match=r"torch\.compile gives up: more than \d+ kinds"):
        compile_many()


def test_rates_are_the_machines():
    rates = measure_rates(CPU, torch.float32)
    assert 1e8 < rates.flops < 1e14
    assert all(1e7 < rate < 1e13 for rate in rates.bytes_a_second)
    assert rates.seconds(rates.flops, 0) == pytest.approx(1)
    assert rates.seconds(0, rates.bytes_a_second[-1] * 1e3) == pytest.approx(1e3, rel=0.01)


def test_a_phase_of_every_second_step_counts_with_half_its_time():
    anatomy = Anatomy(CPU)
    lazy = [{"forward": Seconds(2.0, 1.0)}, {"forward": Seconds(6.0, 3.0), "backward": Seconds(4.0, 2.0)}]
    anatomy.steps = lazy * 3
    assert anatomy.usual(2) == {"forward": Seconds(4.0, 2.0), "backward": Seconds(2.0, 1.0)}
    assert Work(8, 4.0, 2.0, 1.0).share(2) == Work(4, 2.0, 1.0, 0.5)


def test_a_device_is_busy_where_its_work_overlaps_or_not(tmp_path):
    def event(name, start, stop, category):
        return {"ph": "X", "name": name, "ts": start, "dur": stop - start, "cat": category}

    path = tmp_path / "trace.json.gz"
    events = [event("step 0", 0, 50, "user_annotation"), event("aten::add", 0, 40, "cpu_op")]

    def busy(*work):
        with gzip.open(path, "wt") as file:
            json.dump({"traceEvents": [*events, *work]}, file)
        return device_busy(path)

    assert busy() is None
    kernels = [event("a", 10, 30, "kernel"), event("b", 20, 40, "kernel"), event("c", 60, 110, "kernel")]
    copies = [event("d", 35, 45, "gpu_memcpy"), event("e", 100, 120, "gpu_memset")]
    assert busy(*kernels) == pytest.approx((80 / 100, 0))
    assert busy(*kernels, *copies) == pytest.approx(Busy(kernels=80 / 110, copies=30 / 110))


def test_a_profile_is_a_table_a_picture_and_a_trace(tmp_path, capfd):
    out = tmp_path / "profile"
    run("profile", "water_vae", "--steps", 3, "--batch", 4, "--threads", 1, "--out", out)
    told = capfd.readouterr().out
    assert "on a SYNTHETIC set made for this" in told
    for part in ("data", "copy", "forward", "backward", "guard", "optimizer", "average", "logging"):
        assert f"| {part} | " in told
    found = json.loads((out / "profile.json").read_text())
    parts = {part["name"]: part for part in found["parts"]}
    assert found["images_per_second"] == pytest.approx(4 / found["seconds"])
    assert parts["backward"]["flops"] > parts["forward"]["flops"] > 0 == parts["optimizer"]["flops"]
    assert all(math.isfinite(part["least"]) for part in parts.values())
    with Image.open(out / "profile.png") as picture:
        assert picture.size[0] > 600
    with gzip.open(out / "trace.json.gz", "rt") as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    assert names.count("loss of bound") >= 3
    assert "aten::convolution" in names
    assert pulse.heard is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["water_vae", "--steps", "0"], "give 1 or more"),
        (["water_vae", "--seconds", "0"], "give more than none"),
        (["all", "--ways"], "measure them of one"),
        (["nothing"], "there is no model 'nothing'"),
        ([], "say what to profile"),
        (["water_vae", "--data", "/nowhere"], "nowhere"),
        (["all", "--data", "/nowhere"], "cannot read the set: .*nowhere"),
    ],
)
def test_mistakes_are_told(words, told):
    with pytest.raises((UserError, OSError), match=told):
        run("profile", *words)


@pytest.mark.long
def test_no_round_is_begun_after_the_time_that_was_given(tmp_path, monkeypatch):
    class Slowing(Stepper):
        taken = 0

        def step(self):
            self.taken += 1
            time.sleep(0.25 * (self.taken > measuring.WARM))
            return super().step()

    monkeypatch.setattr(measuring, "Stepper", Slowing)
    run("profile", "water_vae", "--steps", 40, "--seconds", 0.6, "--batch", 4, "--threads", 1, "--out", tmp_path)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert 1 <= found["steps"] <= 3
    assert found["images_per_second"] < 4 / 0.25


def test_images_a_second_are_those_of_steps_without_marks(tmp_path, monkeypatch):
    class SlowWhereHeard(Stepper):
        def step(self):
            time.sleep(0.2 * (pulse.heard is not None))
            return super().step()

    monkeypatch.setattr(measuring, "Stepper", SlowWhereHeard)
    run("profile", "water_vae", "--steps", 2, "--batch", 4, "--threads", 1, "--out", tmp_path)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert sum(part["wall"] for part in found["parts"]) > found["seconds"] + 0.1


@pytest.fixture
def vae(tmp_path):
    """Recipe, run and processes of a small training in one thread."""
    recipe = models.presets("water_vae")["recommended"]
    data = write_made_set(tmp_path / "set", recipe.inputs().values(), 16)
    return recipe, Run(out=tmp_path, data=str(data), batch=4, ahead="no"), Processes(None, "float32", tmp_path)


def test_ways_for_a_gpu_can_be_taken_though_they_gain_nothing_here(vae, tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "TURNS", 1)
    monkeypatch.setattr(ways, "TURN_SECONDS", 0.0)
    tried = [way for way in ways.ways_of(vae[0]) if way.device and not way.both]
    assert len(tried) == 3
    for way in tried:
        assert ways._measure(way, *vae, tmp_path / way.name).apart == 0


@pytest.mark.parametrize(("alter", "guarded"), [(None, True), (ways._unfuse_with_guard, True), (ways._unfuse, False)])
def test_what_fused_optimizers_are_measured_against(vae, tmp_path, alter, guarded):
    with Stepper(*vae, tmp_path / "run", alter) as stepper:
        stepper.step()
        optimizer = stepper.learner.optimizers["encoder"]
        fused = [group["fused"] for group in optimizer.param_groups]
        before = [p.clone() for p in stepper.learner.networks["encoder"].parameters()]
        descend(optimizer, torch.tensor(False))
        same = all(map(torch.equal, before, stepper.learner.networks["encoder"].parameters()))
    assert fused == [alter is None]
    assert same == guarded


@pytest.mark.long
def test_two_processes_tell_how_long_they_wait_for_one_another(tmp_path):
    out = tmp_path / "profile"
    told = finish(start(2, "profile", "water_vae", "--steps", 3, "--batch", 4, "--out", out))
    assert "batch of 4 on 2 processes, each on 1 thread, float32" in told
    parts = {part["name"]: part for part in json.loads((out / "profile.json").read_text())["parts"]}
    assert 0 < parts["all-reduce"]["wall"] < sum(part["wall"] for part in parts.values())
    with gzip.open(out / "trace.json.gz", "rt") as file:
        assert any("all_reduce" in event.get("name", "") for event in json.load(file)["traceEvents"])
    assert told.count("# A step of water_vae:recommended") == 1  # the first one speaks


TWO_NODES = """
import os, platform, sys
from pathlib import Path
rank = os.environ["RANK"]
os.environ["LOCAL_RANK"] = "0"
platform.node = lambda: f"node{rank}"
from waterscape import models
from waterscape.profiling.measuring import made_data
from waterscape.training.processes import Processes
from waterscape.training.run import Run
out = Path(sys.argv[1])
processes = Processes(2, "float32", out)
made_data(models.presets("water_vae")["reference"], Run(out=out, batch=4), out / rank, processes)
processes.close()
"""

ONE_WITHOUT_MEMORY = """
import os
from waterscape import models
from waterscape.__main__ import main
from waterscape.data import resident
models.names = lambda: ("pixel_cnn", "water_vae")
if os.environ["RANK"] == "1":
    resident.KEPT_FREE = 1.0
main()
"""


def script(path, text):
    path.write_text(text)
    return {"program": [path]}


@pytest.mark.long
def test_each_node_has_the_same_synthetic_set(tmp_path):
    finish(start(2, tmp_path, **script(tmp_path / "two_nodes.py", TWO_NODES)))
    one, other = (sorted((tmp_path / rank / "made").rglob("*")) for rank in "01")
    assert [path.name for path in one] == [path.name for path in other]
    assert sum(path.suffix == ".tar" for path in one) > 1
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, other, strict=True) if a.is_file())


@pytest.mark.long
def test_what_one_process_cannot_do_is_told_by_all(tmp_path):
    words = ["profile", "all", "--cache", "host", "--steps", 1, "--batch", 2, "--out", tmp_path / "profiles"]
    process = start(2, *words, **script(tmp_path / "one_without_memory.py", ONE_WITHOUT_MEMORY))
    told = process.communicate(timeout=240)[0]
    assert process.returncode != 0
    for model in ("pixel_cnn", "water_vae"):
        assert f"{model}:recommended: cannot read the samples: another process could not" in told
    assert "no model could be measured" in told


@pytest.mark.long
def test_all_models_stand_in_one_table(tmp_path, capfd):
    run("profile", "all", "--steps", 1, "--seconds", 0.1, "--batch", 2, "--threads", 1, "--out", tmp_path)
    page = (tmp_path / "profiles.md").read_text()
    assert capfd.readouterr().out.count(page) == 1
    header, _, *rows = [line for line in page.splitlines() if line.startswith("| ")]
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    assert columns[:3] == ["model", "images/s", "ms a step"]
    assert columns[3:9] == ["data", "copy", "forward", "backward", "guard", "optimizer"]
    assert len({len(row) for row in (header, *rows)}) == 1  # they stand below one another
    table = {row.split("|")[1].strip(): row.split("|") for row in rows}
    wanting = {name for name in models.names() if models.presets(name)[models.DEFAULT_PRESET].wants()}
    assert set(table) == set(models.names()) - wanting
    for model, cells in table.items():
        found = json.loads((tmp_path / f"{model}-recommended" / "profile.json").read_text())
        assert float(cells[3].replace(",", "")) == pytest.approx(2e3 / found["images_per_second"], rel=0.01, abs=0.01)
        assert (tmp_path / f"{model}-recommended" / "trace.json.gz").stat().st_size > 1000


@pytest.mark.long
def test_ways_are_measured_with_and_without(tmp_path, monkeypatch):
    need_cxx()
    monkeypatch.setattr(ways, "TURNS", 2)
    monkeypatch.setattr(ways, "TURN_SECONDS", 0.0)
    out = tmp_path / "profile"
    run("profile", "water_vae", "--steps", 1, "--batch", 2, "--threads", 1, "--out", out, "--ways")
    rows = {row["name"]: row for row in json.loads((out / "profile.json").read_text())["ways"]}
    assert {"bfloat16", "channels last", "compile encoder", "foreach averages", "cache host"} <= set(rows)
    for_gpu = {way.name for way in ways.ways_of(models.presets("water_vae")["recommended"]) if way.device}
    assert {name for name, row in rows.items() if row["failed"].startswith("left out, it is for a GPU: ")} == for_gpu
    assert not any(row["failed"] for name, row in rows.items() if name not in for_gpu)
    bitwise = {name for name, row in rows.items() if row["apart"] == 0}
    assert {"losses read late", "cache host", "copied ahead"} <= bitwise
    assert rows["compile encoder"]["apart"] < 1e-4
    assert rows["channels last"]["apart"] < 1e-4
    assert 1e-4 < rows["bfloat16"]["apart"] < 0.3
