"""The model card: what it tells of a run, whatever the run lacks."""

import json
import shutil

import pytest
from markdown import markdown
from programs import run

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.pages.model_card import FILE, set_facts, write_model_card


def test_a_run_has_a_card_once_it_has_ended(runs):
    text = (runs / "gan" / FILE).read_text()
    for told in (
        "# Model card: gan",
        "It has learnt from **synthetic** data",
        "| images | 64 of 64 |",
        "| ended | done: 64 images |",
        "| started from (vae) | water_vae:reference, sha256 `",
        "| samples | train 180, valid 20 |",
        "| licence | not stated: ask",
        "Nothing was measured yet",
        "**What it makes is made up.**",
    ):
        assert told in text, told
    assert "waterscape train water_gan" in text
    assert "<table>" in markdown(text, extensions=["tables"])


def test_an_evaluation_renews_it_and_it_needs_no_data(runs, tmp_path):
    copy = tmp_path / "vae"
    shutil.copytree(runs / "vae", copy)
    run("evaluate", copy, "--split", "valid", "--samples", 16)
    text = (copy / FILE).read_text()
    assert "| figure | value | 95 % interval | floor | ceiling | better |" in text
    assert "| kernel distance |" in text
    assert "After 64 images" in text
    assert "(the set it learnt from)" in text
    facts = json.loads((copy / "run.json").read_text())
    facts["run"]["data"] = str(tmp_path / "gone")
    facts["set"] |= {"name": "a|b\n<script>", "licence": "CC BY 4.0", "licences": {"CC0": 3}, "synthetic": False}
    (copy / "run.json").write_text(json.dumps(facts))
    (copy / "cards" / "broken.json").write_text("{")
    text = write_model_card(copy).read_text()
    assert "| set | a\\|b &lt;script> |" in text
    assert "| licence | CC BY 4.0 |" in text
    assert "| of single pictures | CC0: 3 |" in text
    assert "| kind | real |" in text
    assert "`broken.json` is no metric card" in text


@pytest.mark.parametrize("licences", [["CC0"], "CC0", None, {"CC0": 3}])
def test_a_manifest_may_say_anything_of_licences(runs, tmp_path, licences):
    facts = json.loads((runs / "vae" / "run.json").read_text())
    manifest = Manifest("set", (), (), {"licence": "CC0", "licences": licences})
    assert set_facts(manifest).get("licences") == (licences if isinstance(licences, dict) else None)
    facts["set"] |= {"licence": "CC0", "licences": licences}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert ("of single pictures" in write_model_card(tmp_path).read_text()) is isinstance(licences, dict)


def test_an_older_run_and_one_without_a_checkpoint(runs, tmp_path):
    facts = json.loads((runs / "vae" / "run.json").read_text())
    del facts["set"]
    (tmp_path / "run.json").write_text(json.dumps(facts))
    text = write_model_card(tmp_path).read_text()
    assert "| images | 0 of 64 |" in text
    assert "| ended | not yet, or was killed |" in text
    assert "| kind | not stated |" in text
    with pytest.raises(UserError, match="is not a run"):
        write_model_card(tmp_path / "nothing")
