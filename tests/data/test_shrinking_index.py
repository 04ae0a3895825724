"""Indexes that shrink while `check` or `repair` looks at them, in a process of its own: no SIGBUS, nothing missed."""

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from waterscape.data.doctor import check
from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter
from waterscape.data.shard_check import Checked, read_index

SAMPLES = 1500  # in one shard, so that its index has many pages
SCRIPT = """
import json, os, sys
from pathlib import Path
from waterscape.data.doctor import check
from waterscape.data.repair import repair

verb, directory = sys.argv[1], Path(sys.argv[2])
told = []

def shrink(count):
    if not told:
        for path in directory.glob("*.index.npy"):
            os.truncate(path, 0)
    told.append(count)

if verb == "check":
    found = [str(finding) for finding in check(directory, threads=1, advance=shrink).findings]
else:
    found = repair(directory, directory.with_name("mended"), advance=shrink).kept["train"]
print(json.dumps([len(told) > 0, found]))
"""


@pytest.fixture
def long(tmp_path):
    with SetWriter(tmp_path / "long", facts={"synthetic": True}, samples_per_shard=SAMPLES) as writer:
        for number in range(SAMPLES):
            writer.add("train", {"label.npy": np.array(number), "json": {"number": number}})
    return tmp_path / "long"


def shrunk(verb, directory):
    """What the verb finds where each index loses all its bytes once the reading of samples has begun."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, verb, directory], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr)
    began, found = json.loads(done.stdout)
    assert began
    return found


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_check_tells_what_it_has_read(long, damaged):
    if damaged:  # so that the tar is walked, with the index beside it
        with (long / "long-train-000000.tar").open("r+b") as file:
            file.seek(700 * 1024 + 520)
            file.write(b"\xff")
    before = [str(finding) for finding in check(long, threads=1).findings]
    assert bool(before) == damaged
    assert shrunk("check", long) == before
    (after,) = [line for line in map(str, check(long).findings) if "is no index" in line]
    assert after.startswith("long-train-000000.index.npy: is no index")


def test_repair_keeps_every_sample_that_it_has_begun_to_read(long):
    assert shrunk("repair", long) == SAMPLES
    assert not check(long.with_name("mended")).findings


def test_no_more_of_a_file_is_read_than_an_index_may_have(long):
    """Memory does not grow with what somebody puts in the place of an index."""
    (shard,) = (manifest := Manifest.load(long)).shards
    columns = {column.name: column for column in manifest.columns}
    path = long / f"{shard.name}.index.npy"
    with path.open("r+b") as file:
        file.truncate(1 << 28)
    checked = Checked(shard.name)
    tracemalloc.start()
    try:
        assert read_index(path, checked, shard, columns) is None
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 16 << 20
    assert "is no index (more than" in str(checked.findings[0])
    assert len(checked.index_sha256) == 64
