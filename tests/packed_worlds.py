"""A synthetic world of water occurrence, exported and packed: for tests that need shores as ragged as real ones."""

from waterscape.metrics.labelling import LABELLING
from waterscape.sources.occurrence_pack import USUAL_PACKING, pack
from waterscape.sources.world.export import write_world


def write_packed_world(directory, tiles):
    """Shards of a world of so many tiles, in `directory` / water, which is returned."""
    write_world(directory / "exports", tiles, seed=7)
    pack([directory / "exports"], directory / "water", LABELLING, USUAL_PACKING)
    return directory / "water"
