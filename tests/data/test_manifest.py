import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.errors import UserError

SHARD = Shard("water-train-000000", "train", 3, 1024, "0" * 64, "f" * 64)
MANIFEST = Manifest("water", (Column("x.npy", "|u1", (2, 3)), Column("json", None, None)), (SHARD,), {"licence": "MIT"})


def rewrite(directory, change):
    """Edit the manifest as another writer would have written it: with a hash that fits."""
    path = directory / "manifest.json"
    body = json.loads(path.read_text())
    del body["sha256_above"]
    change(body)
    head = json.dumps(body, indent=2).removesuffix("\n}") + ","
    path.write_text(head + f'\n  "sha256_above": "{hashlib.sha256(head.encode()).hexdigest()}"\n}}\n')


def test_round_trip(tmp_path):
    MANIFEST.save(tmp_path)
    loaded = Manifest.load(tmp_path)
    assert loaded == MANIFEST
    assert loaded.sha256 == MANIFEST.sha256 == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    assert loaded.splits == ("train",)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
@given(data=st.data())
def test_every_flipped_bit_is_found(tmp_path, data):
    MANIFEST.save(tmp_path)
    raw = bytearray((tmp_path / "manifest.json").read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "manifest.json").write_bytes(raw)
    with pytest.raises(UserError):
        Manifest.load(tmp_path)


def test_cut_short_anywhere_is_found(tmp_path):
    MANIFEST.save(tmp_path)
    raw = (tmp_path / "manifest.json").read_bytes()
    for length in range(len(raw)):
        (tmp_path / "manifest.json").write_bytes(raw[:length])
        with pytest.raises(UserError, match="damaged"):
            Manifest.load(tmp_path)


def test_newer_formats_are_refused_and_unknown_fields_passed_over(tmp_path):
    MANIFEST.save(tmp_path)
    rewrite(tmp_path, lambda body: body.update(weather="fine") or body["shards"][0].update(colour="blue"))
    assert Manifest.load(tmp_path) == MANIFEST
    rewrite(tmp_path, lambda body: body.update(format=2))
    with pytest.raises(UserError, match=r"format 2.*update waterscape"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("shards"),
        lambda body: body["shards"].append(body["shards"][0]),
        lambda body: body["shards"][0].update(name="../water"),
        lambda body: body["shards"][0].update(name="/etc/water"),
        lambda body: body["columns"][0].update(name="x.pkl"),
        lambda body: body.update(columns=3),
    ],
)
def test_what_no_writer_of_ours_writes_is_refused(tmp_path, change):
    MANIFEST.save(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(UserError, match=r"manifest\.json"):
        Manifest.load(tmp_path)


def test_no_manifest_and_no_such_split(tmp_path):
    with pytest.raises(UserError, match="no set of shards"):
        Manifest.load(tmp_path)
    with pytest.raises(UserError, match="no split 'val': it has train"):
        MANIFEST.split("val")
