"""`waterscape …` where making a checkpoint durable takes long once: slow_writer.py SECONDS MARK -m waterscape …

The file MARK says that it has been.
"""

import os
import runpy
import sys
import time
from pathlib import Path

seconds, mark = float(sys.argv[1]), Path(sys.argv[2])
force = os.fsync


def slowly(handle):
    if "/checkpoints/" in str(Path(f"/proc/self/fd/{handle}").readlink()) and not mark.exists():
        mark.touch()
        time.sleep(seconds)
    force(handle)


os.fsync = slowly
sys.argv = sys.argv[4:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
