"""G1's script where there is no GPU: its checks, and that nothing is lost of what it found."""

import dataclasses
import json
import os
import shutil
import subprocess
import venv
from importlib import metadata

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from programs import ROOT

from benchmarks import g01_device
from benchmarks.device.checks import first_gradients, layers_on_the_device, near, on_the_processor, recommended
from benchmarks.device.report import Report
from benchmarks.device.views import as_numbers, time_views
from benchmarks.device.whole import TINY, WHOLE, Whole, time_whole, training_words, write_samples
from benchmarks.figure import Figure
from benchmarks.results import save, stamped
from waterscape import models
from waterscape.data.opening import open_samples
from waterscape.errors import UserError
from waterscape.proof.made_set import write_made_set
from waterscape.start import check_inputs, read_options
from waterscape.training.events import read_events
from waterscape.training.processes import Processes
from waterscape.training.run import Run

WRONG = """
from waterscape.models.water_vae import PRESETS as THEIRS


class Wrong(type(THEIRS["recommended"])):
    def phases(self):
        return 1 + "phase"


PRESETS = {"recommended": Wrong()}
"""


BARE = """
import sys
from pathlib import Path
from benchmarks.device.checks import layers_on_the_device
from benchmarks.device.report import Report
from benchmarks.device.whole import TINY, time_whole
from waterscape.training.run import Run
place = Path(sys.argv[1])
print(layers_on_the_device())
for model, tiny in TINY.items():
    print(time_whole(model, tiny, Run(out=place, batch=4), place, Report(place / "report")))
"""


def held(out):
    return json.loads((out / "g01.json").read_text())


def test_what_was_found_is_kept_at_once(tmp_path):
    report = Report(tmp_path)
    for value in (3.0, 5.0):
        report.add(Figure.over("G1", f"model {value:g}", [value, value + 1], ">=", 4))
        assert held(tmp_path)["figures"][-1]["value"] == value + 0.5
        assert f"model {value:g}" in (tmp_path / "g01.md").read_text()
    report.fail("a check", "it does\nnot hold")
    assert held(tmp_path)["failed"] == {"a check": "it does not hold"}
    assert [figure["name"] for figure in held(tmp_path)["figures"]] == ["model 3", "model 5"]
    report.keep_rates("model", {"plain": [3.0, 1.0], "fast": [8.0, 9.0]})
    assert held(tmp_path)["images a second"] == {"model": {"plain": [3, 1], "fast": [8, 9]}}
    assert "- model: plain 2, fast 8" in (tmp_path / "g01.md").read_text()


def test_another_call_leaves_what_an_earlier_one_found(tmp_path):
    for name in ("first", "second", "third"):
        Report(tmp_path).add(Figure("G1", name, 1.0, ">=", 4))
    for file, name in (("g01-1", "first"), ("g01-2", "second"), ("g01", "third")):
        assert [figure["name"] for figure in json.loads((tmp_path / f"{file}.json").read_text())["figures"]] == [name]
        assert f"| {name} | 1 |" in (tmp_path / f"{file}.md").read_text()


def test_rows_measured_together_are_kept_once(tmp_path):
    path, page = tmp_path / "results.json", shutil.copy(ROOT / "benchmarks" / "README.md", tmp_path)
    figures = [Figure("G1", "a model", 5.0, ">=", 4), Figure("G2", "views", 6.0, ">=", 5)]
    for _ in range(2):
        save(stamped(figures, {}), path, tmp_path / "README.md")
    save(stamped(figures[:1], {}), path, tmp_path / page)
    kept = json.loads(path.read_text())["figures"]
    assert [(one["row"], one["name"]) for one in kept] == [("G1", "a model"), ("G2", "views")]


def test_a_model_that_fails_does_not_end_the_others_and_none_is_begun_too_late(tmp_path):
    size = dataclasses.replace(g01_device.small(), models=("no_such_model", "none_such_either"))
    processes = Processes(None, "float32", tmp_path)
    report = Report(tmp_path)
    assert list(g01_device.measure_models(size, ("G1",), processes, tmp_path, report)) == []
    assert list(held(tmp_path)["failed"]) == ["no_such_model", "none_such_either"]
    late = dataclasses.replace(size, minutes=0)
    assert list(g01_device.measure_models(late, ("G1",), processes, tmp_path, report)) == []
    assert held(tmp_path)["left out"] == dict.fromkeys(size.models, "no time left of 0 minutes")


