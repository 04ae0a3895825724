"""Tars of other writers, indexed as they are: whatever reads our sets reads them, and no damage to them is missed."""

import io
import tarfile

import numpy as np
import pytest
import torch
import webdataset
from flipped_bits import assert_no_flip_is_missed
from foreign_sets import WRITERS, members, npy, write_foreign

import waterscape
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.doctor import check
from waterscape.data.foreign import index_foreign
from waterscape.data.manifest import FILE, Manifest
from waterscape.data.order import Order
from waterscape.data.repair import KEYS, repair
from waterscape.data.shard import ShardError
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch

FACTS = {"source": "elsewhere", "licence": "CC0", "synthetic": True}


def told(directory):
    return [str(finding) for finding in check(directory, threads=1).findings]


def indexed(directory, **options):
    found = index_foreign(write_foreign(directory, **options), facts=FACTS)
    assert [str(finding) for finding in found.hindrances] == []
    return directory


@pytest.fixture(params=WRITERS)
def tiles(request, tmp_path):
    return indexed(tmp_path / "tiles", writer=request.param)


def number_of(key):
    return int(key.rpartition("s")[2])


def test_tars_stay_as_they_were_and_are_whole_by_our_check(tmp_path):
    for writer in WRITERS:
        directory = write_foreign(tmp_path / writer, writer)
        before = {path.name: path.read_bytes() for path in directory.iterdir()}
        found = index_foreign(directory, facts=FACTS)
        assert (found.samples, found.hindrances, found.manifest.foreign) == (12, [], True)
        assert all((directory / name).read_bytes() == content for name, content in before.items())
        assert Manifest.load(directory) == found.manifest
        assert told(directory) == []


def test_every_column_reads_as_it_was_written(tiles):
    for split, count in (("train", 8), ("valid", 4)):
        dataset = waterscape.open_shards(tiles, split)
        assert len(dataset) == count
        for place in range(count):
            item, written = dataset[place], members(number_of(dataset.key(place)))
            assert set(item) == set(written)
            assert all(item[column] == written[column] for column in ("cls", "jpg", "png", "txt"))
            assert item["json"]["name"] == "ö"
            np.testing.assert_array_equal(item["occurrence64.npy"], np.load(io.BytesIO(written["occurrence64.npy"])))


def test_batches_and_stock_webdataset_read_the_same(tiles):
    shards = ShardSet(tiles, "train")
    columns = ["occurrence64.npy", "png"]
    with Batches(shards, columns, batch=3, order=Order.sequential(shards.counts), stop=8) as batches:
        ours = [
            (key.partition("/")[2], row, png)
            for loaded in batches
            for key, row, png in zip(loaded.keys, *(loaded.columns[name] for name in columns), strict=True)
        ]
    tars = [str(path) for path in sorted(tiles.glob("*train*.tar"))]
    stock = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    assert len(ours) == len(stock) == 8
    for (key, row, png), sample in zip(ours, stock, strict=True):
        assert key == sample["__key__"]
        assert torch.equal(row, torch.from_numpy(sample["occurrence64.npy"]))
        assert png == members(number_of(key))["png"]


def test_a_damaged_byte_is_found_when_it_is_read(tiles):
    shards = ShardSet(tiles, "train")
    offset = int(shards.indexes[0]["png"]["offset"][1])
    path = tiles / f"{shards.shards[0].name}.tar"
    raw = bytearray(path.read_bytes())
    raw[offset + 700] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ShardError, match=rf"sample (\./)?s00003, column png, offset {offset}: crc32"):
        list(Batches(shards, ["png"], batch=2, order=Order(shards.counts, 0), stop=8))
    assert any(f"offset {offset}: crc32" in line for line in told(tiles))


