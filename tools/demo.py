"""The whole way once: synthetic world → exports → shards → VAE → GAN on two processes → one folder of pictures.

Each step is a command that a user would type; it is printed before it runs. Nothing is downloaded. A second call
goes on where the first one stopped.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from waterscape.errors import UserError, run_command
from waterscape.options import parse

HERE = Path(__file__).parent
QUIET = ["--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]  # accelerate warns of unstated ones


@dataclass(frozen=True)
class Demo:
    """Make a synthetic world, pack it, train a VAE and a GAN on it, and gather the pictures."""

    out: Path = Path("demo")
    """Where everything goes."""
    tiles: int = 1_200
    """Tiles of the synthetic world."""
    vae_images: int = 16_000
    """Images that the VAE is trained on."""
    gan_images: int = 12_000
    """Images that the GAN is trained on."""


def main() -> None:
    """Run the demo as the command line says."""
    demo = parse(Demo, sys.argv[1:], "demo")
    began = time.monotonic()
    exports, shards, vae, gan = (demo.out / name for name in ("exports", "shards/water", "runs/vae", "runs/gan"))
    if not exports.exists():
        run([HERE / "make_world.py", exports, "--tiles", demo.tiles, "--seed", 7])
    if not shards.exists():
        run([HERE / "pack_occurrence.py", exports, "--out", shards, "--processes", 2])
    run(["-m", "waterscape", "train", "water_vae", "--data", shards, "--out", vae, *lengths(demo.vae_images)])
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, *QUIET, "-m", "waterscape"]
    words = ["train", "water_gan", "--data", shards, "--start", f"vae={vae}", "--out", gan, "--processes", 2]
    run([*launcher, *words, *lengths(demo.gan_images)], ACCELERATE_USE_CPU="true")
    run(["-m", "waterscape", "sample", gan, "-n", 72, "--out", demo.out / "samples"])
    gather(demo, shards, vae, gan)
    print(f"all in {(time.monotonic() - began) / 60:.1f} minutes")


def lengths(images: int) -> list[object]:
    """How long to train, in small batches so that there are many steps, with ten pictures on the way."""
    every = images // 10
    return [
        "--batch",
        16,
        "--images",
        images,
        "--report-every",
        every // 2,
        "--picture-every",
        every,
        "--checkpoint-every",
        images // 4,
    ]


def run(words: list[object], **environment: str) -> None:
    """Print a command and run it. Raises `UserError` where it fails; it has said why."""
    command = [str(word) for word in words]
    print(
        "\n$ " + shlex.join([*(f"{name}={value}" for name, value in environment.items()), "python", *command]),
        flush=True,
    )
    code = subprocess.run([sys.executable, *command], env={**os.environ, **environment}).returncode
    if code:
        raise UserError(f"the command above ended with exit code {code}; mend what it says, then run the demo again")


def gather(demo: Demo, shards: Path, vae: Path, gan: Path) -> None:
    """Copy what there is to look at into one folder, and say what it is."""
    newest = {run: max((run / "pictures").glob("[0-9]*.png")) for run in (vae, gan)}
    views = {
        "1-tiles.png": (shards / "contact.png", "tiles of the synthetic exports: kept, and dropped with the reason"),
        "2-vae-reconstructions.png": (newest[vae], "held-out tiles, their reconstructions, and new tiles from noise"),
        "3-vae-curves.png": (vae / "curves.png", "the VAE's losses, and its error on held-out tiles"),
        "4-vae-over-time.png": (vae / "strip.png", "the same noise through the VAE's decoder as it learns"),
        "5-gan-classes.png": (newest[gan], "true tiles, then a row for each class, all from the same noise"),
        "6-gan-curves.png": (gan / "curves.png", "the GAN's losses"),
        "7-gan-over-time.png": (gan / "strip.png", "the same noise, one class each, as the GAN learns"),
        "8-gan-samples.png": (demo.out / "samples" / "samples.png", "new tiles of each class"),
    }  # fmt: skip
    pictures = demo.out / "pictures"
    pictures.mkdir(exist_ok=True)
    print("\nlook at (all of it synthetic):")
    for name, (source, what) in views.items():
        shutil.copyfile(source, pictures / name)
        print(f"  {pictures / name}  {what}")


if __name__ == "__main__":
    run_command(main)
