"""A program for tests: pack a folder in parts while being killed, again and again, and tell what stood in between.

    python packing_under_faults.py FOLDER OUT EXPECTED PARTS random|steps      (PARTS 0: at once, not in parts)

Each trial is a process of its own (a fork, so that it starts at once) that goes on with the packing and is ended by
SIGKILL: at a random moment, or after its n-th call that gives a file its name or forces it to disk. After each trial
every shard that stands under its final name must be the one in EXPECTED, byte for byte. The trials end when one of them
gets the work done.
"""

from __future__ import annotations

import filecmp
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from parts_of_tiles import join, pack_part

from waterscape.errors import UserError
from waterscape.sources.occurrence_pack import Packing, pack
from waterscape.sources.occurrence_sample import Labelling

CALLS = ("replace", "rename", "link", "fsync")
LABELLING = Labelling(
    lambda occurrence, _: np.array([[occurrence.mean()]], np.float32), lambda _: 0, ("water",), ("mean",)
)
PACKING = Packing(tile_size=32, group="file", samples_per_shard=8)


def work(folder, out, parts):
    """One round: every part, then the join; what stands is not made again."""
    if not parts:
        pack([folder], out, LABELLING, PACKING, replace=True)
        return
    for part in range(1, parts + 1):
        pack_part([folder], out, LABELLING, PACKING, part=part, parts=parts, replace=True)
    join([folder], out, LABELLING, PACKING)


def die_after(calls):
    """End this process after so many publishing calls."""
    left = [calls]

    def dying(call):
        def wrapped(*arguments, **options):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*arguments, **options)

        return wrapped

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))


def trial(arguments, *, calls=None, seconds=None):
    """Run the work in a child that is killed; returns whether it was done before that."""
    child = os.fork()
    if child == 0:
        if calls is not None:
            die_after(calls)
        try:
            work(*arguments)
        except UserError as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def check(out, expected):
    """Every file under its final name is the whole one. Returns how many shards stand among the parts."""
    shards = out.with_name(f"{out.name}.parts") / "shards"
    for path in [*shards.glob("*.tar"), *shards.glob("*.index.npy")]:
        assert filecmp.cmp(path, expected / path.name, shallow=False), path
    if out.exists():
        assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in expected.iterdir())
        for path in out.iterdir():
            assert filecmp.cmp(path, expected / path.name, shallow=False), path
    return len(list(shards.glob("*.json")))


def main():
    """Run trials until the work is done; print the counts."""
    folder, out, expected = map(Path, sys.argv[1:4])
    parts, kind = int(sys.argv[4]), sys.argv[5]
    shards = len(pack([folder], expected, LABELLING, PACKING).manifest.shards)
    random.seed(parts)
    standing, killed, joining = 0, 0, 0
    while True:
        if kind == "random":
            ended = trial(
                (folder, out, parts), seconds=random.uniform(0, 0.03 + killed / 200)
            )  # in the end, long enough
        elif parts and standing < shards:
            ended = trial((folder, out, parts), calls=killed % 7)
        else:  # each step in turn of what cannot be resumed
            ended = trial((folder, out, parts), calls=joining)
            joining += 1
        if ended:
            break
        killed += 1
        standing = check(out, expected)
        if parts and out.exists() and not standing:
            break  # in the very last step
    check(out, expected)
    print(f"{killed} killed, {joining} of these at each step in turn")


if __name__ == "__main__":
    main()
