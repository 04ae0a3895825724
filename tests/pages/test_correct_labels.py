"""`waterscape correct-labels`: the same set with another label, whoever computes it, killed or not; and bad input."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from programs import ROOT, run
from small_landsat import SIDE, write_lakes

from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.labels.correction import RECIPES
from waterscape.labels.pooled import Pooled
from waterscape.labels.procedure import Rounds
from waterscape.sources.landsat.bands import UNKNOWN


@pytest.fixture
def lakes(tmp_path, monkeypatch):
    """A set of lakes with noisy labels, and recipes that take moments."""
    monkeypatch.setitem(RECIPES, "fast", Rounds(epochs=(2, 1, 1), batch=32, rate=1e-2, sure=0.6))
    monkeypatch.setitem(RECIPES, "recommended", Pooled(steps=40, batch=32))
    monkeypatch.setitem(RECIPES, "confident", Pooled(steps=40, batch=32, confident=True))
    return write_lakes(tmp_path / "lakes")


def correct(data, out, *words):
    return run("correct-labels", data, "--out", out, "--processes", 1, *words)


def hashes(directory):
    """sha256 of every file but the summary, which tells how long it took."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name != "corrected.json"
    }


@pytest.mark.parametrize("recipe", ["fast", "recommended", "confident"])
def test_everything_but_the_label_is_carried_over_byte_for_byte(lakes, tmp_path, recipe, capsys):
    if recipe == "confident":
        pytest.importorskip("cleanlab")
    correct(lakes, tmp_path / "out", "--recipe", recipe)
    old, new = Manifest.load(lakes), Manifest.load(tmp_path / "out")
    assert [(shard.split, shard.samples) for shard in old.shards] == [(one.split, one.samples) for one in new.shards]
    assert new.facts["tiles"] == old.facts["tiles"]
    assert new.facts["synthetic"] is True
    assert new.facts["corrected"]["options"]["recipe"] == recipe
    assert new.facts["corrected"]["from_sha256"] == old.sha256
    changed = 0
    for split in old.splits:
        before, after = ShardSet(lakes, split), ShardSet(tmp_path / "out", split)
        for number in range(len(before)):
            place = before.locate(number)
            assert before.indexes[place[0]]["key"][place[1]] == after.indexes[place[0]]["key"][place[1]]
            for column in ("bands.npy", "truth.npy", "json"):
                assert bytes(before.payload(*place, column)) == bytes(after.payload(*place, column))
            assert bytes(before.payload(*place, "water.npy")) == bytes(after.payload(*place, "given.npy"))
            given, label = (after.value(*place, name) for name in ("given.npy", "water.npy"))
            assert (label[given == UNKNOWN] == UNKNOWN).all()
            assert label.dtype == np.uint8
            changed += np.count_nonzero(given != label)
    summary = json.loads((tmp_path / "out" / "corrected.json").read_text())
    assert summary["pixels"]["changed"] == changed > 0
    assert summary["synthetic"] is True
    assert "held against masks by hand" in capsys.readouterr().out
    assert (tmp_path / "out" / "corrected.png").stat().st_size > 1000
    assert not list(tmp_path.glob(".out*"))


def test_one_network_for_all_tiles_takes_noise_back(lakes, tmp_path):
    correct(lakes, tmp_path / "out")
    judged = json.loads((tmp_path / "out" / "corrected.json").read_text())["judged by truth.npy"]
    for split in ("train", "test"):
        assert judged[split]["after"]["iou"] > judged[split]["before"]["iou"] + 0.08


def test_a_set_that_stands_is_not_made_again_nor_overwritten_by_another(lakes, tmp_path, capsys):
    correct(lakes, tmp_path / "out", "--recipe", "fast")
    made = hashes(tmp_path / "out")
    correct(lakes, tmp_path / "out", "--recipe", "fast")
    assert "complete: nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="made otherwise"):
        correct(lakes, tmp_path / "out", "--recipe", "fast", "--seed", 1)
    assert hashes(tmp_path / "out") == made
    correct(lakes, tmp_path / "out", "--recipe", "fast", "--seed", 1, "--replace")
    assert hashes(tmp_path / "out") != made


@pytest.mark.long
def test_known_noise_is_counted_and_stays_out_of_the_set(lakes, tmp_path, capsys):
    correct(lakes, tmp_path / "plain", "--recipe", "fast")
    correct(lakes, tmp_path / "trial", "--recipe", "fast", "--inject", "10%,20%", "--only", 2)
    assert "noise (synthetic)" in capsys.readouterr().out
    for split in ("train", "test"):
        for number in range(2):
            one, other = (ShardSet(tmp_path / name, split).read(number) for name in ("plain", "trial"))
            np.testing.assert_array_equal(one["water.npy"], other["water.npy"])
    told = json.loads((tmp_path / "trial" / "corrected.json").read_text())["injected (synthetic noise)"]
    assert [(one["kind"], one["share"]) for one in told] == [
        (kind, share) for kind in ("random", "edges", "bodies") for share in (0.1, 0.2)
    ]
    for one in told:
        confusion = one["before"]
        assert confusion["fp"] + confusion["fn"] == one["flipped"]
        assert one["tiles"] == 2
    assert abs(told[0]["flipped"] - 0.1 * 2 * (SIDE - 1) * SIDE) < 30


