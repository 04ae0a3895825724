import io
import json
import os
import pickle
import tarfile

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterscape.data.shard import decode, encode, tar_header
from waterscape.errors import UserError

DTYPES = st.sampled_from(["|b1", "|u1", "|i1", "<u2", ">i4", "<i8", "<f2", ">f4", "<f8"]).map(np.dtype)
NAMES = st.text("abcXYZ0189_-.", min_size=1, max_size=100)


def payload(column, value):
    head, data = encode(column, value)
    return head + bytes(data)


@given(NAMES, st.integers(0, 2**31 - 2**13))
def test_header_is_the_one_that_tarfile_writes(name, size):
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, 0, 0o644
    assert tar_header(name, size) == member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("x" * 101, 1), ("größe.npy", 1), ("a.npy", 2**31)])
def test_a_member_that_ustar_cannot_hold_is_refused(name, size):
    with pytest.raises(UserError, match=r"100 ASCII|2 GiB"):
        tar_header(name, size)


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
def test_arrays_come_back_and_numpy_reads_them(array, transposed):
    array = array.T if transposed else array
    stored = payload("x.npy", array)
    for back in (decode("x.npy", stored), np.load(io.BytesIO(stored), allow_pickle=False)):
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype.newbyteorder("<")
        assert back.shape == array.shape
    assert payload("x.npy", decode("x.npy", stored)) == stored


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_facts_come_back_whatever_the_order_of_their_keys(facts):
    stored = payload("json", facts)
    assert decode("json", stored) == facts
    assert payload("json", dict(reversed(facts.items()))) == stored


def test_jpeg_bytes_are_left_alone():
    assert payload("jpg", b"\xff\xd8anything") == b"\xff\xd8anything"


@pytest.mark.parametrize(
    "column", ["pkl", "x.pyd", "net.pth", "x.npz", "../x.npy", "a/b.npy", ".npy", "npy.", "NPY", ""]
)
def test_only_listed_extensions_are_written_or_read(column):
    for attempt in (lambda: encode(column, np.zeros(3)), lambda: decode(column, b"")):
        with pytest.raises(UserError, match="cannot be stored"):
            attempt()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x.npy", np.array([{}], dtype=object)),
        ("x.npy", np.array(["text"])),
        ("x.npy", np.zeros(2, np.longdouble)),
        ("x.npy", np.zeros(2, [("a", "u1")])),
        ("x.npy", b"bytes"),
        ("json", {"x": float("nan")}),
        ("json", {"x": np.float32(1)}),
        ("json", [1]),
        ("jpg", b"\x89PNG"),
    ],
)
def test_values_that_a_column_cannot_hold_are_refused_in_one_line(column, value):
    with pytest.raises(UserError) as caught:
        encode(column, value)
    assert "\n" not in str(caught.value)
    assert f"column {column}" in str(caught.value)


def test_a_pickle_inside_an_npy_is_never_executed(tmp_path):
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="object"):
        decode("x.npy", buffer.getvalue())
    with pytest.raises(ValueError):  # noqa: PT011  # whichever way json says that this is none
        decode("json", pickle.dumps(Bomb()))
    assert not canary.exists()


def test_json_text_is_plain():
    assert json.loads(payload("json", {"b": 1, "a": "ö"})) == {"a": "ö", "b": 1}
    assert payload("json", {"b": 1, "a": "ö"}) == '{"a":"ö","b":1}'.encode()
