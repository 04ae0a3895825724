"""A torch network as a graph of Earth Engine's own operations, and its deployment there."""

from waterscape.earthengine.compile import Compiled, compile  # noqa: A004 (the word of the field)
from waterscape.earthengine.conventions import ASSUMED, Conventions
from waterscape.earthengine.pixels import Pixels

__all__ = ["ASSUMED", "Compiled", "Conventions", "Pixels", "compile"]
