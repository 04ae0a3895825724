"""Networks compiled by torch (`--compile NAME`), one by one: it pays for some, and some it cannot do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from waterscape.errors import UserError

ALL = "all"


def compiled(networks: Mapping[str, nn.Module], chosen: Sequence[str]) -> dict[str, nn.Module]:
    """The networks as phases call them, those that are chosen compiled at their first call; the weights are the same.

    Raises `UserError` for a name that no network has.
    """
    for name in chosen:
        if name not in (*networks, ALL):
            raise UserError(f"--compile {name}: there is no such network; there are {', '.join(networks)}, or all")
    every = ALL in chosen
    return {name: _compile(network) if every or name in chosen else network for name, network in networks.items()}


def _compile(network: nn.Module) -> nn.Module:
    # Each shape by itself: else what is compiled depends on which shapes came before, and a resumed run saw others.
    made: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    return made


@contextlib.contextmanager
def telling(chosen: Sequence[str]) -> Iterator[None]:
    """Say in a line which of the compiler's limits was met: it cannot differentiate a gradient, say.

    Raises `UserError`.
    """
    try:
        yield
    except RuntimeError as error:
        told = str(error)
        if not chosen:
            raise
        if "double backward" in told:
            raise UserError(
                f"--compile {' '.join(chosen)}: a loss differentiates a network's gradient (a gradient penalty), which "
                "torch.compile cannot: leave that network out"
            ) from error
        if type(error).__module__.startswith("torch._"):  # the compiler's own: no C++ compiler, say
            raise UserError(
                f"--compile {' '.join(chosen)} fails here ({' '.join(told.split())[:160]}): leave it out"
            ) from error
        raise
