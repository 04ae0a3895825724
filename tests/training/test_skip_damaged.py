"""A run over damaged samples: stopped, or gone on within the stated budget, with one count over all processes."""

import numpy as np
import pytest
from programs import finish, run, start, write_tiles

from waterscape.errors import UserError
from waterscape.training.events import read_events, read_ledger
from waterscape.training.skips import count_skipped

TRAIN = 72  # samples in three shards: 32, 32 and 8


@pytest.fixture
def uneven(tmp_path):
    return write_tiles(tmp_path / "uneven", samples=80)


def spoil(directory, shard, row):
    name = f"uneven-train-{shard:06d}"
    entry = np.load(directory / f"{name}.index.npy")[row]
    path = directory / f"{name}.tar"
    content = bytearray(path.read_bytes())
    content[int(entry["occurrence64.npy"]["offset"]) + 900] ^= 8
    path.write_bytes(content)
    return f"{name}/{entry['key'].decode()}"


def words(data, out, images, *more):
    small = ["--widths", 2, 2, 2, 2, 2, 2, 2, 2, "--batch", 12, "--held-out", 8, "--no-tensorboard"]
    return ["train", "water_vae", "--data", data, "--out", out, "--images", images, *small, *more]


@pytest.mark.long
def test_three_shards_on_two_processes_take_equal_steps_over_damaged_samples(uneven, tmp_path, capsys):
    spoiled = {spoil(uneven, *at) for at in [(0, 3), (1, 31), (2, 7)]}
    more = ["--skip-damaged", 3, "--report-every", 24]
    out = tmp_path / "two"
    output = finish(start(2, *words(uneven, out, 2 * TRAIN, *more, "--processes", 2)))
    assert "3 damaged samples skipped, replaced in 6 readings" in output
    lengths = [len((out / "ledger" / f"rank-0000{rank}.tsv").read_text().splitlines()) for rank in range(2)]
    assert lengths == [TRAIN, TRAIN]
    assert not spoiled & set(read_ledger(out).values())
    events = [event for event in read_events(out) if event["event"] == "skipped"]
    told = [name for event in events for name in event["samples"]]
    assert sorted(told) == sorted(spoiled), "each is told once"
    for event in events:
        for name, wrong in event["samples"].items():
            assert output.count(f"skipped: {wrong}") == 1
            assert f"sample {name.split('/')[1]}, column occurrence64.npy, offset" in wrong
            assert "crc32" in wrong

    run(*words(uneven, tmp_path / "one", 2 * TRAIN, *more))
    assert read_ledger(tmp_path / "one") == read_ledger(out)
    run(*words(uneven, tmp_path / "one", 3 * TRAIN, *more))  # resumed: the count goes on
    assert "3 damaged samples skipped, replaced in 9 readings" in capsys.readouterr().out
    assert count_skipped(read_events(tmp_path / "one"))[0].keys() == spoiled


def test_one_more_than_the_budget_ends_the_run(uneven, tmp_path):
    for at in [(0, 3), (1, 31), (2, 7)]:
        spoil(uneven, *at)
    with pytest.raises(
        UserError, match=r"3 samples are damaged, more than the 2 of --skip-damaged; one of them: .*tar, s"
    ):
        run(*words(uneven, tmp_path / "run", 4 * TRAIN, "--skip-damaged", 2))
    with pytest.raises(UserError, match=r"uneven-train-00000\d\.tar, sample .*crc32"):
        run(*words(uneven, tmp_path / "other", 4 * TRAIN))
    with pytest.raises(UserError, match="--skip-damaged is -1"):
        run(*words(uneven, tmp_path / "other", 4 * TRAIN, "--skip-damaged", -1))


@pytest.mark.long
def test_the_budget_is_of_all_processes_together(uneven, tmp_path):
    for at in [(0, 3), (0, 4), (1, 30), (1, 31), (2, 6), (2, 7)]:
        spoil(uneven, *at)
    process = start(2, *words(uneven, tmp_path / "run", 20 * TRAIN, "--skip-damaged", 5, "--processes", 2))
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "6 samples are damaged, more than the 5 of --skip-damaged" in output
