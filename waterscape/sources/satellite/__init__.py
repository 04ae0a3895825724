"""Satellite tiles of places: from Yandex Static Maps, from Earth Engine, or cut from a mosaic on the disk.

All sources answer the same question, `TileSource.tile_at(latitude, longitude)`, and say under which licence.
"""

from waterscape.sources.satellite.source import DeniedError, NoTileError, SatelliteTile, TileSource, UnansweredError

__all__ = ["DeniedError", "NoTileError", "SatelliteTile", "TileSource", "UnansweredError"]
