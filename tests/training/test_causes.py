"""What is told as a lack of memory, and what stays a fault of ours."""

import pytest
import torch

from waterscape.training.causes import is_out_of_memory, told

MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("could not create a primitive"),
]
OTHERS = [
    RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("could not create a primitive"),
]


@pytest.mark.parametrize("error", MEMORY, ids=range(len(MEMORY)))
def test_refused_memory_is_told_in_a_line(error):
    assert is_out_of_memory(error)
    assert str(told(error)).startswith("out of memory on ")


@pytest.mark.parametrize("error", OTHERS, ids=range(len(OTHERS)))
def test_other_errors_stay_as_they_are(error):
    assert not is_out_of_memory(error)
    assert told(error) is error
