"""G1's script where there is no GPU: its checks, and that nothing is lost of what it found."""

import dataclasses
import json

import pytest
import torch

from benchmarks import g01_device
from benchmarks.device.checks import first_gradients, near, on_the_processor, recommended
from benchmarks.device.report import Report
from benchmarks.figure import Figure
from waterscape.errors import UserError
from waterscape.proof.made_set import write_made_set
from waterscape.training.processes import Processes
from waterscape.training.run import Run


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


def test_a_model_that_fails_does_not_end_the_others_and_none_is_begun_too_late(tmp_path):
    size = dataclasses.replace(g01_device.small(), models=("no_such_model", "none_such_either"))
    processes = Processes(None, "float32", tmp_path)
    report = Report(tmp_path)
    assert list(g01_device.measure_models(size, ("G1",), processes, tmp_path, report)) == []
    assert list(held(tmp_path)["failed"]) == ["no_such_model", "none_such_either"]
    late = dataclasses.replace(size, minutes=0)
    assert list(g01_device.measure_models(late, ("G1",), processes, tmp_path, report)) == []
    assert held(tmp_path)["left out"] == dict.fromkeys(size.models, "no time left of 0 minutes")


def test_what_is_not_installed_is_named_at_once(monkeypatch):
    g01_device.check_libraries()
    monkeypatch.setitem(g01_device.WANTED, "no_such_module", "its-package")
    with pytest.raises(UserError, match="not installed here: its-package; pip install its-package"):
        g01_device.check_libraries()


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
