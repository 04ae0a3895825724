"""A set that was collected from several people, for the tests in which somebody is forgotten."""

from __future__ import annotations

import pytest
from collected_traces import collect_all, copy_of


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return collect_all(tmp_path_factory.mktemp("collected") / "here")


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    return copy_of(made, tmp_path, monkeypatch)
