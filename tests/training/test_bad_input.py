"""What a user gets for bad input to a training: one line that says what was wrong, where, and what to do."""

import shutil

import numpy as np
import pytest
from programs import run, start, write_tiles

from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter


def refused(tmp_path, *words, told):
    with pytest.raises(ValueError) as error:  # noqa: PT011 each caller says what the message must tell
        run("train", *words, "--out", tmp_path / "run", "--no-tensorboard")
    assert "\n" not in str(error.value)
    for part in told:
        assert part in str(error.value)


def test_the_program_prints_one_line_and_ends_with_a_code(tiles, tmp_path):
    process = start(1, "train", "water_vae", "--data", tiles, "--out", tmp_path / "run", "--bath", 3)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_a_damaged_sample_ends_the_run_with_shard_and_sample_named(tiles, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiles, damaged)
    shard = Manifest.load(damaged).split("train")[0]
    path = damaged / f"{shard.name}.tar"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    refused(tmp_path, "water_vae", "--data", damaged, "--images", 400, told=[shard.name, "sample 0000"])


def test_a_missing_sample_ends_the_run_with_its_shard_named(tiles, tmp_path):
    short = tmp_path / "short"
    shutil.copytree(tiles, short)
    shard = Manifest.load(short).split("train")[-1]
    path = short / f"{shard.name}.tar"
    path.write_bytes(path.read_bytes()[: -(10240 + 4096)])
    refused(tmp_path, "water_vae", "--data", short, "--images", 64, told=[shard.name])
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["water_vea"], ["no model 'water_vea'", "water_gan, water_vae"]),
        (["water_vae:best"], ["no preset 'best'", "reference, recommended"]),
        (["water_vae", "--bath", 3], ["no option --bath", "did you mean --batch?", "--learning-rate"]),
        (["water_vae", "--batch", 0], ["--batch is 0; give 1 or more"]),
        (["water_vae", "--seed", -1], ["--seed is -1"]),
        (["water_vae", "--data", "nowhere"], ["nowhere is no set of shards"]),
        (["water_gan"], ["--start vae=RUN (a water_vae run)"]),
        (["water_gan", "--start", "runs/vae"], ["--start runs/vae is not NAME=RUN"]),
        (["water_vae", "--start", "vae=x"], ["this model starts from: none; given: vae"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_bad_options(tmp_path, tiles, words, told):
    data = [] if "--data" in words else ["--data", tiles]
    refused(tmp_path, *words, *data, told=told)
    assert not (tmp_path / "run").exists()


def test_shards_without_the_model_s_columns_or_with_other_classes(tmp_path):
    with SetWriter(tmp_path / "photos", facts={}) as writer:
        writer.add("train", {"occurrence.npy": np.zeros((64, 64), np.uint8)})
    refused(
        tmp_path, "water_vae", "--data", tmp_path / "photos", told=["no column occurrence64.npy", "pack them again"]
    )
    other = write_tiles(tmp_path / "other", samples=20, classes=["pond", "stream"])
    told = ["have the classes pond, stream", "the model knows lake"]
    refused(tmp_path, "water_gan", "--data", other, "--start", "vae=x", told=told)
