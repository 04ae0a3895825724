"""What several tests of training need: ranks without a launcher."""

from __future__ import annotations

import pytest
from ranks import Nursery


@pytest.fixture(scope="module")
def nursery():
    """Where ranks are born, for the tests of a file."""
    with Nursery() as server:
        yield server


@pytest.fixture
def born(nursery):
    """`born(world, words, logs)` starts ranks; those that are left end with the test."""
    yield nursery.start
    nursery.end()
