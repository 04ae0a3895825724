"""Shards harmed while a training runs, in real processes: it ends and names the shard, or skips and counts exactly."""

import os
import re
import shutil
import signal

import numpy as np
import pytest
from programs import write_tiles
from ranks import words
from waiting import until

from waterscape.data.order import Order
from waterscape.data.shards import ShardSet
from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome
from waterscape.training.skips import count_skipped

SECOND = "uneven-train-000001"  # of three shards: 32, 32 and 8 samples


@pytest.fixture
def uneven(tmp_path):
    return write_tiles(tmp_path / "uneven", samples=80)


def cut(directory):
    os.truncate(directory / f"{SECOND}.tar", 1500)


def replace(directory):
    """Another tar under its name: the first one, as long and as whole, of other samples."""
    shutil.copy(directory / "uneven-train-000000.tar", directory / "new")
    (directory / "new").replace(directory / f"{SECOND}.tar")


def remove(directory):
    (directory / f"{SECOND}.tar").unlink()


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.long)], ids=["alone", "two"])
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (cut, r"\d+ of 5120 bytes are there: the tar is cut short"),
        (replace, r"crc32 [0-9a-f]{8} instead of [0-9a-f]{8}: damaged"),
        pytest.param(remove, "the tar is gone", marks=pytest.mark.long),
    ],
    ids=["cut", "replaced", "removed"],
)
def test_a_shard_harmed_while_a_run_reads_it_ends_the_run_in_a_line_that_names_it(
    harm, told, world, born, uneven, tmp_path
):
    out = tmp_path / "run"
    ranks = born(world, words(uneven, out), tmp_path / "logs")
    ranks.trained(out, 640)
    harm(uneven)
    assert [ranks.ended(rank) for rank in range(world)] == [1] * world, "an exit code, and no signal such as SIGBUS"
    reason = read_outcome(out).reason
    place = (
        rf"{re.escape(str(uneven / SECOND))}\.tar, sample 0000000\d\d, column occurrence64\.npy, offset \d+: {told}; "
    )
    assert re.search(place, reason)
    assert any(line == f"error: {reason}" for line in ranks.log(0).splitlines()), ranks.log(0)
    for rank in range(world):
        assert "Traceback" not in ranks.log(rank)
    assert read_outcome(out).word == "failed"


@pytest.mark.long
def test_once_the_shard_is_mended_the_same_command_goes_on_as_planned(born, uneven, tmp_path):
    whole = (uneven / f"{SECOND}.tar").read_bytes()
    out = tmp_path / "run"
    ranks = born(2, words(uneven, out), tmp_path / "logs")
    ranks.trained(out, 640)
    cut(uneven)
    assert [ranks.ended(rank) for rank in range(2)] == [1, 1]
    (uneven / f"{SECOND}.tar").write_bytes(whole)
    goal = checkpoint.newest(out / "checkpoints").images + 320
    assert goal >= 640 + 320
    again = born(2, words(uneven, out, "--images", goal), tmp_path / "again")
    assert [again.ended(rank) for rank in range(2)] == [0, 0], again.log(0)
    assert read_ledger(out) == planned(uneven, goal)


def planned(directory, images):
    """Place in the stream → the sample that the order plans there, as a ledger has them."""
    shards = ShardSet(directory, "train")
    places = zip(*Order(shards.counts, 0).locate(0, images), strict=True)
    keys = (f"{shards.shards[shard].name}/{shards.indexes[shard]['key'][row].decode()}" for shard, row in places)
    return dict(enumerate(keys))


def spoil(directory, row):
    """Change a byte of a payload in place; returns the sample's name."""
    entry = np.load(directory / f"{SECOND}.index.npy")[row]
    with (directory / f"{SECOND}.tar").open("r+b") as file:
        file.seek(int(entry["occurrence64.npy"]["offset"]) + 900)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    return f"{SECOND}/{entry['key'].decode()}"


def ledger_of(out, rank):
    lines = (out / "ledger" / f"rank-{rank:05d}.tsv").read_text().splitlines()
    return {int(place): name for place, name in (line.split("\t")[:2] for line in lines)}


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.long)])
def test_payloads_damaged_while_a_run_goes_on_are_skipped_within_the_budget_and_counted_exactly(
    world, born, uneven, tmp_path
):
    out, more = tmp_path / "run", ["--skip-damaged", 2, "--report-every", 320]
    ranks = born(world, words(uneven, out, *more), tmp_path / "logs")
    ranks.trained(out, 640)
    keys = np.load(uneven / f"{SECOND}.index.npy")["key"]
    instead = {spoil(uneven, row): f"{SECOND}/{keys[row + 1].decode()}" for row in (3, 10)}
    until(lambda: count_skipped(read_events(out))[0].keys() == instead.keys(), told=lambda: ranks.log(0))
    for rank in range(world):
        ranks.signal(rank, signal.SIGTERM)
    assert [ranks.ended(rank) for rank in range(world)] == [75] * world, ranks.log(0)

    goal = len(read_ledger(out)) + 320
    ended = born(world, words(uneven, out, *more, "--images", goal), tmp_path / "ended")
    assert [ended.ended(rank) for rank in range(world)] == [0] * world, ended.log(0)
    ledger, wanted = read_ledger(out), planned(uneven, goal)
    assert ledger.keys() == wanted.keys()
    replaced = {place for place in ledger if ledger[place] != wanted[place]}
    assert {place: ledger[place] for place in replaced} == {place: instead[wanted[place]] for place in replaced}
    assert min(replaced) >= 640, "what was read before the damage stays"
    for rank in range(world):
        for name in instead:  # from the first reading that met the damage on, each one is replaced
            met = [place in replaced for place in sorted(ledger_of(out, rank)) if wanted[place] == name]
            assert met == sorted(met)
            assert any(met)
    assert f"; 2 damaged samples skipped, replaced in {len(replaced)} readings" in ended.log(0)

    spoil(uneven, 20)
    again = born(world, words(uneven, out, *more), tmp_path / "again")
    assert [again.ended(rank) for rank in range(world)] == [1] * world
    assert "3 samples are damaged, more than the 2 of --skip-damaged; one of them: " in read_outcome(out).reason
