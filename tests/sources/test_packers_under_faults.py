"""Every packer's own command on two processes, killed or on a full disk: only whole shards, and then the same set."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from landsat_files import apart, numbers, scene, write_mask, write_tif
from packed_photos import hashes, packed, picture, refused, save
from PIL import Image
from programs import ROOT
from waiting import until

from waterscape.data.doctor import check

COUNT = 126  # above `parallel.FEW`, so that other processes work
PARTS = 2


def occurrence(folder):
    for number in range(COUNT):
        noise = np.random.default_rng(number).integers(0, 80, (64, 64)) + number % 40 // 2
        save(folder / f"tile{number:04d}.png", Image.fromarray(noise.astype(np.uint8)))
    return [folder, "--tile-size", 64, "--group", "file"]


def landsat(folder):
    for number in range(7):
        write_tif(folder / "scenes" / f"{number}.tif", numbers(scene(number)), transform=apart(number))
        write_mask(folder / "masks" / f"{number}.png", scene(number).water)
    return [folder / "scenes", "--masks", folder / "masks", "--tile-size", 24, "--least-water", 0, "--group", "file"]


def ships(folder):
    for number in range(COUNT):
        name = f"{number % 2}__2018070{number % 9}_180909_0f47__{-122.5 + 0.01 * number:.4f}_37.5.png"
        save(folder / name, picture(number, 20, 20))
    return [folder, "--side", 20]


def pairs(folder):
    for number in range(COUNT):
        name = f"{54 + 0.2 * (number // 12):.4f},{36 + 0.3 * (number % 12):.4f}"
        save(folder / "photos" / f"{name}.jpg", picture(number))
        save(folder / "satellite" / f"{name}.png", picture(1000 + number, 64, 64))
    return ["--photos", folder / "photos", "--satellite", folder / "satellite"]


INPUTS = [occurrence, ships, pairs, pytest.param(landsat, marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=INPUTS, ids=lambda write: write.__name__)
def packer(request, tmp_path_factory):
    """The tool's name, the words for its input, and the set that it makes at once."""
    tool = request.param.__name__
    words = [*request.param(tmp_path_factory.mktemp(tool) / "input"), "--samples-per-shard", 12]
    out = tmp_path_factory.mktemp("expected") / "made"
    packed(tool, *words, "--out", out)
    assert len(list(out.glob("*.tar"))) >= 8
    return tool, words, out


def start(tool, *words):
    """The tool on two processes, as a process group of its own."""
    command = [sys.executable, ROOT / "tools" / f"pack_{tool}.py", *words, "--processes", 2]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def living(group):
    """The processes of a group that run still."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def whole(path, expected):
    """Every shard that stands under its final name is the one that it shall be; returns how many tars these are."""
    found = {file: sum256 for file, sum256 in hashes(path).items() if file.endswith((".tar", ".npy"))}
    known = hashes(expected)
    assert found == {file: known[file] for file in found}
    return sum(file.endswith(".tar") for file in found)


def test_parts_made_by_the_command_and_joined_are_the_set_made_at_once(packer, tmp_path):
    tool, words, expected = packer
    out = tmp_path / "made"
    assert "part 2/2 is complete" in packed(tool, *words, "--out", out, "--part", "2/2")
    assert "run --part 1/2 again, then --join" in refused(tool, *words, "--out", out, "--join")
    packed(tool, *words, "--out", out, "--part", "1/2")
    assert "(0 made now, " in packed(tool, *words, "--out", out, "--part", "1/2")
    assert "read" in packed(tool, *words, "--out", out, "--join")
    assert hashes(out) == hashes(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert not check(out).findings
    assert "there are no parts of" in refused(tool, *words, "--out", out, "--join")


MOMENTS = {  # what the directory of the set to be holds when the packer is killed
    "at once": [".made.partial", ".made.partial/*-000001.tar"],
    "in parts": ["made.parts/.part-*", "made.parts/*/*.tar", "made.parts/shards/*.json"],
}


@pytest.mark.long
@pytest.mark.parametrize("way", MOMENTS)
def test_killed_in_mid_pack_nothing_half_stands_and_a_rerun_ends_in_identical_hashes(packer, tmp_path, way):
    tool, words, expected = packer
    words = [*words, "--out", tmp_path / "made"]
    killed = 0
    for pattern in MOMENTS[way]:
        process = start(tool, *words, *(["--part", "1/2"] if way == "in parts" else []))
        until(lambda: list(tmp_path.glob(pattern)) or process.poll() is not None, every=0.001)  # noqa: B023 at once
        process.send_signal(signal.SIGKILL)  # its own processes end with it
        process.communicate(timeout=60)
        killed += process.returncode == -signal.SIGKILL
        until(lambda: not living(process.pid), told=lambda: living(process.pid))  # noqa: B023 at once
        assert process.returncode in (0, -signal.SIGKILL)
        if way == "at once" and process.returncode:
            assert not (tmp_path / "made").exists()
        elif way == "in parts" and (tmp_path / "made.parts" / "shards").is_dir():
            whole(tmp_path / "made.parts" / "shards", expected)
    assert killed
    if way == "at once":
        if not (tmp_path / "made").exists():
            packed(tool, *words)
    else:
        for part in range(1, PARTS + 1):
            packed(tool, *words, "--part", f"{part}/{PARTS}")
        packed(tool, *words, "--join")
    assert hashes(tmp_path / "made") == hashes(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


DISK = 32 << 20


@pytest.fixture
def disk(small_disk):
    return small_disk(DISK)


def fails_for_want_of_room(tool, *words):
    process = start(tool, *words)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in told.splitlines()[-1]
    until(lambda: not living(process.pid), told=lambda: living(process.pid))


@pytest.mark.long
def test_on_a_full_disk_nothing_half_stands_and_a_rerun_ends_in_identical_hashes(packer, disk):
    tool, words, expected = packer
    words = [*words, "--out", disk / "made"]
    takes = sum(-(-path.stat().st_size // 4096) * 4096 for path in expected.iterdir())
    ballast = disk / "ballast"
    for share in (0.2, 0.8):  # of what the set takes
        ballast.write_bytes(bytes(DISK - int(share * takes)))
        fails_for_want_of_room(tool, *words)
        assert [path.name for path in disk.iterdir()] == ["ballast"]
        ballast.unlink()
    ballast.write_bytes(bytes(DISK - int(0.4 * takes)))
    fails_for_want_of_room(tool, *words, "--part", "1/1")
    shards = disk / "made.parts" / "shards"
    assert 0 < whole(shards, expected) < len(list(expected.glob("*.tar")))
    assert not (disk / "made").exists()
    ballast.unlink()
    packed(tool, *words, "--part", "1/1")
    packed(tool, *words, "--join")
    assert hashes(disk / "made") == hashes(expected)
    assert [path.name for path in disk.iterdir()] == ["made"]
