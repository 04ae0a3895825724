"""The processes of a node that read a remote set: each writes the keys of its samples into a file of its own.

Forked from one process, which has imported what they need; prints each one's number within its copy and its id.
"""

import os
import sys
import time
from pathlib import Path

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order

url, out, *numbers = sys.argv[1:]
copies, world, batch, stop, block, milliseconds = map(int, numbers)


def read(rank, out):
    shards = ShardSet(url, "train")
    order = Order(shards.counts, 0, block)
    with Batches(shards, ["label.npy"], batch=batch, order=order, rank=rank, world=world, stop=stop) as batches:
        for loaded in batches:
            with out.open("a") as file:
                file.writelines(f"{key}\n" for key in loaded.keys)
            time.sleep(milliseconds / 1000)


children = []
for number in range(copies * world):
    if not (child := os.fork()):
        try:
            read(number % world, Path(out) / f"{number}.keys")
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
print(*children, flush=True)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
