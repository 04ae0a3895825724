"""A real SLURM for the tests of this room."""

from __future__ import annotations

import os

import pytest
from virtual_slurm import VirtualSlurm, missing_programs


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Three virtual nodes. Without SLURM the test is skipped, or fails where WATERSCAPE_REQUIRE_DATA is set."""
    missing = missing_programs()
    if missing:
        reason = f"needs SLURM ({', '.join(missing)} not found); on Debian: apt-get install slurm-wlm munge"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = VirtualSlurm(tmp_path_factory.mktemp("slurm") / "cluster")
    yield cluster
    cluster.close()
