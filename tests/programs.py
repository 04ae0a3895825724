"""Programs for tests: start `waterscape …` in real processes, and the small synthetic set that they read."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from scipy import ndimage

from waterscape.__main__ import dispatch
from waterscape.data.pack import SetWriter
from waterscape.errors import run_command
from waterscape.metrics.morphology import CLASSES
from waterscape.sources.occurrence_sample import reduce

ROOT = Path(__file__).parent.parent


def run_program(*words, timeout=240, **environment):
    """Run a Python command line from the project's root to its end; returns the finished process with its output."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run_tool(name, *words):
    """Run tools/NAME.py within this process, which saves the seconds of a start: exit code, stdout, stderr."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    program = importlib.util.module_from_spec(spec)
    out, err = io.StringIO(), io.StringIO()

    def run():
        sys.modules[name] = program  # dataclasses look there; nothing else that is imported on the way may be undone
        try:
            spec.loader.exec_module(program)
            run_command(program.main)
        finally:
            del sys.modules[name]

    with (
        mock.patch.object(sys, "argv", [f"{name}.py", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        run()
    return ended.value.code, out.getvalue(), err.getvalue()


def write_tiles(out, samples=200, seed=0, held_out=("valid",), full=False, **facts):
    """A small synthetic set as `pack_occurrence` writes it: blobs of water, larger from class to class.

    Every tenth sample is held out, in turn for each of the splits. `full`: the tiles of 256 × 256 pixels too.
    """
    side = 256 if full else 64
    random = np.random.default_rng(seed)
    with SetWriter(out, facts={"classes": list(CLASSES), "synthetic": True, **facts}, samples_per_shard=32) as writer:
        for number in range(samples):
            kind = int(random.integers(len(CLASSES)))
            field = ndimage.gaussian_filter(random.normal(size=(side, side)), side // 64 * (3 + kind), mode="wrap")
            tile = np.clip(10 + 10 * kind + 50 * field / field.std(), 0, 100).astype(np.uint8)
            split = held_out[number // 10 % len(held_out)] if number % 10 == 9 else "train"
            values = {"occurrence.npy": tile} if full else {}
            writer.add(split, values | {"occurrence64.npy": reduce(tile, 64), "shape.npy": np.array(kind, np.uint8)})
        writer.finish()
    return out


def launch(processes, *words, **options):
    """The command line that runs `waterscape …` in so many processes on a CPU, and the environment it needs."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment |= options.get("environment", {})
    flags = ["--num_processes", processes, "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", *flags, "--main_process_port", free_port()]
    program = [*launcher, *options.get("program", ["-m", "waterscape"])] if processes > 1 else ["-m", "waterscape"]
    if processes == 1 and "program" in options:
        program = options["program"]
    return [sys.executable, *map(str, program), *map(str, words)], environment


def run(*words):
    """Run `waterscape …` within this process: as one process does it, without the seconds that a start takes."""
    assert dispatch([str(word) for word in words]) == 0


def start(processes, *words, **options):
    """Start `waterscape …` in so many processes as a process group of its own."""
    command, environment = launch(processes, *words, **options)
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, timeout=240):
    """Wait for a started process to end well; returns its output."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output
    return output


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
