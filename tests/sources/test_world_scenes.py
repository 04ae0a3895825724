"""The synthetic scenes: painted alike on any machine, of seven classes that can be told apart, called synthetic."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from packed_photos import packed
from PIL import Image
from programs import run_program

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.models.scene_classifier import SCENES
from waterscape.sources import parallel
from waterscape.sources.world.noise import Lot
from waterscape.sources.world.scenes.boxes import EYE, Box, cast, on_ground, put
from waterscape.sources.world.scenes.ground import look
from waterscape.sources.world.scenes.light import FINE, SIDE, Weather, places
from waterscape.sources.world.scenes.scene import PAINTERS, scene, write_scenes


def digests(out):
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.jp*g")}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "scenes"
    write_scenes(out, 14, seed=3)
    return out


def test_classes_are_those_of_the_classifier():
    assert tuple(PAINTERS) == SCENES


@pytest.mark.parametrize("number", range(len(PAINTERS)))
def test_a_scene_is_a_picture_of_its_own(number):
    made, other = scene(5, number), scene(5, number + len(PAINTERS))
    assert made.label == other.label == SCENES[number]
    assert made.photo.shape == (SIDE, SIDE, 3)
    assert made.photo.dtype == np.uint8
    assert made.photo.std() > 12, "a blank picture"
    assert np.abs(made.photo.astype(float) - other.photo).mean() > 8, "the same picture again"


@pytest.mark.long
def test_bytes_do_not_depend_on_processes(world, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "FEW", 0)
    write_scenes(tmp_path / "again", 14, seed=3, processes=2)
    assert digests(tmp_path / "again") == digests(world)


def test_another_seed_is_another_world_and_the_command_makes_the_same(world, tmp_path):
    write_scenes(tmp_path / "other", 7, seed=4)
    assert not set(digests(tmp_path / "other").values()) & set(digests(world).values())
    done = run_program("tools/make_world.py", tmp_path / "first", "--scenes", 7, "--seed", 3)
    assert done.returncode == 0, done.stderr
    assert "7 synthetic scenes" in done.stdout
    assert digests(tmp_path / "first").items() <= digests(world).items()


def test_the_world_says_that_it_is_synthetic(world):
    facts = json.loads((world / "world.json").read_text())
    assert facts["synthetic"] is True
    assert {entry["file"] for entry in facts["files"]} == set(digests(world))
    with Image.open(world / facts["files"][0]["file"]) as photo:
        assert b"synthetic" in photo.info["comment"]


def test_they_are_packed_as_photos_are_and_stay_synthetic(world, tmp_path):
    packed("scenes", world, "--out", tmp_path / "set")
    facts = Manifest.load(tmp_path / "set").facts
    assert facts["synthetic"] is True
    assert tuple(facts["classes"]) == SCENES


def test_what_cannot_be_is_refused_and_leaves_nothing(world, tmp_path):
    with pytest.raises(UserError, match=r"--scenes is 6; give 7 or more"):
        write_scenes(tmp_path / "few", 6)
    with pytest.raises(UserError, match="--replace"):
        write_scenes(world, 7)
    assert not list(tmp_path.iterdir())


def test_even_ground_is_seen_where_geometry_says():
    """On a plane `eye` below, a pixel `d` under the horizon sees the distance eye / (d · width)."""
    seen = look(lambda across, _: np.zeros_like(across), eye=0.8, horizon=0.4, width=1.25)
    x, y = places()
    below = (y - 0.4)[seen.there]
    expected = 0.8 / (below * 1.25)
    near = (expected > 0.6) & (expected < 20)
    np.testing.assert_allclose(seen.away[near], expected[near], rtol=0.02)
    np.testing.assert_allclose(seen.across[near], ((x[seen.there] - 0.5) * 1.25 * expected)[near], atol=0.02 * 20)
    np.testing.assert_allclose(seen.normal, np.broadcast_to((0, 1, 0), seen.normal.shape), atol=1e-6)
    assert not seen.there[: int(0.4 * FINE) - 2].any()


def test_a_wall_across_hides_what_is_behind():
    """A ridge of height h at distance z reaches up to the row horizon + (eye − h) / z."""

    def height(across, away):
        return np.where((away > 3) & (away < 3.5), 1.0, 0.0).astype(np.float32) + 0 * across

    seen = look(height, eye=0.5, horizon=0.5, width=1.0)
    top = np.argmax(seen.there[:, FINE // 2]) / FINE
    assert top == pytest.approx(0.5 + (0.5 - 1.0) / 3, abs=0.01)


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_a_box_is_hit_where_geometry_says(turn):
    weather = Weather.of(Lot(1, "weather"))
    rays = cast(weather, 0.5, 1.0)
    put(rays, weather, Box(Lot(1), 0.0, 20.0, 3.0, 3.0, 8.0, turn=turn))
    middle = rays.depth[:, FINE // 2]
    assert middle[FINE // 2] == pytest.approx(20 - 3 / np.cos(turn), rel=0.01)
    hit = np.flatnonzero(middle < 100)
    foot, top = (hit[-1] + 1) / FINE, hit[0] / FINE
    front = 20 - 3 / np.cos(turn)
    assert foot == pytest.approx(0.5 + EYE / front, abs=0.01)
    assert top == pytest.approx(0.5 - (8 - EYE) / front, abs=0.01)
    x, z = on_ground(rays)
    assert z[-1, 0] == pytest.approx(EYE / (0.5 - 0.5 / FINE), rel=1e-3)
    assert x[-1, 0] < 0 < x[-1, -1]
