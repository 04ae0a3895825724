"""Tars without an index: indexed where the format carries them, and told why where it does not."""

import pytest
import webdataset

from waterscape.data.doctor import check
from waterscape.data.foreign import index_foreign
from waterscape.data.manifest import FILE, Manifest
from waterscape.data.shard import tar_header
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch

FACTS = {"source": "elsewhere", "licence": "CC0", "synthetic": True}


def write(path, *names, payload=b"{}"):
    """A tar of records as the format has them."""
    records = (tar_header(name, len(payload)) + payload + bytes(-len(payload) % 512) for name in names)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(records) + bytes(1024))
    return path.parent


def told(directory):
    found = index_foreign(directory, facts=FACTS)
    assert found.manifest is None
    assert not (directory / FILE).exists()
    assert not list(directory.glob("*.index.npy"))
    return [str(finding) for finding in found.hindrances]


def test_a_set_that_lost_index_and_manifest_gets_the_same_again(water):
    before = Manifest.load(water)
    contents = {path.name: path.read_bytes() for path in water.iterdir()}
    for path in [water / FILE, *water.glob("*.index.npy")]:
        path.unlink()
    found = index_foreign(water, facts=before.facts)
    assert found.hindrances == []
    assert found.samples == 41
    assert any("column rare.npy: missing in" in str(note) for note in found.notes)
    assert Manifest.load(water) == before
    assert {path.name: path.read_bytes() for path in water.iterdir()} == contents
    assert check(water).findings == ()


def test_doubled_and_scattered_keys_are_all_told(tmp_path):
    write(tmp_path / "set" / "a-train.tar", "1.json", "1.json", "2.json", "1.b.json")
    directory = write(tmp_path / "set" / "b-test.tar", "2.json", "3.json")
    assert told(directory) == [
        "a-train.tar, sample 1, column json, offset 1024: doubled: the same member stands at offset 0",
        "a-train.tar, sample 1, column b.json, offset 3072: not adjacent: other samples stand between the members of "
        "this key",
        "b-test.tar, sample 2: its key stands in a-train.tar too",
    ]


def test_splits_come_from_the_names(tmp_path):
    for number, name in enumerate(["x-train-0", "x_val_0", "x-test", "contrast"]):
        directory = write(tmp_path / "set" / f"{name}.tar", f"{number}.json")
    found = index_foreign(directory, facts=FACTS)
    splits = {shard.name: shard.split for shard in found.manifest.shards}
    assert splits == {"x-train-0": "train", "x_val_0": "val", "x-test": "test", "contrast": "train"}
    assert ShardSet(directory, "val").read(0) == {"json": {}}
    assert check(directory).findings == ()
    assert Manifest.load(directory).facts == FACTS


def test_what_the_format_does_not_carry_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with webdataset.TarWriter(str(tmp_path / "set" / "stock.tar")) as writer:
        writer.write({"__key__": "1", "json": {"number": 1}, "pyd": {"code": 1}, "pth": b"x"})
    assert sum("forbidden extension" in line for line in told(tmp_path / "set")) == 2


def test_the_verb(tmp_path, capsys):
    directory = write(tmp_path / "set" / "a.tar", "1.json", "2.json")
    assert dispatch(["index", str(directory), "--synthetic"]) == 0
    assert "1 tars, 2 samples indexed" in capsys.readouterr().out
    assert Manifest.load(directory).facts["synthetic"] is True
    with pytest.raises(UserError, match="already"):
        dispatch(["index", str(directory)])
    with pytest.raises(UserError, match="does not carry"):
        dispatch(["index", str(write(tmp_path / "other" / "a.tar", "1.pkl"))])
    with pytest.raises(UserError, match="no tars"):
        dispatch(["index", str(tmp_path)])
