import pytest
from small_set import write_set


@pytest.fixture
def water(tmp_path):
    """Directory of a synthetic set: 33 samples to train (5 shards of 6, one of 3), 8 to test."""
    write_set(tmp_path / "water")
    return tmp_path / "water"
