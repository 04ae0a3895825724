"""From a torch network to a program: its `forward` is traced with torch.fx, and each step must be one that is known."""

from __future__ import annotations

import copy
import linecache
import operator
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import fx, nn

from waterscape.earthengine.fold import folded
from waterscape.earthengine.operations import Program
from waterscape.earthengine.steps import FUNCTIONS, KNOWN, LAYERS
from waterscape.earthengine.writing import Argument, Value, Writing
from waterscape.errors import UserError

TORCH = Path(torch.__file__).parent
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
VIEWS = ("getitem", "permute", "flatten", "contiguous", "float", "double", "dropout")
"""Functions that may give another view of the memory that they are given."""


def trace(network: nn.Module, inputs: int) -> Program:
    """The program of a network on `inputs` channels, as it computes in evaluation mode; BatchNorm is folded.

    Raises:
        UserError: a step that has no exact form on Earth Engine's servers, named with its module and its line.
    """
    network = copy.deepcopy(network).cpu().double().eval()
    if type(network) in LAYERS:  # a single layer, into which a trace would go
        network = nn.Sequential(network)
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # whatever a forward raises that looks at values, which a trace has not
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        name = type(network).__name__
        raise UserError(
            f"{name} cannot be traced, {_where(error)}: {reason}; steps must not depend on values"
        ) from error
    program = folded(_read(network, graph, Writing(inputs)))
    program.alignments()
    return program


class _Tracer(fx.Tracer):
    """Notes of each step the line of the innermost `forward` that is not torch's own."""

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        frame = sys._getframe(1)
        while frame.f_back and not _own_forward(frame.f_code):
            frame = frame.f_back
        if _own_forward(frame.f_code):
            node.meta["line"] = _line(frame.f_code.co_filename, frame.f_lineno)
        return node


def _own_forward(code: CodeType) -> bool:
    return code.co_name == "forward" and TORCH not in Path(code.co_filename).parents


def _line(file: str, number: int) -> str:
    return f"line {number} of {Path(file).name} ({linecache.getline(file, number).strip()})"


def _where(error: Exception) -> str:
    step, found = error.__traceback__, "somewhere in its forward"
    while step:
        if _own_forward(step.tb_frame.f_code):
            found = _line(step.tb_frame.f_code.co_filename, step.tb_lineno)
        step = step.tb_next
    return found


def _read(network: nn.Module, graph: fx.Graph, writing: Writing) -> Program:
    values: dict[fx.Node, Argument] = {}
    output: Argument = None
    for node in graph.nodes:
        writing.place = _place(network, node)
        if node.op == "placeholder":
            if values:
                writing.refuse("there is a second input: the network must take one tensor")
            values[node] = Value(0)
        elif node.op == "get_attr":
            values[node] = operator.attrgetter(str(node.target))(network)
        elif node.op == "output":
            output = _given(node.args[0], values)
        else:
            values[node] = _step(network, node, values, writing)
    return writing.program(output)


def _place(network: nn.Module, node: fx.Node) -> str:
    """Which step a node is, for people: module and line."""
    if node.op == "call_module":
        what = f"layer '{node.target}' ({type(network.get_submodule(str(node.target))).__name__})"
    else:
        within = list(node.meta.get("nn_module_stack") or [""])[-1]
        what = f"a step of layer '{within}'" if within else f"a step of {type(network).__name__}"
    return f"{what}, {node.meta['line']}," if "line" in node.meta else what


def _given(argument: Any, values: dict[fx.Node, Argument]) -> Argument:
    if isinstance(argument, fx.Node):
        return values[argument]
    if isinstance(argument, tuple | list):
        return type(argument)(_given(entry, values) for entry in argument)
    if isinstance(argument, slice):
        return slice(*(_given(entry, values) for entry in (argument.start, argument.stop, argument.step)))
    return argument


def _step(network: nn.Module, node: fx.Node, values: dict[fx.Node, Argument], writing: Writing) -> Argument:
    args = _given(tuple(node.args), values)
    kwargs = {key: _given(argument, values) for key, argument in node.kwargs.items()}
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        known, named = LAYERS.get(type(module)), type(module).__name__
        args = (module, *args)
    else:
        target = node.target
        named = (target if isinstance(target, str) else getattr(target, "__name__", str(target))).strip("_")
        known = FUNCTIONS.get(named)
    if _overwrites(network, node) and _is_used_again(node.args[0]):
        writing.refuse(f"{named} changes in place what is used again: take it without inplace=True")
    if known is None:
        writing.refuse(f"{named} has no exact form there; known are {KNOWN}")
    try:
        return known(writing, *args, **kwargs)
    except TypeError as error:
        writing.refuse(f"{named} with these arguments is not known ({error})")


def _overwrites(network: nn.Module, node: fx.Node) -> bool:
    """Whether a step changes its input in memory."""
    if node.op == "call_module":
        return bool(getattr(network.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or node.target in IN_PLACE or bool(node.kwargs.get("inplace"))


def _is_used_again(given: Any) -> bool:
    """Whether memory that a step changes is looked at by another one too, itself or as what it is a view of."""
    while isinstance(given, fx.Node):
        if len(given.users) > 1:
            return True
        name = given.target if isinstance(given.target, str) else getattr(given.target, "__name__", "")
        given = given.args[0] if name in VIEWS else None
    return False
