"""What the proofs against the loopback Earth Engine stand on: it knows nothing of what it judges, and hides nothing."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from pathlib import Path

import loopback_earthengine
from loopback_earthengine import Assumptions
from programs import ROOT

from waterscape.earthengine import Pixels
from waterscape.earthengine.probe import probes

HERE = Path(loopback_earthengine.__file__).parent
TABLE = re.compile(r"^\| (?!assumption|---)(.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def imported(source):
    """The names of the packages that a file imports, wherever in it; those built of strings too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval"):
            yield node.id


def test_the_loopback_imports_nothing_of_the_package_nor_of_the_tests():
    files = sorted(HERE.rglob("*.py"))
    assert {"evaluator.py", "operations.py", "server.py"} <= {file.name for file in files}
    found = {name for file in files for name in imported(file.read_text())}
    assert "numpy" in found
    outside = {"ee", "google", "numpy", "pyproj", "rasterio", "shapely"}
    assert found - set(sys.stdlib_module_names) - outside == {"loopback_earthengine"}


def test_the_page_tells_every_assumption_and_what_settles_it():
    told = TABLE.findall((ROOT / "docs" / "earth-engine.md").read_text())
    assert len(told) == len(dataclasses.fields(Assumptions))
    names = {probe.name.partition(" of ")[0] for probe in probes(Pixels("EPSG:32637", 30.0))}
    named = {name for _, _, settled in told for name in re.findall(r"probe `(\w+)`", settled)}
    assert named == names
    assert all("probe `" in settled or "the tile" in settled or "not needed" in settled for _, _, settled in told)
