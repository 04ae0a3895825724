import pytest
from hostile_server import HostileServer
from small_set import write_set

from waterscape.data import fetch


@pytest.fixture
def water(tmp_path):
    """Directory of a synthetic set: 33 samples to train (5 shards of 6, one of 3), 8 to test."""
    write_set(tmp_path / "water")
    return tmp_path / "water"


@pytest.fixture
def server(water, monkeypatch):
    """A loopback server of that set, a node's cache beside it, and hardly any pause between two attempts."""
    monkeypatch.setenv("WATERSCAPE_CACHE", str(water.parent / "cache"))
    monkeypatch.setattr(fetch, "FIRST_PAUSE", 0.001)
    with HostileServer(water.parent) as server:
        yield server
