"""What several tests need: the real inputs and a small set of shards."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts: small networks on few cores only wait for more

import pytest
from programs import ROOT, write_tiles

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


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """A directory of shards with 200 synthetic tiles, 180 of them for training."""
    return write_tiles(tmp_path_factory.mktemp("shards") / "tiles")