def test_no_kind_of_error_ends_what_comes_after(tmp_path, monkeypatch):
    (tmp_path / "wrong_model.py").write_text(WRONG)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    models.names.cache_clear()
    try:
        size = dataclasses.replace(g01_device.small(), models=("wrong_model", "water_vae"), compiled=0)
        processes, report = Processes(None, "float32", tmp_path), Report(tmp_path)
        figures = list(g01_device.measure_models(size, ("G1",), processes, tmp_path, report))
    finally:
        models.names.cache_clear()
    assert list(report.failed) == ["wrong_model"]
    assert report.failed["wrong_model"].startswith("TypeError: unsupported operand")
    assert [figure.name for figure in figures] == ["water_vae", "water_vae bfloat16"]
    assert [len(rates) for rates in held(tmp_path)["images a second"]["water_vae"].values()] == [size.turns] * 3


def test_views_that_fail_do_not_end_what_comes_after(tmp_path):
    report = Report(tmp_path)
    size = dataclasses.replace(g01_device.small(), workers=(-1,))
    assert list(g01_device.measure(size, ("G2",), report)) == []
    assert held(tmp_path)["failed"]["views"].startswith("ValueError: num_workers")


def test_layers_that_wait_in_vain_are_ended():
    with pytest.raises(subprocess.TimeoutExpired):
        layers_on_the_device(0.5)


def test_both_sides_of_the_views_end_with_the_same_on_the_device(tmp_path):
    rates = time_views(2, 8, (1, 2), 0.02, 2, torch.device("cpu"), Report(tmp_path))
    assert [len(side) for side in rates.values()] == [2, 2]
    assert all(rate > 0 for side in rates.values() for rate in side)
    assert held(tmp_path)["checks"]["views"].startswith("of 1, 2 workers, ")
    photos = torch.randint(0, 256, (2, 8, 6, 3), dtype=torch.uint8)
    numbers = as_numbers(photos, torch.device("cpu"))
    assert (numbers.dtype, tuple(numbers.shape)) == (torch.float32, (2, 3, 8, 6))
    assert torch.equal((255 * numbers).round().to(torch.uint8), photos.permute(0, 3, 1, 2))


@pytest.mark.parametrize("model", WHOLE)
def test_a_whole_training_is_that_of_the_fastest_settings_on_a_set_that_the_model_reads(model, tmp_path):
    write_samples(tmp_path / "set", recommended(model).inputs().values(), 6)
    manifest, train, _ = open_samples(tmp_path / "set")
    check_inputs(recommended(model), manifest)
    assert (len(train), manifest.facts["synthetic"]) == (6, True)
    options = {"batch": 4, "precision": "bfloat16", "channels_last": True, "cache": "device", "ahead": "yes"}
    fastest = Run(out=tmp_path, compile=("one", "other"), **options)
    words = training_words(model, Whole(6, 10, 1.0, every=2), fastest, tmp_path / "set", tmp_path / "run", 60)
    assert words[:4] == ["-m", "waterscape", "train", model]
    recipe, run = read_options(model, "recommended", words[4:])
    assert recipe == recommended(model)
    every = {"report_every": 6, "picture_every": 12, "collapse_every": 12, "checkpoint_every": 12, "evaluate_every": 60}
    where = {"out": tmp_path / "run", "data": str(tmp_path / "set")}
    assert run == dataclasses.replace(fastest, **where, **every, images=60, tensorboard=False)


