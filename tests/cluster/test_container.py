"""The image: trains unprivileged with a read-only root, hears signals, holds no secret; and does so from SLURM.

Needs podman, and in WATERSCAPE_TEST_IMAGE the name of an image that stands already: `podman build -t NAME .`
"""

import json
import os
import re
import shutil
import subprocess
import time

import pytest

from waterscape.training.events import read_ledger
from waterscape.training.outcome import read_outcome

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

LOCKED = ["--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
USER = 10001


@pytest.fixture(scope="module")
def image():
    name = os.environ.get("WATERSCAPE_TEST_IMAGE")
    if not name or shutil.which("podman") is None:
        pytest.skip("needs podman, and WATERSCAPE_TEST_IMAGE: an image built from the Containerfile")
    return name


def train(tiles, out, *more):
    small = [
        "--widths",
        "4",
        "4",
        "4",
        "4",
        "8",
        "8",
        "8",
        "8",
        "--batch",
        "32",
        "--held-out",
        "16",
        "--no-tensorboard",
    ]
    return ["train", "water_vae", "--data", str(tiles), "--out", str(out), *small, *map(str, more)]


@pytest.fixture
def runs(tmp_path):
    """A directory that the image's user may write to."""
    runs = tmp_path / "runs"
    runs.mkdir()
    os.chown(runs, USER, USER)
    return runs


def started(image, tiles, runs, *words):
    mounts = [f"--volume={tiles}:{tiles}:ro", f"--volume={runs}:{runs}"]
    return ["podman", "run", "--rm", *LOCKED, *mounts, image, "waterscape", *words]


def test_trains_with_no_right_at_all(image, tiles, runs):
    subprocess.run(started(image, tiles, runs, *train(tiles, runs / "vae", "--images", 64)), check=True, timeout=400)
    assert read_outcome(runs / "vae").word == "done"
    assert (runs / "vae" / "run.json").stat().st_uid == USER


@pytest.mark.parametrize("signal", ["TERM", "USR1"])
def test_a_signal_reaches_training(image, tiles, runs, signal):
    name, out = f"waterscape-{os.getpid()}-{signal}", runs / "vae"
    words = started(image, tiles, runs, *train(tiles, out, "--images", 10**6, "--checkpoint-every", 320))
    process = subprocess.Popen([*words[:2], f"--name={name}", *words[2:]])
    deadline = time.monotonic() + 400
    while not list((out / "checkpoints").glob("[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    subprocess.run(["podman", "kill", f"--signal={signal}", name], check=True, timeout=60)
    assert process.wait(timeout=120) == 75
    assert read_outcome(out).word == "continue"
    assert read_outcome(out).reason.startswith(f"SIG{signal} after")


def test_from_slurm_on_two_nodes(image, slurm, tiles, tmp_path):
    out = tmp_path / "vae"
    flags = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1"]
    script = ["slurm/train.sh", *train(tiles, out, "--images", 320, "--processes", 2)[1:]]
    number = slurm.submit(*flags, *script, WATERSCAPE_IMAGE=image, WATERSCAPE_RUNTIME="podman")
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert sorted(read_ledger(out)) == list(range(320))


def test_holds_no_secret_and_no_root(image):
    told = subprocess.run(["podman", "image", "inspect", image], check=True, capture_output=True, text=True).stdout
    facts = json.loads(told)[0]
    assert facts["Config"]["User"] == f"{USER}:{USER}"
    assert facts["Config"]["Entrypoint"][0].endswith("tini")
    assert facts["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert not re.search(r"(?i)token|secret|password|credential", json.dumps([facts["Config"], facts.get("History")]))
