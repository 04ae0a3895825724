"""G1's script where there is no GPU: its checks, and that nothing is lost of what it found."""

import dataclasses
import json
import os
import shutil
import subprocess
import sysconfig
import venv

import pytest
import torch
from programs import ROOT

from benchmarks import g01_device
from benchmarks.device.checks import first_gradients, layers_on_the_device, near, on_the_processor, recommended
from benchmarks.device.report import Report
from benchmarks.figure import Figure
from benchmarks.results import save, stamped
from waterscape import models
from waterscape.errors import UserError
from waterscape.proof.made_set import write_made_set
from waterscape.training.processes import Processes
from waterscape.training.run import Run

WRONG = """
from waterscape.models.water_vae import PRESETS as THEIRS


class Wrong(type(THEIRS["recommended"])):
    def phases(self):
        return 1 + "phase"


PRESETS = {"recommended": Wrong()}
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
    size = dataclasses.replace(g01_device.small(), workers=-1)
    assert list(g01_device.measure(size, ("G2",), report)) == []
    assert held(tmp_path)["failed"]["views"].startswith("ValueError: num_workers")


def test_layers_that_wait_in_vain_are_ended():
    with pytest.raises(subprocess.TimeoutExpired):
        layers_on_the_device(0.5)


@pytest.mark.long
def test_layers_are_checked_from_a_checkout_that_is_not_installed(tmp_path):
    """A Python of its own reads this one's libraries as plain files, so no `.pth` leads to an installed package."""
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    libraries = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    absent = subprocess.run([python, "-c", "import waterscape"], cwd=tmp_path, env=libraries, capture_output=True)
    assert b"No module named 'waterscape'" in absent.stderr
    words = "from benchmarks.device.checks import layers_on_the_device; print(layers_on_the_device())"
    done = subprocess.run([python, "-c", words], cwd=ROOT, env=libraries, capture_output=True, text=True)
    assert "passed" in done.stdout, done.stderr


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
