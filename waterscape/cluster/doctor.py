"""`waterscape doctor`: what this machine or allocation offers to a training, line by line: ok, or what to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.cluster.ranks import first_node
from waterscape.cores import cores

GIB = 2**30
RUNTIMES = ("podman", "docker", "apptainer", "singularity", "enroot")


@dataclass(frozen=True)
class Doctor:
    """What this machine or allocation offers; exit code 1 where something needs to be mended."""

    directory: tyro.conf.Positional[Path] = Path("runs")
    """Where runs go: its file system is tried."""


@dataclass(frozen=True)
class Finding:
    """One line; `advice` is empty where all is well."""

    what: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        mark = "mend" if self.advice else "ok"
        return f"{mark:5} {self.what:18} {self.found}{': ' + self.advice if self.advice else ''}"


def examine(options: Doctor) -> Iterator[Finding]:
    """All findings, as they are made."""
    yield from devices()
    yield slurm()
    yield container_runtime()
    yield from file_system(options.directory)
    yield from limits()


def devices() -> Iterator[Finding]:
    """Python, torch, GPUs, and by what ranks talk to one another."""
    import torch

    yield Finding("python, torch", f"{sys.version.split()[0]}, {torch.__version__}")
    yield Finding("cores", f"{cores()}, torch uses {torch.get_num_threads()}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        nccl = torch.distributed.is_nccl_available()
        yield Finding(
            "GPUs", f"{len(names)} × {names[0]}", "" if nccl else "this torch has no NCCL: install its CUDA build"
        )
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "GPUs", "nvidia-smi is here, but torch sees none", "install torch's CUDA build, or ask for --gpus"
        )
    else:
        yield Finding("GPUs", "none: training on the CPU, ranks talk by gloo")
    talks = torch.distributed.is_available() and torch.distributed.is_gloo_available()
    yield Finding("gloo", "there" if talks else "missing", "" if talks else "install a torch with distributed support")


def slurm() -> Finding:
    """Whether SLURM is here, and whether its first node can be found by name from within a job."""
    if shutil.which("sbatch") is None:
        return Finding("SLURM", "none: `waterscape submit` runs jobs on this machine")
    version = _first_line("sbatch", "--version")
    if "SLURM_JOB_ID" not in os.environ:
        nodes = _first_line("sinfo", "--noheader", "--format=%D nodes, %a")
        if not nodes:
            return Finding(
                "SLURM", version or "sbatch is here", "sinfo does not answer: is slurmctld up, SLURM_CONF right?"
            )
        return Finding("SLURM", f"{version}, {nodes}")
    node = first_node(os.environ.get("SLURM_JOB_NODELIST", "localhost"))
    with contextlib.suppress(OSError):
        socket.getaddrinfo(node, None)
        return Finding("SLURM", f"{version}, job {os.environ['SLURM_JOB_ID']}, first node {node}")
    return Finding("SLURM", f"the name {node} does not resolve", "start jobs by slurm/*.sh, which set MASTER_ADDR")


def container_runtime() -> Finding:
    """What can run a container image."""
    found = [_first_line(name, "--version") or name for name in RUNTIMES if shutil.which(name)]
    image = os.environ.get("WATERSCAPE_IMAGE")
    if image and not found:
        return Finding("containers", f"none for WATERSCAPE_IMAGE={image}", f"install one of {', '.join(RUNTIMES)}")
    return Finding("containers", "; ".join(found) or "none: jobs run bare")


def file_system(directory: Path) -> Iterator[Finding]:
    """Whether the file system of the runs keeps the promises that checkpoints and owners rest on."""
    there = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".doctor-", dir=there))
    except OSError as error:
        yield Finding("file system", f"{there} cannot be written to ({error.strerror})", "name a directory that can")
        return
    try:
        yield _rename(scratch)
        yield _lock(scratch)
        began = time.time()
        (scratch / "clock").touch()
        skew = (scratch / "clock").stat().st_mtime - (began + time.time()) / 2
        late = abs(skew) > 2
        yield Finding("clock", f"file system and machine differ by {abs(skew):.2f} s", "set it by NTP" if late else "")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    free = shutil.disk_usage(there).free
    few = free < 5 * GIB
    yield Finding(
        "free space", f"{free / GIB:.1f} GiB in {there}", "make room: a run keeps several checkpoints" if few else ""
    )


def _rename(scratch: Path) -> Finding:
    """A directory takes its final name in one move, durably; how long that takes."""
    (scratch / "new").mkdir()
    (scratch / "new" / "file").write_bytes(bytes(2**20))
    began = time.monotonic()
    for path in (scratch / "new" / "file", scratch / "new"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    (scratch / "new").rename(scratch / "final")
    taken = time.monotonic() - began
    whole = (scratch / "final" / "file").stat().st_size == 2**20 and not (scratch / "new").exists()
    return Finding(
        "rename", f"whole, {1e3 * taken:.0f} ms with fsync", "" if whole else "put runs on another file system"
    )


def _lock(scratch: Path) -> Finding:
    """A lock of this process holds against another one."""
    path = scratch / "lock"
    program = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Finding(
                "locks", f"none ({error.strerror})", "two runs on one directory are not noticed: mount with locks"
            )
        other = subprocess.run([sys.executable, "-c", program, path], capture_output=True, timeout=60, check=False)
    holds = other.returncode != 0
    return Finding("locks", "hold" if holds else "do not hold", "" if holds else "mount the file system with locks")


def limits() -> Iterator[Finding]:
    """Open files and shared memory."""
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = 0 <= files < 1024
    yield Finding("open files", f"up to {files}", "ulimit -n 4096" if few else "")
    if Path("/dev/shm").is_dir():  # noqa: S108 - looked at, not written to
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108
        small = free < GIB // 4
        yield Finding("shared memory", f"{free / GIB:.1f} GiB", "start the container with --ipc=host" if small else "")


def _first_line(*words: str) -> str:
    """What a program says first; empty where it fails."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout.splitlines()[0]
    return ""
