"""What was measured, kept: `results.json` with each figure, its day, machine and versions, and README's table of it."""

from __future__ import annotations

import ast
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, shown
from waterscape import __version__
from waterscape.cores import cores
from waterscape.durable import write_text
from waterscape.errors import UserError

HERE = Path(__file__).parent
FILE, PAGE = HERE / "results.json", HERE / "README.md"
FORMAT = 1
BEGIN, END = "<!-- table: made by `make bench` from results.json -->", "<!-- end of table -->"
LIBRARIES = ("numpy", "torch", "accelerate", "webdataset", "rasterio", "pillow", "scipy", "isal")

Result = dict[str, Any]


def machine() -> dict[str, Any]:
    """Processor, cores, memory and accelerator: what a figure depends on; neither host name nor path."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((value.strip() for name, _, value in lines if name.strip() == "model name"), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {"cpu": model, "cores": cores(), "memory_gib": round(memory), "system": platform.system()}
    return {**found, **_accelerator()}


def _accelerator() -> dict[str, str]:
    torch = sys.modules.get("torch")  # a row that has not loaded it has not used one
    return {"accelerator": torch.cuda.get_device_name()} if torch and torch.cuda.is_available() else {}


def versions(more: Mapping[str, str]) -> dict[str, str]:
    """Of Python, the libraries that figures depend on, and what a row names (`VERSIONS` in its module)."""
    found = {"python": platform.python_version(), "waterscape": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, **more}


def stamped(figures: Iterable[Figure], more_versions: Mapping[str, str]) -> list[Result]:
    """Figures with day, machine and versions."""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    common = {"date": day, "machine": machine(), "versions": versions(more_versions)}
    return [{**asdict(figure), **common} for figure in figures]


def load(path: Path = FILE) -> list[Result]:
    """All figures kept. Raises `UserError` for a damaged file."""
    try:
        body = json.loads(path.read_bytes())
        if body["format"] > FORMAT:
            raise UserError(f"{path} has format {body['format']}, this version reads up to {FORMAT}: update")
        return list(body["figures"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error}): restore it, or remove it and measure again") from error


def save(measured: Sequence[Result], path: Path = FILE, page: Path = PAGE) -> None:
    """Put figures in place of what was kept of their rows, and make the page's table anew."""
    rows = {result["row"] for result in measured}  # of several, where one file measures them together
    kept = [result for result in load(path) if result["row"] not in rows]
    results = sorted([*kept, *measured], key=lambda one: _place(one["row"]))
    write_text(path, json.dumps({"format": FORMAT, "figures": results}, indent=1, ensure_ascii=False) + "\n")
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} lacks the lines between which the table stands: put back {BEGIN!r} and {END!r}")
    write_text(page, f"{before}{BEGIN}\n\n{table(results)}\n{END}{after}")


def _place(row: str) -> tuple[str, int]:
    return row[0], int(row[1:])


def table(results: Iterable[Result]) -> str:
    """Markdown: a line a figure; below it the machines and versions, each once."""
    lines = [
        "| row | what | against | measured | middle half of the rounds | to reach | | measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    told: dict[str, int] = {}
    what = ""
    for result in results:
        figure = Figure(**{name: result[name] for name in Figure.__dataclass_fields__})
        number = told.setdefault(_circumstances(result), len(told) + 1)
        first = result["row"] != what
        what = result["row"]
        row = (figure.row, title(figure.row)) if first else ("", "")
        spread = "" if not result["spread"] else f"{shown(result['spread'][0])}–{shown(result['spread'][1])}"
        spread += f", {figure.repeats} rounds" if spread and figure.repeats else ""
        goal = "" if figure.goal is None else f"{'≥' if figure.relation == '>=' else '≤'} {figure.goal:g}"
        verdict = figure.verdict.replace("short", "**short**")
        cells = (*row, figure.name, shown(figure.value), spread, goal, verdict, f"{result['date']} [{number}]")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"[{number}] {text}  " for text, number in told.items()]
    return "\n".join(lines) + "\n"


def _circumstances(result: Result) -> str:
    there = result["machine"]
    accelerator = f", {there['accelerator']}" if "accelerator" in there else ""
    machine = f"{there['cores']} cores of {there['cpu']}, {there['memory_gib']} GiB, {there['system']}{accelerator}"
    return f"{machine}; " + ", ".join(f"{name} {version}" for name, version in result["versions"].items())


WITH_G1 = {
    "G2": "on a GPU: augmentation on the device against worker processes",
    "G3": "on a GPU: whole trainings by `waterscape train`, seconds",
}
"""Rows that the file of G1 measures too."""


def title(row: str) -> str:
    """What a row measures: the first sentence of its file, without the row's name; the file is not run."""
    for path in HERE.glob(f"{row[0].lower()}{int(row[1:]):02d}_*.py"):
        words = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
        return words.partition(". ")[0].removesuffix(".").removeprefix(f"{row}: ").replace("|", "/")
    return WITH_G1.get(row, "")