@pytest.mark.filterwarnings("ignore")  # NumPy's, of damaged headers
@pytest.mark.parametrize("times", [60, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("file", ["tiles-train-0000.tar", "tiles-train-0000.index.npy", FILE])
def test_no_flipped_bit_is_missed(tmp_path, file, times):
    columns = ("json", "png", "occurrence64.npy")
    assert_no_flip_is_missed(
        indexed(tmp_path / "tiles", writer="pax", samples=4, tars=2, only=columns), file, times, seed=times
    )


def test_a_tar_cut_anywhere_is_told(tmp_path):
    directory = indexed(tmp_path / "tiles", samples=3, only=("json", "txt"))
    path = directory / "tiles-train-0000.tar"
    whole = path.read_bytes()
    for length in range(0, len(whole), 512):
        path.write_bytes(whole[:length])
        assert any(f"{length} bytes, the manifest says {len(whole)}" in line for line in told(directory))


def test_repair_writes_a_set_of_our_own_and_says_whose_each_number_is(tiles, tmp_path):
    shards = ShardSet(tiles, "train")
    path = tiles / f"{shards.shards[1].name}.tar"
    raw = bytearray(path.read_bytes())
    raw[int(shards.indexes[1]["txt"]["offset"][0]) + 514] ^= 1
    path.write_bytes(raw)
    done = repair(tiles, tmp_path / "new")
    assert (dict(done.kept), len(done.quarantined)) == ({"train": 7, "valid": 4}, 1)
    assert told(tmp_path / "new") == []
    assert not Manifest.load(tmp_path / "new").foreign
    old = dict(line.split("\t") for line in (tmp_path / "new" / KEYS).read_text().splitlines())
    for split in ("train", "valid"):
        dataset = waterscape.open_shards(tmp_path / "new", split)
        for place in range(len(dataset)):
            number = number_of(old[dataset.key(place).partition("/")[2]])
            assert dataset[place]["txt"] == f"tile {number}\n".encode()


def test_the_words_work(tmp_path, capsys):
    directory = write_foreign(tmp_path / "tiles", "gnu", folder="a.b/")
    assert dispatch(["index", str(directory), "--synthetic", "--source", "made here"]) == 0
    assert dispatch(["check", str(directory)]) == 0
    assert dispatch(["info", str(directory), "--out", str(tmp_path / "views")]) == 0
    assert dispatch(["plan", str(directory), "--processes", "2", "--batch", "3"]) == 0
    told = capsys.readouterr().out
    assert "SYNTHETIC, 12 samples in 3 shards" in told
    assert (tmp_path / "views" / "contact.png").exists()
    assert ShardSet(directory, "train").indexes[0]["key"][0] == b"./a.b/s00000"


def refused(directory):
    found = index_foreign(directory, facts=FACTS)
    assert found.manifest is None
    assert not (directory / FILE).exists()
    return "\n".join(map(str, found.hindrances))


def one_member(path, name="1.txt", payload=b"x", kind=tarfile.PAX_FORMAT, pax=None, **fields):
    path.parent.mkdir(exist_ok=True)
    info = tarfile.TarInfo(name)
    info.size, info.pax_headers = len(payload), pax or {}
    for field, value in fields.items():
        setattr(info, field, value)
    with tarfile.open(path, "w", format=kind) as tar:
        tar.addfile(info, io.BytesIO(payload))
    return path.parent


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"name": "x" * 120 + ".txt"}, "a PAX header that sets 'path'"),
        ({"name": "é.txt"}, "a PAX header that sets 'path'"),
        ({"pax": {"size": "1"}}, "a PAX header that sets 'size'"),
        ({"pax": {"GNU.sparse.major": "1"}}, "a PAX header that sets 'GNU.sparse.major'"),
        ({"name": "x" * 120 + ".txt", "kind": tarfile.GNU_FORMAT}, "a GNU header for a long name"),
        ({"name": f"{'d' * 90}/{'x' * 40}.txt", "kind": tarfile.USTAR_FORMAT}, "prefix field"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a symbolic link"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1}, "a character device"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "a GNU sparse file"),
        ({"name": "../1.txt"}, "leads out with '..'"),
        ({"name": "/1.txt"}, "an absolute path"),
        ({"name": "pipe:cat"}, "an absolute path"),
        ({"name": "1.pkl"}, "a forbidden extension"),
        ({"name": "README"}, "a forbidden extension"),
        ({"name": ".hidden/.txt"}, "not of printable ASCII"),
        ({"name": "1.png"}, "it is no PNG"),
        ({"name": "1.jpeg"}, "it is no JPEG"),
        ({"name": "1.png", "payload": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0"}, "65536 × 65536 pixels"),
        ({"name": "1.npy", "payload": npy(np.asfortranarray(np.ones((2, 3))))}, "Fortran order"),
        ({"name": "1.npy", "payload": npy(np.array(["text"]))}, "dtype <U4"),
    ],
)
def test_what_must_not_be_passed_over_is_refused_by_name(tmp_path, member, message):
    assert message in refused(one_member(tmp_path / "set" / "a.tar", **member))


def test_a_tar_without_its_end_is_refused(tmp_path):
    directory = one_member(tmp_path / "set" / "a.tar")
    path = directory / "a.tar"
    path.write_bytes(path.read_bytes()[:1536])
    assert "instead of 2: cut short" in refused(directory)


def test_our_own_sets_stay_strict(water, tmp_path):
    """What is fine in a foreign set is a finding in one that was packed here."""
    path = next(water.glob("*train-000000.tar"))
    path.write_bytes(path.read_bytes() + bytes(512))
    assert any("ends in 3 blocks of zeros" in line for line in told(water))
    assert not Manifest.load(water).foreign
    directory = indexed(tmp_path / "tiles", writer="pax")
    manifest = (directory / FILE).read_text()
    assert '"foreign": true' in manifest
    (directory / FILE).write_text(manifest.replace('  "foreign": true,\n', ""))
    with pytest.raises(UserError, match="edited"):
        Manifest.load(directory)


def test_arrays_with_another_header_are_decoded_one_by_one(tmp_path):
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }"
    payload = b"\x93NUMPY\x01\x00" + (len(head) + 1).to_bytes(2, "little") + head + b"\n" + bytes([1, 2, 3, 4])
    directory = one_member(tmp_path / "set" / "a.tar", "1.npy", payload)
    assert index_foreign(directory, facts=FACTS).hindrances == []
    assert told(directory) == []
    assert ShardSet(directory, "train").read(0)["npy"].tolist() == [[1, 2], [3, 4]]
    assert ShardSet(directory, "train").column("npy").shape is None
