"""A mapped index is the one that NumPy reads; whatever else stands there is refused."""

import mmap
import subprocess
import sys

import numpy as np
import pytest

from waterscape.data.index import forget_pages, map_index
from waterscape.data.shard import index_dtype


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_it_is_what_numpy_reads(tmp_path, rows):
    table = np.zeros(rows, index_dtype(9, ["json", "occurrence.npy"]))
    table["key"] = [f"{row:09d}" for row in range(rows)]
    table["json"]["offset"] = np.arange(rows) * 1024
    np.save(tmp_path / "x.npy", table)
    index = map_index(tmp_path / "x.npy")
    assert index.dtype == table.dtype
    forget_pages(index)
    np.testing.assert_array_equal(index, table)
    assert isinstance(index.base, mmap.mmap)
    assert not index.flags.writeable


@pytest.mark.parametrize("table", [np.zeros((2, 2), [("key", "S1")]), np.zeros(3), np.array([({},)], [("key", "O")])])
def test_other_arrays_are_refused(tmp_path, table):
    np.save(tmp_path / "x.npy", table, allow_pickle=True)
    with pytest.raises(ValueError, match="no index"):
        map_index(tmp_path / "x.npy")


@pytest.mark.parametrize("cut", [0, 5, 10, 60, -1])
def test_files_cut_short_are_refused(tmp_path, cut):
    np.save(tmp_path / "x.npy", np.zeros(3, index_dtype(9, ["json"])))
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:cut])
    with pytest.raises(ValueError):  # noqa: PT011 (NumPy's words)
        map_index(tmp_path / "x.npy")


def test_more_of_them_than_a_process_may_have_open(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3, index_dtype(9, ["json"])))
    script = f"""
import resource
from pathlib import Path
from waterscape.data.index import map_index
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 200))
indexes = [map_index(Path({str(tmp_path / "x.npy")!r})) for _ in range(100)]
print(sum(map(len, indexes)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "300\n", done.stderr
