"""A parsed index is the one that NumPy reads; whatever else stands there is refused."""

import numpy as np
import pytest

from waterscape.data.index import column_names, parse_index
from waterscape.data.shard import index_dtype


@pytest.mark.parametrize("rows", [0, 1, 5000])
def test_it_is_what_numpy_reads(tmp_path, rows):
    table = np.zeros(rows, index_dtype(9, ["json", "occurrence.npy"]))
    table["key"] = [f"{row:09d}" for row in range(rows)]
    table["json"]["offset"] = np.arange(rows) * 1024
    np.save(tmp_path / "x.npy", table)
    index = parse_index((tmp_path / "x.npy").read_bytes())
    assert index.dtype == table.dtype
    assert column_names(index) == ("json", "occurrence.npy")
    np.testing.assert_array_equal(index, table)
    assert not index.flags.writeable


@pytest.mark.parametrize("table", [np.zeros((2, 2), [("key", "S1")]), np.zeros(3), np.array([({},)], [("key", "O")])])
def test_other_arrays_are_refused(tmp_path, table):
    np.save(tmp_path / "x.npy", table, allow_pickle=True)
    with pytest.raises(ValueError, match="no index"):
        parse_index((tmp_path / "x.npy").read_bytes())


@pytest.mark.parametrize("cut", [0, 5, 10, 60, -1])
def test_files_cut_short_are_refused(tmp_path, cut):
    np.save(tmp_path / "x.npy", np.zeros(3, index_dtype(9, ["json"])))
    with pytest.raises(ValueError):  # noqa: PT011 (NumPy's words)
        parse_index((tmp_path / "x.npy").read_bytes()[:cut])
