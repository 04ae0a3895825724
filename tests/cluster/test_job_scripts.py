"""The job scripts: free of shell mistakes, and what they would run, held by files in `golden/`.

`WATERSCAPE_WRITE_GOLDEN=1` writes those files anew.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import ROOT

GOLDEN = Path(__file__).parent / "golden"
GAN = ["train_gan.sh", "--data", "shards/water", "--start", "vae=runs/vae", "--out", "runs/gan", "--dry-run"]
FAR = ["train.sh", "water_vae:reference", "--data", "/archive/water", "--out=/scratch/a b/vae", "--dry-run"]
PACK = ["pack.sh", "exports", "--out", "shards/water", "--true-scale", "--dry-run"]


def dry_run(words, cwd, **environment):
    """What a script prints with --dry-run; the name of the working directory is replaced by HERE."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "WATERSCAPE_"))}
    script, *options = words
    done = subprocess.run(
        [ROOT / "slurm" / script, *options],
        cwd=cwd,
        env={**kept, "WATERSCAPE_PYTHON": "python", "WATERSCAPE_HOME": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    user = f"--user={os.getuid()}:{os.getgid()}"
    text = done.stdout.replace(str(cwd), "HERE").replace(str(ROOT), "CHECKOUT").replace(user, "--user=UID:GID")
    return done.returncode, text, done.stderr


@pytest.mark.parametrize(
    ("name", "words", "environment"),
    [
        ("train_gan", GAN, {}),
        ("train", FAR, {}),
        ("pack", PACK, {}),
        ("podman", FAR, {"WATERSCAPE_IMAGE": "waterscape:cpu", "WATERSCAPE_RUNTIME": "podman"}),
        ("docker", GAN, {"WATERSCAPE_IMAGE": "waterscape", "WATERSCAPE_RUNTIME": "docker", "SLURM_GPUS_ON_NODE": "4"}),
        ("apptainer", FAR, {"WATERSCAPE_IMAGE": "waterscape.sif", "WATERSCAPE_RUNTIME": "apptainer"}),
        ("enroot", GAN, {"WATERSCAPE_IMAGE": "waterscape", "WATERSCAPE_RUNTIME": "enroot"}),
        ("pyxis", FAR, {"WATERSCAPE_IMAGE": "waterscape.sqsh"}),
        ("pack_in_container", PACK, {"WATERSCAPE_IMAGE": "waterscape.sif", "WATERSCAPE_RUNTIME": "singularity"}),
    ],
)
def test_expanded_text(name, words, environment, tmp_path):
    code, text, told = dry_run(words, tmp_path, **environment)
    text = text.replace("--userns=keep-id ", "")  # only where the tests' user is not root
    assert (code, told) == (0, "")
    if os.environ.get("WATERSCAPE_WRITE_GOLDEN"):
        (GOLDEN / f"{name}.txt").write_text(text)
    assert text == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (["train_gan.sh", "--data", "x"], {}, "error: say where the run goes: --out runs/NAME"),
        (["pack.sh", "exports"], {}, "error: say where the shards go: --out shards/NAME"),
        (GAN[:-1], {}, "error: this is a job script: sbatch "),
        (PACK[:-1], {}, "error: this is the script of an array of jobs: sbatch "),
        (GAN, {"WATERSCAPE_IMAGE": "i", "WATERSCAPE_RUNTIME": "lxc"}, "error: WATERSCAPE_RUNTIME=lxc is none of "),
        (GAN, {"WATERSCAPE_IMAGE": "i", "PATH": "/nowhere"}, "error: no program for WATERSCAPE_IMAGE=i here: install "),
    ],
)
def test_mistakes_are_told_in_one_line(words, environment, told, tmp_path):
    if "PATH" in environment:  # the shell itself, and no container runtime
        (tmp_path / "bin").mkdir()
        for program in ("bash", "env", "dirname", "sort", "sed"):
            (tmp_path / "bin" / program).symlink_to(shutil.which(program))
        environment = {**environment, "PATH": str(tmp_path / "bin")}
    code, _, text = dry_run(words, tmp_path, **environment)
    assert code == 1
    assert text.startswith(told)
    assert text.count("\n") == 1


def test_shellcheck():
    if shutil.which("shellcheck") is None:
        reason = "needs shellcheck; on Debian: apt-get install shellcheck"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    scripts = [*(ROOT / "slurm").glob("*.sh"), *Path(__file__).parent.glob("*.sh"), ROOT / ".ci" / "run"]
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
