"""Expression graphs, as the client writes them, to values.

Values of a graph are computed in an order in which each comes after what it refers to: a chain of any length needs no
recursion. Only what stands literally inside another value recurs, and the service limits that depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.operations import World, call
from loopback_earthengine.values import Function

DEEPEST = 100
"""Literal nesting that the service takes (ee/serializer.py, `_DEPTH_LIMIT`)."""


class Scope:
    """The arguments of the functions that are being called, and what was computed of them."""

    def __init__(self, arguments: Mapping[str, Any], outer: Scope | None = None) -> None:
        self.arguments, self.outer, self.made = arguments, outer, {}

    def find(self, name: str) -> Any:
        """An argument of this call or of one around it."""
        scope: Scope | None = self
        while scope:
            if name in scope.arguments:
                return scope.arguments[name]
            scope = scope.outer
        raise ServiceError(400, f"Invalid argument reference '{name}'.")


class Expression:
    """One graph: `values` by name, and the name of the `result`."""

    def __init__(self, expression: Mapping[str, Any], world: World) -> None:
        self.nodes, self.result, self.world = expression.get("values", {}), expression.get("result"), world
        if self.result not in self.nodes:
            raise ServiceError(400, f"Invalid expression: there is no value '{self.result}'.")
        self.references = {name: list(_references(node)) for name, node in self.nodes.items()}
        self.free = self._free()
        self.made: dict[str, Any] = {}

    def value(self) -> Any:
        """What the graph computes."""
        return self.look_up(self.result, Scope({}))

    def look_up(self, name: str, scope: Scope) -> Any:
        """The value of a name, after everything that it refers to."""
        for each in self._order(name, scope):
            self._store(each, scope)[each] = self.compute(self.nodes[each], scope)
        return self._store(name, scope)[name]

    def compute(self, node: Mapping[str, Any], scope: Scope) -> Any:
        """The value of a literal node; the names that it refers to are there."""
        match node:
            case {"valueReference": name}:
                made = self._store(name, scope)
                return made[name] if name in made else self.look_up(name, scope)
            case {"constantValue": value}:
                return value
            case {"integerValue": text}:
                return int(text)
            case {"arrayValue": entries}:
                return [self.compute(entry, scope) for entry in entries.get("values", [])]
            case {"dictionaryValue": entries}:
                return {key: self.compute(entry, scope) for key, entry in entries.get("values", {}).items()}
            case {"argumentReference": name}:
                return scope.find(name)
            case {"functionDefinitionValue": definition}:
                return self._function(definition, scope)
            case {"functionInvocationValue": invocation}:
                given = {key: self.compute(entry, scope) for key, entry in invocation.get("arguments", {}).items()}
                if "functionName" in invocation:
                    return call(self.world, invocation["functionName"], given)
                function = self.compute({"valueReference": invocation["functionReference"]}, scope)
                return function.call(given)
        raise ServiceError(400, f"Invalid expression: {str(node)[:80]}")

    def _function(self, definition: Mapping[str, Any], scope: Scope) -> Function:
        names, body = tuple(definition.get("argumentNames", [])), definition["body"]
        return Function(names, lambda given: self.look_up(body, Scope(dict(given), scope)))

    def _store(self, name: str, scope: Scope) -> dict[str, Any]:
        if name not in self.nodes:
            raise ServiceError(400, f"Invalid expression: there is no value '{name}'.")
        return scope.made if self.free[name] else self.made

    def _order(self, name: str, scope: Scope) -> Iterator[str]:
        stack, seen = [(name, False)], set()
        while stack:
            each, ready = stack.pop()
            if ready:
                yield each
            elif each not in seen and each not in self._store(each, scope):
                seen.add(each)
                stack.append((each, True))
                stack += [(other, False) for other in reversed(self.references[each])]

    def _free(self) -> dict[str, frozenset[str]]:
        """The argument names that each value depends on, through all that it refers to."""
        free: dict[str, frozenset[str]] = {}
        for start in self.nodes:
            stack, open_ = [(start, False)], set()
            while stack:
                name, ready = stack.pop()
                if name in free or name not in self.nodes:
                    continue
                if ready:
                    free[name] = self._free_of(self.nodes[name], free)
                elif name in open_:
                    raise ServiceError(400, "Invalid expression: a value refers to itself.")
                else:
                    open_.add(name)
                    stack.append((name, True))
                    children = [*self.references[name], *_bodies(self.nodes[name])]
                    stack += [(other, False) for other in children if other not in free]
        return free

    def _free_of(self, node: Any, free: Mapping[str, frozenset[str]]) -> frozenset[str]:
        if isinstance(node, list):
            return frozenset().union(*(self._free_of(entry, free) for entry in node))
        if not isinstance(node, dict) or "constantValue" in node:
            return frozenset()
        if "functionDefinitionValue" in node:
            definition = node["functionDefinitionValue"]
            return free.get(definition["body"], frozenset()) - set(definition.get("argumentNames", []))
        if "argumentReference" in node:
            return frozenset([node["argumentReference"]])
        found = [free.get(node[key], frozenset()) for key in ("valueReference", "functionReference") if key in node]
        return frozenset().union(*found, *(self._free_of(entry, free) for entry in node.values()))


def _references(node: Any, depth: int = 0) -> Iterator[str]:
    """The names that a literal node refers to, in order; not those within the functions that it defines."""
    if depth > DEEPEST:
        raise ServiceError(400, "Expression is nested too deeply.")
    if isinstance(node, list):
        for entry in node:
            yield from _references(entry, depth)
    elif isinstance(node, dict) and "constantValue" not in node and "functionDefinitionValue" not in node:
        for key, entry in node.items():
            if key in ("valueReference", "functionReference") and isinstance(entry, str):
                yield entry
            elif isinstance(entry, dict | list):
                yield from _references(entry, depth + ("functionInvocationValue" in node))


def _bodies(node: Any) -> Iterator[str]:
    """The bodies of the functions that a literal node defines."""
    if isinstance(node, list):
        for entry in node:
            yield from _bodies(entry)
    elif isinstance(node, dict) and "constantValue" not in node:
        if "functionDefinitionValue" in node:
            yield node["functionDefinitionValue"]["body"]
        else:
            for entry in node.values():
                yield from _bodies(entry)
