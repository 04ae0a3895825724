"""The floors: imports go down only, inside functions too, and the engine names no model."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"data", "sources", "recipe", "randomness", "errors", "cores", "durable", "sheet", "options"}
FLOORS = [
    GROUND,
    {"training", "nn"},
    {"models", "metrics", "labels", "rasters", "earthengine", "cluster", "filters"},
    {"pages"},
    {"__init__", "__main__", "start", "launching", "comparison", "embedded", "proof", "profiling"},
]
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
FILES = sorted((ROOT / "waterscape").rglob("*.py"))


@functools.cache
def tree(path):
    return ast.parse(path.read_text())


def imports(path):
    """Every module of the package that a file imports, as words below `waterscape`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1:] for name in names if name.split(".")[0] in ("waterscape", "tools"))


def room(path):
    return path.relative_to(ROOT / "waterscape").with_suffix("").parts[0]


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} <= set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    for words in imports(path):
        target = words[0]
        if target == "__version__":
            continue
        assert HEIGHT[target] <= HEIGHT[room(path)], f"{path} imports {'.'.join(words)}, which stands above it"


@pytest.mark.parametrize("path", sorted((ROOT / "waterscape/models").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_model_knows_neither_the_engine_nor_another_model(path):
    found = {words[0] for words in imports(path)}
    assert found <= {"nn", "recipe", "metrics", "randomness"}


@pytest.mark.parametrize("path", sorted((ROOT / "waterscape/sources").rglob("*.py")), ids=lambda path: path.stem)
def test_sources_know_data_at_most(path):
    assert {words[0] for words in imports(path)} <= GROUND - {"recipe"}


def test_nothing_imports_tools():
    for path in FILES:
        named = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom | ast.Import)]
        assert not any("tools" in ast.unparse(node).split()[1].split(".")[:1] for node in named), path
