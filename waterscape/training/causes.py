"""Errors whose cause lies outside of the code: the memory is full, or another process of the run has ended."""

from __future__ import annotations

import platform

import torch

from waterscape.errors import UserError

_ANOTHER = ("closed by peer", "reset by peer", "gloo", "NCCL communicator was aborted", "ncclRemoteError")
_MEMORY = ("can't allocate memory", "Cannot allocate memory", "bad_alloc", "can't start new thread")
_ONEDNN = ("could not create a primitive", "could not execute a primitive", "could not create a memory object")
"""All that oneDNN says where memory is refused; of operations that it does not know it says more."""


def is_of_another(error: BaseException) -> bool:
    """Whether this is what a collective says when another process has ended."""
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _ANOTHER)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused, of the machine or of a GPU, by whatever library asked for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).strip()
    return isinstance(error, RuntimeError | OSError) and (text in _ONEDNN or any(word in text for word in _MEMORY))


def told(error: BaseException, who: str = "") -> BaseException:
    """The error as it is told: in one line with what to do, where its cause lies outside. `who` else has ended."""
    text = " ".join(str(error).split())
    if is_of_another(error):
        return UserError(f"another process of the run ended, so this one does too: {who or text[:200]}")
    if is_out_of_memory(error):
        return UserError(
            f"out of memory on {platform.node()} ({text[:150] or type(error).__name__}): the checkpoints stand, and "
            "the same command goes on where there is more; a run begun anew needs less with a smaller --micro-batch"
        )
    return error
