"""A step's anatomy, and what ways to a faster one are worth, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from waterscape.profiling.anatomy import PARTS

if TYPE_CHECKING:
    from waterscape.pages.anatomy import Part
    from waterscape.profiling.ways import Row


def table(title: str, facts: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    parts: Sequence[Part] = facts["parts"]
    whole, least = sum(part.wall for part in parts), sum(part.least for part in parts)
    rates = facts["rates"]
    lines = [
        f"# A step of {title}",
        "",
        f"{facts['what']}; medians over {facts['steps']} steps"
        + (", on a SYNTHETIC set made for this" if facts["synthetic data"] else "")
        + f". {facts['images_per_second']:.3g} images a second, {1e3 * facts['seconds']:.3g} ms a step, "
        "by as many steps without marks between the parts.",
        "",
        "| part | ms | share | processor ms | operations | GFLOP | MB | least ms | share of the roofline |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {part.name} | {1e3 * part.wall:.3g} | {part.wall / whole:.1%} | {1e3 * part.processor:.3g} "
        f"| {part.operations or ''} | {_number(part.flops / 1e9)} | {_number(part.bytes / 1e6)} "
        f"| {_number(1e3 * part.least)} | {f'{part.least / part.taken:.0%}' if part.least else ''} |"
        for part in parts
    ]
    lines += [
        f"| **all parts** | {1e3 * whole:.3g} | | {1e3 * sum(p.processor for p in parts):.3g} "
        f"| {sum(p.operations for p in parts)} | {_number(sum(p.flops for p in parts) / 1e9)} "
        f"| {_number(sum(p.bytes for p in parts) / 1e6)} | {_number(1e3 * least)} "
        f"| {least / facts['taken']:.0%} |",
        "",
        "Least: each operation by the measured rates of this machine, "
        f"{rates['gigaflops']:.3g} GFLOP/s in a large matrix product{_convolved(rates)} and up to "
        f"{rates['gigabytes_a_second']:.3g} GB/s in a copy; more than 100 % means that fewer bytes were moved, or "
        "products made, than operation by operation. Reading goes on beside the other parts: `data` is what a step "
        "waits for it. With one thread the share is of the processor's time, which other programs on the machine do "
        "not lengthen; else of the clock's. That of all parts is the share of a step without marks.",
    ]
    if facts["busy"] is not None:
        busy = facts["busy"]
        lines += ["", f"The device computed {busy['kernels']:.1%} of the time, and copied {busy['copies']:.1%} of it."]
    if facts["ways"]:
        lines += [
            "",
            "| way | with, ms | without, ms | ratio | middle half | gradients apart |",
            "|---|---|---|---|---|---|",
        ]
        lines += [way_line(row) for row in facts["ways"]]
        lines += ["", "Milliseconds a step, of the processor where that computes; ratio below 1: the way is faster."]
    return "\n".join(lines) + "\n"


def overview(how: str, found: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, str], *, synthetic: bool) -> str:
    """All models in one table, in Markdown whose columns stand below one another in a terminal too.

    `how`: batch and machine. `left_out`: models that were not measured, and why.
    """
    measured = {part.name for facts in found.values() for part in facts["parts"]}
    names = [name for name in PARTS if name in measured]
    rows = [["model", "images/s", "ms a step", *names, "least", "of roofline"]]
    for model, facts in found.items():
        parts: Mapping[str, Part] = {part.name: part for part in facts["parts"]}
        wall, least, taken = facts["seconds"], sum(part.least for part in parts.values()), facts["taken"]
        times = [_plain(1e3 * parts[name].wall) if name in parts else "" for name in names]
        rate = _plain(facts["images_per_second"])
        rows.append([model, rate, _plain(1e3 * wall), *times, _plain(1e3 * least), f"{least / taken:.0%}"])
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["# A training step of each model", ""]
    lines += [f"{how}{', on SYNTHETIC sets made for this' if synthetic else ''}. Milliseconds of the clock.", ""]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(word.rjust(width) for word, width in zip(others, widths[1:], strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Least: what the operations of a step must take by the rates of this machine, each by itself."]
    lines += [f"- {model}: not measured: {reason}" for model, reason in left_out.items()]
    return "\n".join(lines) + "\n"


def way_line(row: Row) -> str:
    """A way's line of the table."""
    if row.failed:
        return f"| {row.name} | — | — | — | — | {row.failed} |"
    apart = "none: bitwise the same" if row.apart == 0 else f"{row.apart:.1g}"
    times = f"{1e3 * row.seconds:.3g} | {1e3 * row.seconds_without:.3g}"
    return f"| {row.name} | {times} | {row.ratio:.3f} | {row.low:.3f}–{row.high:.3f} | {apart} |"


def _convolved(rates: Mapping[str, float]) -> str:
    rate = rates.get("gigaflops_of_convolutions")
    return f" ({rate:.3g} of convolutions, which are rounded to TF32)" if rate else ""


def _number(value: float) -> str:
    return f"{value:.3g}" if value else ""


def _plain(value: float) -> str:
    """To be read below one another: hundredths, and of large numbers none."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
