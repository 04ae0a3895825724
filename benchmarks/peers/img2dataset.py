"""img2dataset from a list of URLs: `img2dataset.py URLS DIRECTORY PROCESSES PER_SHARD decoded|undecoded THREADS`.

A turn's rate is over the time that it states itself, from the start of its first shard to the end of its last one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

sys.path = [*sys.path[1:], sys.path[0]]  # this file is called like the library
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

from img2dataset import download  # noqa: E402


def turn(urls: str, directory: str, processes: int, per_shard: int, form: str, threads: int) -> float:
    """Photos a second."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.redirect_stdout(sys.stderr):
        download(
            url_list=urls,
            output_folder=directory,
            output_format="webdataset",
            processes_count=processes,
            thread_count=threads,
            number_sample_per_shard=per_shard,
            resize_mode="no",
            skip_reencode=form == "decoded",
            disable_all_reencoding=form == "undecoded",
            enable_wandb=False,
        )
    told = [json.loads(path.read_text()) for path in Path(directory).glob("*_stats.json")]
    count = sum(one["successes"] for one in told)
    assert count == len(Path(urls).read_text().split()), f"it has {count} photos"
    return float(count / (max(one["end_time"] for one in told) - min(one["start_time"] for one in told)))


if __name__ == "__main__":
    print("ready", flush=True)
    for _ in sys.stdin:
        urls, directory, processes, per_shard, form, threads = sys.argv[1:]
        print("rate", turn(urls, directory, int(processes), int(per_shard), form, int(threads)), flush=True)