@pytest.mark.long
def test_a_share_of_a_training_is_scaled_and_one_that_fails_is_told(tmp_path):
    plain, report = Run(out=tmp_path, batch=4), Report(tmp_path / "report")
    (model, tiny), place = *TINY.items(), tmp_path
    figure = time_whole(model, tiny, plain, place, report)
    events = read_events(place / "whole-run")
    assert events[-1]["images"] == round(tiny.share * tiny.epochs) * tiny.samples
    reports = [event for event in events if event["event"] == "report"]
    assert [event["images"] for event in reports] == [4, 64, 128]
    assert [event["event"] for event in events].count("evaluation") == 2
    assert events.index(reports[0]) > [event["event"] for event in events].index("evaluation")  # not scaled
    scaled = reports[-1]["time"] - reports[0]["time"]
    taken = float(
        held(tmp_path / "report")["checks"][f"{model}, whole training"].split(" images in ")[1].split(" s")[0]
    )
    assert figure.value == pytest.approx(taken + scaled * (1 / tiny.share - 1), abs=0.1)
    wrong = dataclasses.replace(plain, compile=("nothing",))
    with pytest.raises(UserError, match=f"train {model} ended with exit code .*there is no such network"):
        time_whole(model, tiny, wrong, tmp_path / "again", report)


def link_what_is_wanted(place):
    """The files of the libraries that the script names, and of those that they want themselves: no others."""
    modules = metadata.packages_distributions()
    left = [name for module in g01_device.WANTED for name in modules[module]]
    found = set()
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system
        wants = map(Requirement, distribution.requires or ())
        left += [want.name for want in wants if not want.marker or want.marker.evaluate({"extra": ""})]
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (place / top).exists():
                (place / top).symlink_to(distribution.locate_file(top))


@pytest.mark.long
def test_layers_are_checked_from_a_checkout_that_is_not_installed(tmp_path):
    """A Python of its own reads what the script wants as plain files, so no `.pth` leads to an installed package."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (tmp_path / "lib").mkdir()
    link_what_is_wanted(tmp_path / "lib")
    libraries = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    absent = subprocess.run([python, "-c", "import waterscape"], cwd=tmp_path, env=libraries, capture_output=True)
    assert b"No module named 'waterscape'" in absent.stderr
    done = subprocess.run([python, "-c", BARE, tmp_path], cwd=ROOT, env=libraries, capture_output=True, text=True)
    assert "passed" in done.stdout, done.stderr
    assert "G3 water_vae float32" in done.stdout, done.stderr


def test_what_is_not_installed_is_named_at_once(monkeypatch):
    g01_device.check_libraries()
    monkeypatch.setitem(g01_device.WANTED, "no_such_module", "its-package")
    with pytest.raises(UserError, match="not installed here: its-package; pip install its-package"):
        g01_device.check_libraries()


def test_a_torch_older_than_the_project_wants_is_told(tmp_path):
    project = tmp_path / "pyproject.toml"
    text = (ROOT / "pyproject.toml").read_text()
    project.write_text(text.replace('"torch>=2.10,<3"', '"torch>=97.1"'))
    with pytest.raises(UserError, match=r"torch 2\.\S+ is installed here, and pyproject.toml wants torch>=97\.1"):
        g01_device.check_libraries(project)


def test_the_processor_computes_although_another_device_is_at_hand(tmp_path):
    """Torch's `meta` device stands for a GPU: whatever were put there would have no numbers."""
    data = write_made_set(tmp_path / "set", recommended("water_vae").inputs().values(), 16)
    run = Run(out=tmp_path, data=str(data), batch=4, ahead="no", tensorboard=False)
    processes = Processes(None, "float32", tmp_path)
    wanted = first_gradients("water_vae", run, processes, tmp_path / "here")
    meta = torch.device("meta")
    state, there = processes.accelerator.state, processes.device
    processes.device = state.device = meta
    try:
        found = on_the_processor("water_vae", run, processes, tmp_path / "there")
        assert (processes.device, processes.accelerator.device) == (meta, meta)
    finally:
        processes.device = state.device = there
    assert near("water_vae", "nothing", found, wanted, 0.0).count("0.0e+00") == 2
    with pytest.raises(UserError, match=r"gradients by twice are 1\.0e\+00 apart, and 0\.5 may be: not timed"):
        near("water_vae", "twice", {name: 2 * value for name, value in wanted.items()}, wanted, 0.5)
    with pytest.raises(UserError, match="no gradient reaches it"):
        near("water_vae", "none", wanted, {name: 0 * value for name, value in wanted.items()}, 0.5)
