"""What several tests need: the real inputs and a small set of shards."""

from __future__ import annotations

import os
import subprocess

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts: small networks on few cores only wait for more

import pytest
from hypothesis import settings
from programs import ROOT, run, write_tiles

# An example has no time limit: a busy machine may stand still for a moment.
settings.register_profile("usual", deadline=None)
settings.load_profile("usual")

REAL = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data():
    """The directory of real inputs; without it the test is skipped, or fails where WATERSCAPE_REQUIRE_DATA is set."""
    if not REAL.is_dir():
        reason = f"needs the real inputs in ../{REAL.relative_to(ROOT.parent)}"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    return REAL


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system, as mount(8) is told; without the right to, the test is skipped, or fails where inputs are
    required.
    """
    held = []

    def mount(*arguments):
        where = tmp_path / "disk"
        where.mkdir(exist_ok=True)
        try:
            subprocess.run(["mount", *map(str, arguments), str(where)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"cannot mount: {error}"
            if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
                pytest.fail(reason)
            pytest.skip(reason)
        held.append(where)
        return where

    yield mount
    for where in held:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.fixture
def small_disk(mounted):
    """Makes a disk in memory of a size as mount(8) takes it: `64m`."""
    return lambda size: mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """A directory of shards with 200 synthetic tiles, 180 of them for training."""
    return write_tiles(tmp_path_factory.mktemp("shards") / "tiles")


@pytest.fixture(scope="session")
def runs(tiles, tmp_path_factory):
    """A directory with a run of each model, trained for a moment: `vae`, evaluated on the way, and `gan`."""
    directory = tmp_path_factory.mktemp("runs")
    words = ["--data", tiles, "--batch", 16, "--images", 64, "--held-out", 8, "--no-tensorboard", "--picture-every", 32]
    evaluated = ["--evaluate-every", 32, "--evaluate-samples", 32, "--best", "kernel distance:lower"]
    run("train", "water_vae:reference", "--out", directory / "vae", *words, *evaluated)
    run("train", "water_gan", "--out", directory / "gan", "--start", f"vae={directory / 'vae'}", "--width", 8, *words)
    return directory
