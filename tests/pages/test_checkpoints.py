"""`waterscape checkpoints`: listed, verified, pruned, exported."""

import pytest
from programs import run
from safetensors import safe_open

from waterscape import models
from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.training import checkpoint


@pytest.fixture(scope="module")
def trained(tiles, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "vae"
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 16, "--no-tensorboard"]
    intervals = ["--checkpoint-every", 32, "--keep", 3, "--milestone-every", 64, "--images", 160, "--evaluate-every", 0]
    run("train", "water_vae", "--data", tiles, "--out", out, *small, *intervals)
    return out


def test_a_list_says_why_each_is_kept_and_which_is_broken(trained, capsys):
    assert dispatch(["checkpoints", str(trained), "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["64", "96", "128", "160"]
    assert [[kind in line for kind in ("milestone", "newest", "whole")] for line in lines] == [
        [True, False, True],
        [False, True, True],
        [True, True, True],
        [False, True, True],
    ]
    damaged = trained / "checkpoints" / "000000000096" / "network.encoder.safetensors"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert dispatch(["checkpoints", str(trained)]) == 0, "sizes alone do not tell"
    assert dispatch(["checkpoints", str(trained), "--verify"]) == 1
    assert "broken: network.encoder.safetensors has another sha256" in capsys.readouterr().out
    damaged.write_bytes(content[:-9])
    assert dispatch(["checkpoints", str(trained)]) == 1
    assert "broken: network.encoder.safetensors has" in capsys.readouterr().out
    assert dispatch(["checkpoints", str(trained), "--prune"]) == 0
    assert "000000000096 dropped" in capsys.readouterr().out
    assert [path.name[-3:] for path in checkpoint.every(trained / "checkpoints")] == ["064", "128", "160"]


def test_exported_weights_are_those_that_are_shown_and_say_where_they_come_from(trained, tmp_path):
    assert dispatch(["checkpoints", str(trained), "--export", str(tmp_path / "weights.safetensors")]) == 0
    shown = models.load(trained)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        metadata, names = file.metadata(), set(file.keys())
        for network, module in shown.networks.items():
            for key, value in module.state_dict().items():
                assert file.get_tensor(f"{network}.{key}").equal(value)
                names.remove(f"{network}.{key}")
    assert not names
    assert metadata["model"] == "water_vae:recommended"
    assert metadata["checkpoint"] == shown.sha256
    assert metadata["run"] == str(trained)
    with pytest.raises(UserError, match=r"no whole checkpoint of 7 images .*; it has 64"):
        dispatch(["checkpoints", str(trained), "--export", str(tmp_path / "none"), "--at", "7"])
    with pytest.raises(UserError, match="is not a run"):
        dispatch(["checkpoints", str(tmp_path)])
