"""Training from tars without an index, on several processes and over a stop."""

import json

import pytest
from foreign_sets import write_foreign
from programs import finish, run, start

from waterscape.training.events import read_events, read_ledger


def words(tiles, out, images):
    small = ["--widths", *[2] * 8, "--batch", 7, "--held-out", 8, "--no-tensorboard", "--evaluate-every", 0]
    return ["train", "water_vae", "--data", tiles, "--out", out, "--images", images, *small]


@pytest.mark.long
def test_two_processes_share_three_tars_and_go_on_after_a_stop(tmp_path):
    """3 tars to train on, 10 samples each: one process reads two of them, the other one, and neither starves."""
    tiles = write_foreign(tmp_path / "tiles", "pax", samples=40, tars=4, only=("occurrence64.npy", "json"))
    out = tmp_path / "run"
    output = finish(start(2, *words(tiles, out, 84), "--processes", 2))
    assert "NOT exactly resumable" in output
    assert output.count("NOT exactly resumable") == 1
    assert "tiles-valid-0003.tar" in output
    ledger = read_ledger(out)
    assert sorted(ledger) == list(range(84))
    parts = [(out / "ledger" / f"rank-0000{rank}.tsv").read_text().splitlines() for rank in range(2)]
    assert [len(part) for part in parts] == [48, 36], "4 and 3 of each batch of 7"
    tars = [{line.split("\t")[1].partition("/")[0] for line in part[:10]} for part in parts]
    assert not tars[0] & tars[1]

    run(*words(tiles, out, 126))
    assert {place: read_ledger(out)[place] for place in range(84)} == ledger
    assert sorted(read_ledger(out)) == list(range(126))
    losses = [event["losses"]["loss"] for event in read_events(out) if event["event"] == "report"]
    assert losses
    assert json.loads((out / "run.json").read_text())["exactly_resumable"] is False
