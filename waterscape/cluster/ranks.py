"""This process's rank, taken from SLURM, and checked against SLURM's own numbers before anything waits for the others.

One task is one rank: `srun python -m waterscape train …` needs no launcher. A process that finds itself alone where
SLURM has started several, or among more than SLURM knows of, is a mistake that would train on for hours: here it ends
with one line. Only the environment is read, so that this runs before torch is asked for anything.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import MutableMapping

from waterscape.errors import UserError

PORTS = range(20_000, 30_000)
"""Where ranks meet unless MASTER_PORT says otherwise: below those that Linux gives away by itself."""

Environment = MutableMapping[str, str]


def join_tasks(wanted: int | None = None, environment: Environment = os.environ) -> None:
    """Take this process's place among the tasks of a SLURM step, as torch reads it: RANK, WORLD_SIZE, MASTER_ADDR, ….

    Outside of SLURM, or where a launcher has set them, nothing is set. Either way the numbers are checked.

    Args:
        wanted: how many processes the user asked for; None: as many as there are.
        environment: read and completed.

    Raises:
        UserError: with what to do: a world of one among several tasks, nested launchers, fewer GPUs than ranks, an
            address that does not resolve, a port that is taken.
    """
    if "SLURM_JOB_ID" not in environment:
        return
    if "RANK" in environment:
        _check_launched(environment)
    else:
        _check_step(wanted, environment)
        if _tasks(environment) > 1:
            _take_place(environment)
            _check_address(environment)
    _check_devices(environment)


def _take_place(environment: Environment) -> None:
    """Torch's variables from SLURM's."""
    node = int(environment["SLURM_NODEID"])
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = str(_tasks(environment))
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    environment["LOCAL_WORLD_SIZE"] = str(tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[node])
    environment.setdefault("MASTER_ADDR", first_node(environment["SLURM_STEP_NODELIST"]))
    # Another port for each restart: ranks of the last one may live on where a node was declared lost.
    number = 7 * int(environment["SLURM_JOB_ID"]) + int(environment.get("SLURM_RESTART_COUNT") or 0)
    environment.setdefault("MASTER_PORT", str(PORTS[number % len(PORTS)]))


def _check_step(wanted: int | None, environment: Environment) -> None:
    """A process that no launcher has started."""
    tasks = _tasks(environment)
    of_job = int(environment.get("SLURM_NTASKS") or environment.get("SLURM_JOB_NUM_NODES") or 1)
    if "SLURM_STEP_ID" not in environment and of_job > 1 and wanted != 1:
        raise UserError(
            f"SLURM job {environment['SLURM_JOB_ID']} has {of_job} tasks, but this process is alone: start it with "
            "srun, one task per rank (slurm/train.sh does), or say --processes 1 to train in this process alone"
        )
    nodes = int(environment.get("SLURM_JOB_NUM_NODES") or 1)
    if "SLURM_STEP_ID" in environment and tasks == 1 and nodes > 1 and wanted != 1:
        raise UserError(
            f"SLURM job {environment['SLURM_JOB_ID']} has {nodes} nodes, but its step has a single task: leave -n 1 "
            "out of srun, or say --processes 1"
        )


def _check_launched(environment: Environment) -> None:
    """A process whose rank was set by a launcher such as torchrun or `accelerate launch`, or by a script."""
    world, tasks = int(environment["WORLD_SIZE"]), _tasks(environment)
    local = int(environment.get("LOCAL_WORLD_SIZE") or 1)
    elastic = "TORCHELASTIC_RUN_ID" in environment
    if not elastic and world != tasks:
        raise UserError(
            f"WORLD_SIZE is {world}, but SLURM has started {tasks} tasks: leave RANK and WORLD_SIZE unset, they are "
            "taken from SLURM"
        )
    if not elastic:
        return
    here = 1
    if "SLURM_STEP_ID" in environment:
        here = tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])[int(environment["SLURM_NODEID"])]
    if here > 1:
        raise UserError(
            f"launchers are nested: srun has started {here} tasks on this node, and each started a launcher with "
            f"{local} processes: leave the launcher out (srun python -m waterscape train …), or give srun "
            "--ntasks-per-node=1"
        )
    nodes = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_JOB_NUM_NODES") or 1)
    if world == local and nodes > 1:
        raise UserError(
            f"all {world} processes are on this node, but SLURM gave {nodes} nodes: leave the launcher out (srun "
            "python -m waterscape train …, as slurm/train.sh does), or start it on each node with srun and --nnodes"
        )


def _check_devices(environment: Environment) -> None:
    """Each rank of a node needs a GPU of its own, if the node has any to show."""
    visible = [word for word in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if word]
    ranks = int(environment.get("LOCAL_WORLD_SIZE") or 1)
    if visible and visible != ["-1"] and ranks > len(visible) and not environment.get("ACCELERATE_USE_CPU"):
        raise UserError(
            f"{ranks} ranks on this node see {len(visible)} GPU: ask for --gpus-per-node={ranks} rather than "
            "--gpus-per-task, or for fewer tasks per node (or set ACCELERATE_USE_CPU=true)"
        )


def _check_address(environment: Environment) -> None:
    """Ranks can meet: the address resolves here, and its port is free on the first one."""
    address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    try:
        socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError:
        raise UserError(
            f"{address}, where the ranks are to meet, does not resolve on {socket.gethostname()}: set MASTER_ADDR to "
            "the first node's address (NodeAddr of `scontrol show node`), as slurm/job.sh does"
        ) from None
    if environment["RANK"] == "0":
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                raise UserError(
                    f"port {port}, where the ranks are to meet, is taken on {socket.gethostname()}: set MASTER_PORT to "
                    "a free one"
                ) from None


def _tasks(environment: Environment) -> int:
    """How many tasks run beside this process, this one among them."""
    return int(environment.get("SLURM_STEP_NUM_TASKS") or 1) if "SLURM_STEP_ID" in environment else 1


def tasks_per_node(text: str) -> list[int]:
    """Tasks by node: `2(x3),1` is [2, 2, 2, 1]. Raises `UserError` for anything else."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise UserError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}, which is not a list such as 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def first_node(text: str) -> str:
    """The first of a list of nodes as SLURM writes it: of `gpu[07-09,12],big1` it is gpu07. `UserError` otherwise."""
    match = re.match(r"([\w.-]+)(?:\[(\d+)[\d,-]*\]([\w.-]*))?(?=,|$)", text)
    if match is None:
        raise UserError(f"SLURM_STEP_NODELIST is {text!r}, which is not a list of nodes such as n[1-3],m1")
    return f"{match[1]}{match[2] or ''}{match[3] or ''}"