def test_results_begun_otherwise_are_not_mixed(lakes, tmp_path):
    beside = tmp_path / ".out.labels"
    beside.mkdir()
    (beside / "plan.json").write_text(json.dumps({"seed": 5}))
    with pytest.raises(UserError, match="was begun otherwise"):
        correct(lakes, tmp_path / "out", "--recipe", "fast")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--inject", "ten"], "give shares"),
        (["--inject", "60%"], "up to 50%"),
        (["--inject", "0%"], "above 0"),
        (["--only", -1], "--only is -1"),
    ],
)
def test_options_that_make_no_sense(lakes, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        correct(lakes, tmp_path / "out", *words)
    assert not list(tmp_path.glob("*out*"))


def without(column):
    return lambda values: {name: value for name, value in values.items() if name != column}


def instead(column, value):
    return lambda values: {**values, column: value}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("bands.npy"), "has no column bands.npy"),
        (without("water.npy"), "has no column water.npy"),
        (instead("water.npy", np.zeros((5, 5), np.uint8)), "not .16, 16. as the bands"),
        (instead("water.npy", np.full((SIDE, SIDE), 7, np.uint8)), "has the value 7"),
        (instead("bands.npy", np.zeros((SIDE, SIDE, 3), np.float32)), "is not H W 8"),
    ],
)
def test_a_set_that_is_none_of_labelled_tiles(tmp_path, spoil, message):
    foreign = write_lakes(tmp_path / "foreign", 3, spoil=spoil)
    with pytest.raises(UserError, match=message):
        correct(foreign, tmp_path / "out", "--recipe", "fast")
    assert not (tmp_path / "out").exists()


def test_the_set_itself_is_never_written(lakes):
    with pytest.raises(UserError, match="never changed"):
        correct(lakes, lakes, "--replace")


def test_cleanlab_that_is_not_installed_is_named(lakes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(UserError, match=r"pip install 'waterscape\[confident\]'"):
        correct(lakes, tmp_path / "out", "--recipe", "confident")


PROGRAM = """
import os, signal
from waterscape.__main__ import main
from waterscape.labels import correction
from waterscape.labels.pooled import Pooled
from waterscape.labels.procedure import Rounds

correction.RECIPES |= {
    "fast": Rounds(epochs=(2, 1, 1), batch=32, rate=1e-2, sure=0.6),
    "recommended": Pooled(steps=40, batch=32),
    "confident": Pooled(steps=40, batch=32, confident=True),
}
keep = correction.keep

def keep_and_tell(path, *what):
    keep(path, *what)
    kind = path.parent.relative_to(path.parents[2])
    with open(os.environ["TOLD"], "a") as file:
        file.write(f"{kind / path.name}\\n")
    where, _, count = os.environ["KILL_AT"].partition(" ")
    if str(kind) == where and len(list(path.parent.glob("[0-9]*.npz"))) >= int(count):
        os.killpg(0, signal.SIGKILL)

correction.keep = keep_and_tell
if __name__ == "__main__":
    main()
"""
"""Corrects with recipes that take moments, tells each result that it keeps, and is killed at one: all its processes."""


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """Runs the program above in a directory, which has a set; returns its exit code and the results that it kept."""
    directory = tmp_path_factory.mktemp("killed")
    write_lakes(directory / "lakes", 12)
    (directory / "program.py").write_text(PROGRAM)
    known = {}

    def correct(name, recipe, processes, kill_at=""):
        told = directory / f"{name}.txt"
        told.unlink(missing_ok=True)
        words = ["correct-labels", directory / "lakes", "--out", directory / name / "set", "--recipe", recipe]
        trial = ["--inject", "10%", "--noise", "random", "--only", 4, "--processes", processes]
        ended = subprocess.run(
            [sys.executable, directory / "program.py", *map(str, (*words, *trial))],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOLD": str(told), "KILL_AT": kill_at},
            start_new_session=True,
            check=False,
            timeout=280,
        )
        return ended.returncode, sorted(told.read_text().split())

    def undisturbed(recipe):
        if recipe not in known:
            known[recipe] = correct(recipe, recipe, 1)
        return known[recipe]

    return directory, correct, undisturbed


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("recipe", "kill_at"),
    [
        ("fast", "given/label 2"),
        ("recommended", "given/network 2"),
        ("recommended", "given/label 3"),
        ("confident", "given/probability 3"),
        ("confident", "given/label 3"),
    ],
)
def test_killed_and_run_again_on_other_processes_it_is_the_same_set(corrected, recipe, kill_at):
    """And nothing that was kept is done again, but confident learning's labels, which are found all together."""
    if recipe == "confident":
        pytest.importorskip("cleanlab")
    directory, correct, undisturbed = corrected
    code, all_of_it = undisturbed(recipe)
    assert code == 0
    name = f"{recipe} {kill_at}".replace("/", " ")
    assert correct(name, recipe, 2, kill_at)[0] == -signal.SIGKILL
    assert not (directory / name / "set").exists()
    beside = directory / name / ".set.labels"
    before = [str(path.relative_to(beside)) for path in beside.glob("*/*/[0-9]*.npz")]
    assert 0 < len(before) < len(all_of_it)
    code, after = correct(name, recipe, 2)
    assert code == 0
    assert sorted({*before, *after}) == all_of_it
    assert not {path for path in before if recipe != "confident" or "/label/" not in path} & {*after}
    assert hashes(directory / name / "set") == hashes(directory / recipe / "set")
    assert not beside.exists()
