"""The study: a page of whatever is kept, and trainings that are never run twice."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
from programs import ROOT
from waiting import until

from benchmarks.study.entries import ENTRIES, STARTS, Entry
from benchmarks.study.page import write_page
from benchmarks.study.sets import SETS, missing_inputs
from benchmarks.study.took import seconds_of
from benchmarks.study.work import Places, _call
from waterscape.comparison import Candidate, Cell, path_of, settings_to_try
from waterscape.comparison.cells import words
from waterscape.comparison.wanted import conditions
from waterscape.errors import UserError
from waterscape.metrics.card import Card, Figure
from waterscape.start import read_options

ENTRY = Entry("pixel_cnn", "hls", ("IoU", "accuracy"), 1, settings=("batch=8",))
VALUES = {"reference": [(0.5, 0.9), (0.6, 0.8), (0.4, 0.8)], "recommended": [(0.7, 0.8), (0.79, 0.9), (0.62, 0.8)]}


def card(name, *figures):
    told = (Figure(which, value, better="higher") for which, value in figures)
    return Card({"name": name}, {"samples": 18, "synthetic": False}, {}, tuple(told))


def keep(cells, entry=ENTRY, without=()):
    """Results of a comparison as trainings would leave them."""
    kept = cells / entry.name
    for preset, values in VALUES.items():
        for seed, (iou, accuracy) in enumerate(values, 1):
            if (preset, seed) not in without:
                made = card(f"{preset}-{seed}", ("IoU", iou), ("accuracy", accuracy))
                Cell(preset, seed, {"batch": "8"}, 640, None if seed == 2 else 31.4, {}, made).save(
                    path_of(kept, preset, seed)
                )
    (kept / "baselines").mkdir(parents=True)
    card("MNDWI > 0", ("IoU", 0.46), ("accuracy", 0.82)).save(kept / "baselines" / "MNDWI above 0.json")
    asked = entry.comparison(cells, cells, kept, {})
    (kept / "conditions.json").write_text(json.dumps(conditions(asked)))


def rows(page):
    return {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}


def test_a_page_of_what_is_kept(tmp_path):
    keep(tmp_path / "cells")
    page = write_page([ENTRY], tmp_path / "cells", tmp_path / "results.md").read_text()
    first, second = (rows(page)[name].split(" | ") for name in ("IoU", "accuracy"))
    assert first[1:4] == ["0.5", "0.703", "+0.203"]
    assert (first[-2], first[-1]) == ("0.46", "recommended |")
    assert second[-1] == "undecided |"
    assert "REAL: 70 real windows" in page
    assert "`reference` 640 images in 31, ?, 31 s" in page
    assert "**recommended**" in rows(page)["[pixel_cnn](#pixel_cnn-hls)"]
    assert "0.46 (MNDWI above 0)" in rows(page)["[pixel_cnn](#pixel_cnn-hls)"]
    assert (tmp_path / "results.png").stat().st_size > 1000
    assert "Out of date" not in page


def test_a_page_before_everything_is_measured(tmp_path):
    keep(tmp_path / "cells", without=[("recommended", 3)])
    page = write_page([ENTRY, ENTRIES[0]], tmp_path / "cells", tmp_path / "results.md").read_text()
    assert "2 of 3 pairs" in rows(page)["IoU"]
    assert rows(page)["IoU"].endswith("not all measured yet |")
    assert f"`python -m benchmarks.study {ENTRIES[0].name}`" in page


def test_results_of_another_preset_are_out_of_date(tmp_path):
    keep(tmp_path / "cells")
    path = tmp_path / "cells" / ENTRY.name / "conditions.json"
    kept = json.loads(path.read_text())
    kept["recipes"]["recommended"]["learning_rate"] = 1.0
    path.write_text(json.dumps(kept))
    page = write_page([ENTRY], tmp_path / "cells", tmp_path / "results.md").read_text()
    assert "**Out of date**: other now: recipes." in page


def test_every_model_is_in_the_study_and_what_each_comparison_wants_is_known(tmp_path):
    from waterscape import models

    assert {entry.model for entry in ENTRIES} == set(models.names())
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert {entry.data for entry in ENTRIES} | {start.data for start in STARTS.values()} <= set(SETS)
    assert {which for entry in ENTRIES for which in entry.starts.values()} == set(STARTS)
    for entry in ENTRIES:
        presets = models.presets(entry.model)
        assert set(entry.presets) <= set(presets)
        named = {name.rpartition(".")[2] for name in entry.starts}
        known = {*presets["reference"].starts, *presets["reference"].may_start}
        assert set(presets["reference"].starts) <= named <= known
    assert sum(entry.processor_seconds for entry in ENTRIES) < 2 * 60 * 60, "at most 90 minutes on two cores, all told"
    assert missing_inputs("water", None) == ""
    assert missing_inputs("hls", None) == "real inputs: name their folder by --real"
    assert missing_inputs("hls", tmp_path).endswith("has no folder hls_water")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_training_of_the_study_is_one_that_the_command_takes(entry, tmp_path):
    """The options and starting runs of each preset are known to `waterscape train`, and tried settings too."""
    wanted = entry.comparison(tmp_path, tmp_path, tmp_path, {name: tmp_path / name for name in STARTS})
    assert conditions(wanted)["model"] == entry.model
    for settings in settings_to_try(entry.model, entry.trials):
        for preset in entry.presets:
            candidate = Candidate(preset, wanted.given(preset) | settings)
            recipe, run = read_options(entry.model, preset, words(wanted, candidate, tmp_path / "run", 1))
            run.check()
            assert set(run.started(recipe)) >= set(recipe.starts)
            told = {**dataclasses.asdict(run), **dataclasses.asdict(recipe)}
            assert {name: str(told[name]) for name in candidate.settings} == {
                name: str(value) for name, value in candidate.settings.items()
            }


def test_one_that_fails_does_not_end_the_others(tmp_path):
    """A mistake is told in a line; of anything else the traceback is kept besides."""
    places = Places(tmp_path / "work", tmp_path / "cells", tmp_path / "results.md", None)
    log = places.work / "failed.log"

    def mistaken():
        raise UserError("no such set")

    assert _call(("one", mistaken), places) == "failed: no such set"
    assert not log.exists()
    assert _call(("one", lambda: {}["key"]), places) == f"failed: KeyError: 'key' (traceback: {log})"
    assert "Traceback" in log.read_text()
    assert _call(("one", lambda: None), places) == ""


def test_what_a_part_took_is_kept_and_added_up(tmp_path):
    def works():
        code = "import time\nwhile time.process_time() < 1: pass"
        subprocess.run([sys.executable, "-c", code], check=True)

    places = Places(tmp_path / "work", tmp_path / "cells", tmp_path / "results.md", None)
    for goes in (1, 2):
        assert _call((ENTRY.name, works), places) == ""
        assert goes <= seconds_of(places.took, [ENTRY.name]) < 2 * goes
    keep(places.cells)
    page = write_page([ENTRY], places.cells, places.page).read_text()
    assert "1 of the 1 comparisons, with trials" in page
    assert "took 0 minutes of processor time" in page
    for name, minutes in (("world--small", 1), ("set-hls", 2), ("start-water", 4), ("no longer compared", 100)):
        (places.took / f"{name}.json").write_text(json.dumps({"processor_seconds": 60 * minutes}))
    page = write_page([ENTRY], places.cells, places.page).read_text()
    assert "took 7 minutes of processor time" in page


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_study_does_only_what_is_missing(tmp_path):
    """kill -9 after the first training: nobody trains on, and the same command goes on behind it."""
    words = [sys.executable, "-m", "benchmarks.study", "--quick", "--work", str(tmp_path), "--processes", "1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        until(
            lambda: process.poll() is not None or any(tmp_path.glob("cells/*/re*-[12].json")),
            600,
            (tmp_path / "log").read_text,
        )
        assert process.poll() is None, (tmp_path / "log").read_text()
        kept = list(tmp_path.glob("cells/*/re*-[12].json"))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in kept}
    for _ in range(3):  # the killed one's training may still be saving, and holds its directory meanwhile
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert len(list(tmp_path.glob("cells/*/re*-[12].json"))) == 4
    assert "pixel_cnn-quick" in (tmp_path / "results.md").read_text()
