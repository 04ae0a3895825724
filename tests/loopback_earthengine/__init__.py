"""A stand-in for Earth Engine on this machine: the real client talks to it, numpy computes what it asks for.

    with serve(assets={"projects/demo-water/assets/tile": Raster({"B2": …}, crs, transform)}) as server:
        server.connect()
        ee.Image("projects/demo-water/assets/tile").add(1).getInfo()

It imports nothing of the package that it judges. What only the live service can settle is a field of `Assumptions`.
"""

from loopback_earthengine import arrays, bands, collected, filters, neighbours, plain, regions  # noqa: F401 (they register)
from loopback_earthengine.assumptions import Assumptions
from loopback_earthengine.faults import Fault
from loopback_earthengine.images import Raster
from loopback_earthengine.server import Server, serve

__all__ = ["Assumptions", "Fault", "Raster", "Server", "serve"]
