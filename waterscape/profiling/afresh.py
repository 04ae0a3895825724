"""Networks compiled as a process of their own compiles them, whatever this one has compiled before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from waterscape.errors import UserError


@contextlib.contextmanager
def compiling_afresh() -> Iterator[None]:
    """Forget what was compiled; and where torch would stop compiling within the block, say so.

    It compiles a function for so many kinds of arguments, those of all networks of a class together, and calls it
    uncompiled from then on. A figure of a compiled network would be that of a plain one.

    Raises `UserError`.
    """
    from torch._dynamo import config  # takes a second, and most measurements compile nothing
    from torch._dynamo.exc import FailOnRecompileLimitHit

    torch.compiler.reset()
    try:
        with config.patch(fail_on_recompile_limit_hit=True):
            yield
    except FailOnRecompileLimitHit as error:
        raise UserError(
            f"torch.compile gives up: more than {config.recompile_limit} kinds of arguments of one function "
            "(torch._dynamo.config.recompile_limit)"
        ) from error
