"""What the filters decided, as a table."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from waterscape.filters.filter import ORDER
from waterscape.sources.ledger.filtering import Tally, kept, tally

if TYPE_CHECKING:
    from waterscape.filters.judging import Judge
    from waterscape.sources.ledger import Ledger


def told(ledger: Ledger, judge: Judge) -> str:
    """A line for each filter and each reason of a rejection, then what is kept in the end."""
    rows: dict[str, list[Tally]] = defaultdict(list)
    for row in tally(ledger):
        rows[row.by].append(row)
    lines = [f"{'filter':<13}{'kept':>9}{'rejected':>10}  reason"]
    for by in sorted(rows, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        keeps = sum(row.photos for row in rows[by] if row.verdict == "keep")
        rejects = [row for row in rows[by] if row.verdict == "reject"]
        earlier = "" if by in judge.digests else "  (not asked now: by an earlier run)"
        lines.append(f"{by:<13}{keeps:>9}{sum(row.photos for row in rejects):>10}{earlier}")
        lines += [f"{'':<13}{'':>9}{row.photos:>10}  {row.reason}" for row in rejects]
    lines.append(f"kept in the end: {kept(ledger)} of {ledger.count()['fetched']}")
    return "\n".join(lines)
