"""Metric cards: written and read, put side by side, and never compared where they were not taken alike."""

import json
from dataclasses import replace

import pytest

from waterscape.errors import UserError
from waterscape.metrics.card import Card, Figure, table

CARD = Card(
    run={"name": "vae", "model": "water_vae", "sha256": "0f"},
    data={"name": "water", "manifest_sha256": "ab" * 32, "split": "test", "samples": 100, "synthetic": True},
    conditions={"features": "random-1", "made": 512, "seed": 0},
    figures=(Figure("Fréchet distance", 12.5, 11.0, 14.0, 3.0, 900.0, "lower"), Figure("effective rank", 7.25)),
    software={"torch": "2"},
)


def test_a_card_is_read_as_it_was_written(tmp_path):
    CARD.save(tmp_path / "card.json")
    assert Card.load(tmp_path / "card.json") == CARD
    assert json.loads((tmp_path / "card.json").read_text())["figures"][1] == {
        "name": "effective rank",
        "value": 7.25,
        "better": "",
    }


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(CARD, run={"name": "gan"}, software={}), []),
        (replace(CARD, conditions={**CARD.conditions, "made": 64}), ["made: 512 and 64"]),
        (replace(CARD, conditions={**CARD.conditions, "features": "x"}), ["features: random-1 and x"]),
        (replace(CARD, data={**CARD.data, "split": "valid"}), ["set's split: test and valid"]),
        (
            replace(CARD, data={**CARD.data, "manifest_sha256": "cd" * 32}),
            ["set's manifest_sha256: abababababab… and cdcdcdcdcdcd…"],
        ),
        (replace(CARD, conditions={"seed": 0}), ["features: random-1 and none", "made: 512 and none"]),
    ],
)
def test_what_was_not_taken_alike_is_told(other, told):
    assert CARD.differences(other) == told
    assert len(other.differences(CARD)) == len(told)


def test_side_by_side():
    other = replace(CARD, figures=(Figure("PSNR", 20.0), Figure("effective rank", 12345.6)))
    lines = table({"one": CARD, "other": other}).splitlines()
    assert lines[0].split() == ["one", "other", "floor", "ceiling"]
    assert lines[1].split() == ["Fréchet", "distance", "12.5", "[11,", "14]", "-", "3", "900"]
    assert lines[2].split() == ["effective", "rank", "7.25", "12346"]
    assert lines[3].split() == ["PSNR", "-", "20"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no metric card"),
        ("[]", "no metric card"),
        ('{"format": 1, "figures": []}', "no metric card"),
        ('{"format": 2}', "newer version"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Card.load(tmp_path / "card.json")
    with pytest.raises(UserError, match="cannot be read"):
        Card.load(tmp_path / "missing.json")
