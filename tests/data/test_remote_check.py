"""`shards check` of a set behind a URL: what is damaged there is named as in a directory, down to sample and offset."""

import re

import numpy as np
import pytest
from hostile_server import garbage, status
from small_set import write_set

from waterscape.data import record_sums
from waterscape.data.doctor import check
from waterscape.data.record_sums import RecordSums
from waterscape.data.remote_check import check_remote

NAMES = [f"water-train-{number:06d}" for number in range(6)]


def found(server):
    return [str(finding) for finding in check_remote(f"{server.url}/water").findings]


def flip(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 4
    path.write_bytes(raw)


def test_damaged_records_are_named_with_sample_column_and_offset(server, water):
    index = np.load(water / f"{NAMES[1]}.index.npy")
    places = []
    for row, column, within in ((1, "occurrence.npy", 520), (4, "json", 3), (4, "jpg", 1023)):
        offset = int(index[row][column]["offset"])
        flip(water / f"{NAMES[1]}.tar", offset + within)  # in the payload, the header, the padding
        places.append(f"{NAMES[1]}.tar, sample {index[row]['key'].decode()}, column {column}, offset {offset}: crc32 ")
    general, *told = found(server)
    assert re.match(rf"{NAMES[1]}\.tar: http://.*its sha256 is \w+… instead of \w+…: another file, or damaged", general)
    assert len(told) == 3
    assert all(any(line.startswith(place) for line in told) for place in places)
    here = [str(finding) for finding in check(water).findings]
    assert set(told) < set(here), "as it is told of a directory"
    assert len(server.gets(".tar")) == 8
    assert not (water.parent / "cache" / "tars").exists() or not list((water.parent / "cache" / "tars").iterdir())


def test_a_tar_that_is_cut_short_there_is_told_with_the_first_sample_that_it_lacks(server, water):
    entry = np.load(water / f"{NAMES[2]}.index.npy")[3]
    offset = int(entry["jpg"]["offset"])
    content = (water / f"{NAMES[2]}.tar").read_bytes()
    (water / f"{NAMES[2]}.tar").write_bytes(content[: offset + 700])
    general, told = found(server)
    assert general.startswith(f"{NAMES[2]}.tar: http://")
    where = f"{NAMES[2]}.tar, sample {entry['key'].decode()}, column jpg, offset {offset}: "
    assert told == f"{where}its record is not there: {offset + 700} bytes of the tar came"


def test_what_cannot_be_known_is_told_of_the_file_alone(server, water):
    flip(water / f"{NAMES[0]}.index.npy", 300)
    flip(water / f"{NAMES[0]}.tar", 600)
    (water / f"{NAMES[3]}.index.npy").unlink()
    server.faults[f"/water/{NAMES[4]}.tar"] += [status(404)]
    told = found(server)
    files = [f"{NAMES[0]}.index.npy: ", f"{NAMES[0]}.tar: ", f"{NAMES[3]}.index.npy: ", f"{NAMES[4]}.tar: "]
    assert len(told) == 4
    assert all(line.startswith(file) for line, file in zip(told, files, strict=True))


def test_what_was_damaged_on_the_way_once_is_fetched_again_and_is_no_finding(server):
    server.faults[f"/water/{NAMES[0]}.tar"] += [garbage, garbage]
    server.faults[f"/water/{NAMES[1]}.index.npy"] += [garbage]
    assert found(server) == []
    assert server.gets(f"{NAMES[0]}.tar").total() == 3


def test_of_very_many_damaged_records_some_are_told_and_the_rest_counted(server, water, monkeypatch):
    monkeypatch.setattr(record_sums, "MOST_TOLD", 7)
    server.faults[f"/water/{NAMES[0]}.tar"] += [garbage] * 3
    index = np.load(water / f"{NAMES[0]}.index.npy")
    records = sum(int((index[column]["size"] >= 0).sum()) for column in index.dtype.names[1:])
    told = found(server)
    assert len(told) == 1 + 7 + 1
    assert told[-1] == f"{NAMES[0]}.tar: and {records - 7} more damaged records"


@pytest.mark.parametrize("pieces", [1, 511, 512, 4096, 10**9])
def test_in_pieces_of_any_size_the_same_records_are_found(tmp_path, pieces):
    write_set(tmp_path / "water")
    path = tmp_path / "water" / f"{NAMES[0]}.tar"
    index = np.load(tmp_path / "water" / f"{NAMES[0]}.index.npy")
    raw = bytearray(path.read_bytes())
    spoiled = sorted(int(index[row][column]["offset"]) for row, column in ((0, "bodies.npy"), (2, "json"), (5, "jpg")))
    for offset in spoiled:
        raw[offset + 700] ^= 1
    for records in (RecordSums(path.name, index), RecordSums(path.name, index[::-1])):  # in whatever order listed
        for _ in range(2):  # the second time after a beginning that came to nothing
            for start in range(0, len(raw), pieces):
                part = raw[start : start + pieces]
                assert records.write(part) == len(part)
            assert [finding.offset for finding in records.findings] == spoiled
            assert records.lacking() is None
            records.truncate()
            assert [finding.offset for finding in records.findings] == spoiled
            assert records.write(raw[:100]) == 100
            assert records.findings == []
            assert records.lacking().offset == 0
            records.truncate()


def in_pieces(records, raw):
    for start in range(0, len(raw), 20_000):
        records.write(raw[start : start + 20_000])
    return records


def test_what_no_index_lists_is_passed_over(water):
    """As the notes that other writers leave between the records of theirs."""
    index = np.load(water / f"{NAMES[0]}.index.npy")
    index["json"][2] = (-1, -1, 0)
    index["bodies.npy"][0] = (-1, -1, 0)
    records = in_pieces(RecordSums("gaps.tar", index), (water / f"{NAMES[0]}.tar").read_bytes())
    assert records.findings == []
    assert records.lacking() is None


@pytest.mark.parametrize(
    ("field", "value"), [("offset", 0), ("offset", -10_000), ("size", 2**40), ("offset", 2**60), ("size", 0)]
)
def test_where_an_index_lies_of_a_record_that_one_is_told(water, field, value):
    lying = np.load(water / f"{NAMES[0]}.index.npy")
    lying["json"][field][2] = value
    records = in_pieces(RecordSums("false.tar", lying), (water / f"{NAMES[0]}.tar").read_bytes())
    (told,) = records.findings or [records.lacking()]
    assert (told.sample, told.column) == (lying["key"][2].decode(), "json")
