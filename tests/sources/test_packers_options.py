"""What all tools that make shards have in common."""

import pytest
from programs import ROOT, run_tool

PACKERS = sorted(path.stem for path in (ROOT / "tools").glob("pack_*.py"))


def test_there_are_packers():
    assert len(PACKERS) >= 5


@pytest.mark.parametrize("name", PACKERS)
def test_each_can_be_told_how_many_samples_a_shard_holds(name):
    code, told, _ = run_tool(name, "--help")
    assert code == 0
    assert "--samples-per-shard INT" in told
