"""Memory that a step frees is there for the next one without the system's help."""

import subprocess
import sys

import pytest

FAULTS_OF_STEPS = """
import resource, sys, torch
from waterscape.training.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for step in range(20):
    if step == 10:  # the heap has found its layout
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    activations = [torch.ones(megabytes << 18) for megabytes in (1, 8, 48, 96)]
    del activations
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
@pytest.mark.long
def test_a_step_meets_no_page_fault_in_memory_that_the_step_before_has_freed():
    faults = {
        how: float(
            subprocess.run(
                [sys.executable, "-c", FAULTS_OF_STEPS, how], capture_output=True, check=True, timeout=120
            ).stdout
        )
        for how in ("kept", "given back")
    }
    assert faults["kept"] < 10
    assert faults["given back"] > 1000, "the system does this by itself by now: leave it out"


HELD_AFTERWARDS = """
import torch
from waterscape.training.heap import freed_memory_kept

def megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

before = megabytes()
with freed_memory_kept():
    activations = [torch.ones(1 << 18) for _ in range(200)]
    del activations
    print(megabytes() - before)
print(megabytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_kept_for_a_while_it_is_given_back_afterwards():
    told = subprocess.run(
        [sys.executable, "-c", HELD_AFTERWARDS], capture_output=True, check=True, timeout=120, text=True
    )
    meanwhile, afterwards = map(float, told.stdout.split())
    assert meanwhile > 190
    assert afterwards < 20
