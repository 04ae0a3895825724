"""The embedded data set: made once, called synthetic, with every class."""

import pytest

from waterscape import embedded
from waterscape.data.manifest import Manifest
from waterscape.metrics.morphology import CLASSES
from waterscape.training.processes import Processes


def test_made_once_and_called_synthetic(tmp_path, monkeypatch, capsys):
    place = tmp_path / "shards" / "world"
    monkeypatch.setattr(embedded, "PLACE", place)
    processes = Processes(None, "float32", tmp_path)
    embedded.provide(tmp_path / "elsewhere", processes)
    assert not place.exists()
    embedded.provide(place, processes, tiles=40)
    assert "SYNTHETIC" in capsys.readouterr().err
    manifest = Manifest.load(place)
    assert manifest.facts["synthetic"] is True
    assert tuple(manifest.facts["classes"]) == CLASSES
    assert set(manifest.splits) == {"train", "valid", "test"}
    embedded.provide(place, processes, tiles=40)
    assert capsys.readouterr().err == ""
    assert [path.name for path in place.parent.iterdir()] == ["world"]


def test_a_failure_is_told(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(embedded, "PLACE", blocked / "world")
    with pytest.raises(ValueError, match="synthetic world cannot be made"):
        embedded.provide(blocked / "world", Processes(None, "float32", tmp_path), tiles=4)
