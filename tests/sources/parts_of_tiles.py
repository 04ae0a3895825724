"""Water occurrence packed in parts, as `tools/pack_occurrence.py --part` and `--join` do."""

from waterscape.sources import making
from waterscape.sources.occurrence_pack import Tiles


def pack_part(sources, out, labelling, packing, **how):
    return making.pack_part(Tiles.find(sources, out, labelling, packing), out, **how)


def join(sources, out, labelling, packing, *, replace=False):
    return making.join(Tiles.find(sources, out, labelling, packing), out, replace=replace)
