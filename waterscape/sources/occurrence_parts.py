"""Packing water occurrence in parts (see `data.parts`): the joined set is the one that `pack` makes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterscape.sources import making
from waterscape.sources.occurrence_pack import Labelling, Packing, Tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.making import Done
    from waterscape.sources.occurrence_report import Summary


def pack_part(
    sources: Sequence[Path],
    out: Path,
    labelling: Labelling,
    packing: Packing,
    *,
    part: int,
    parts: int,
    replace: bool = False,
    processes: int = 1,
) -> Done:
    """Pack part `part` (1 …) of `parts`, in the directory `NAME.parts` beside `out`, but for what stands there already.

    Raises:
        UserError: bad tiles or options, none left, or parts that were begun otherwise. What was whole stays.
    """
    origin = Tiles.find(sources, out, labelling, packing)
    return making.pack_part(origin, out, part=part, parts=parts, replace=replace, processes=processes)


def join(
    sources: Sequence[Path], out: Path, labelling: Labelling, packing: Packing, *, replace: bool = False
) -> Summary:
    """Make one set of all parts: every shard is checked whole and keeps its bytes. The parts are removed then.

    Raises:
        UserError: parts are lacking, were made otherwise, or are damaged; nothing new stands under `out` then.
    """
    return making.join(Tiles.find(sources, out, labelling, packing), out, replace=replace)
