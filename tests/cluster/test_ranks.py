"""Ranks from SLURM's variables, and the mistakes that are told before anybody waits."""

import socket

import pytest
from programs import free_port

from waterscape.cluster.ranks import first_node, join_tasks, tasks_per_node
from waterscape.errors import UserError


def step(rank=0, tasks=4, nodes=2, **more):
    """The variables of one task of a step, as seen on a real SLURM."""
    local = tasks // nodes
    return {
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": f"{local}(x{nodes})",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % local),
        "SLURM_NODEID": str(rank // local),
        "MASTER_PORT": str(free_port()),
        **more,
    }


def batch(**more):
    """The variables of a batch script, outside of any step."""
    return {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", **more}


def launched(world, local, **more):
    """What torchrun sets."""
    return {"RANK": "0", "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(local), "TORCHELASTIC_RUN_ID": "x", **more}


@pytest.mark.parametrize("rank", range(4))
def test_a_task_takes_its_rank(rank):
    environment = step(rank)
    join_tasks(environment=environment)
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    assert [environment[name] for name in names] == [str(rank), "4", str(rank % 2), "2", "localhost"]


def test_a_restart_meets_at_another_port():
    ports = set()
    for restart in ("", "1", "2"):
        environment = step(1, SLURM_RESTART_COUNT=restart)
        del environment["MASTER_PORT"]
        join_tasks(environment=environment)
        ports.add(environment["MASTER_PORT"])
    assert len(ports) == 3


def test_outside_of_slurm_and_alone_nothing_is_set():
    for environment in ({}, step(tasks=1, nodes=1), launched(2, 2)):
        before = dict(environment)
        join_tasks(environment=environment)
        assert environment == before


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (batch(), "has 4 tasks, but this process is alone: start it with srun"),
        (step(tasks=1, nodes=1, SLURM_JOB_NUM_NODES="2"), "has 2 nodes, but its step has a single task"),
        (step() | {"RANK": "0", "WORLD_SIZE": "1"}, "WORLD_SIZE is 1, but SLURM has started 4 tasks"),
        (step() | launched(8, 2), "launchers are nested: srun has started 2 tasks on this node"),
        (batch() | launched(4, 4), "all 4 processes are on this node, but SLURM gave 2 nodes"),
        (step(tasks=2) | launched(4, 4), "all 4 processes are on this node, but SLURM gave 2 nodes"),
        (step(CUDA_VISIBLE_DEVICES="0"), "2 ranks on this node see 1 GPU: ask for --gpus-per-node=2"),
        (
            step(MASTER_ADDR="no-such-node.invalid"),
            "no-such-node.invalid, where the ranks are to meet, does not",
        ),
        (step(SLURM_STEP_NODELIST="[1-2]"), "is not a list of nodes"),
        (step(SLURM_STEP_TASKS_PER_NODE="two"), "is not a list such as"),
    ],
)
def test_mistakes_are_told(environment, told):
    with pytest.raises(UserError, match=told.replace("(", r"\(")) as error:
        join_tasks(environment=environment)
    assert "\n" not in str(error.value)


def test_a_single_process_in_an_allocation_is_right_where_it_is_asked_for():
    environment = batch()
    join_tasks(1, environment)
    assert "RANK" not in environment


def test_one_launcher_on_each_node_is_right():
    environment = step(tasks=2) | launched(8, 4)
    before = dict(environment)
    join_tasks(environment=environment)
    assert environment == before, "the launcher's numbers stand"


def test_two_gpus_for_two_ranks_are_enough():
    for devices in ({"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "0", "ACCELERATE_USE_CPU": "true"}):
        environment = step(**devices)
        join_tasks(environment=environment)
        assert (environment["RANK"], environment["WORLD_SIZE"]) == ("0", "4")


def test_a_port_that_is_taken_is_told_by_the_first_rank():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with pytest.raises(UserError, match=f"port {port}, where the ranks are to meet, is taken"):
            join_tasks(environment=step(0, MASTER_PORT=port))
        join_tasks(environment=step(1, MASTER_PORT=port))


def test_slurm_lists():
    assert first_node("n[1-3],m1") == "n1"
    assert first_node("gpu[07-09,12]-ib,big1") == "gpu07-ib"
    assert first_node("big1.cluster,n[1-2]") == "big1.cluster"
    assert tasks_per_node("2(x3),1") == [2, 2, 2, 1]
