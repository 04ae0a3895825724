"""One tile of a deployment as the servers compute it, against torch."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyproj import Transformer
from torch import nn

from waterscape.durable import replacing
from waterscape.earthengine.deploy import PROBABILITY, Deployment, Probability, Region
from waterscape.earthengine.pixels import Pixels
from waterscape.sources.earthengine import EarthEngineError, explained
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.composite import composite

if TYPE_CHECKING:
    import ee

CLOSE = 1e-5
"""How far a probability of the servers may be off torch's."""
COMPARED = 64  # pixels a side of the tile
PLACES = 5  # where it is looked for: other places are clouded
NODATA = -9999.0  # what masked pixels are filled with on the way here


@dataclass(frozen=True)
class Comparison:
    """One tile as the servers and as torch compute it."""

    place: tuple[float, float]
    """Longitude and latitude of its middle."""
    region: str
    year: int
    largest: float
    """Difference of a probability."""
    pixels: int
    masks_differ: int
    """Pixels that one of the two masks alone."""
    bands: NDArray[np.float32]
    """H W 8."""
    servers: NDArray[np.float64]
    """H W, NaN where masked."""
    torch: NDArray[np.float64]

    @property
    def agrees(self) -> bool:
        """Whether the servers compute what torch does."""
        return self.largest <= CLOSE and not self.masks_differ and self.pixels > 0

    def facts(self) -> dict[str, Any]:
        """All but the pixels."""
        every = {**asdict(self), "agrees": self.agrees, "allowed": CLOSE}
        return {key: value for key, value in every.items() if not isinstance(value, np.ndarray)}


def compare(deployment: Deployment, network: nn.Module, region: Region, year: int) -> Comparison:
    """The composite's pixels of a tile through torch, against the compiled graph's pixels of the same tile.

    Raises:
        EarthEngineError: a request failed, or no place of the region has clear pixels in that summer.
    """
    lattice, (rows, columns) = deployment.compiled.pixels, deployment.compiled.margin
    around = composite(region.box(), year, southern=region.southern)
    for corner in _corners(region, lattice):
        with explained(f"computing a tile of {region.name}"):
            wide = (corner[0] - columns, corner[1] - rows)
            shape = (COMPARED + 2 * rows, COMPARED + 2 * columns)
            bands = _pixels(around.select(list(BANDS)), lattice, wide, shape)
            if not np.isfinite(bands).all(-1).any():
                continue
            image = deployment.image(region, year).select([PROBABILITY])
            servers = _pixels(image, lattice, corner, (COMPARED, COMPARED))[..., 0].astype(np.float64)
        if not np.isfinite(servers).any():
            continue
        ours = probability(network, bands)[rows : rows + COMPARED, columns : columns + COMPARED]
        both = np.isfinite(servers) & np.isfinite(ours)
        place = _degrees(lattice, corner[0] + COMPARED / 2, corner[1] + COMPARED / 2)
        return Comparison(
            place=place,
            region=region.name,
            year=year,
            largest=float(np.abs(servers - ours)[both].max(initial=0)),
            pixels=int(both.sum()),
            masks_differ=int((np.isfinite(servers) != np.isfinite(ours)).sum()),
            bands=bands[rows : rows + COMPARED, columns : columns + COMPARED].astype(np.float32),
            servers=servers,
            torch=ours,
        )
    raise EarthEngineError(
        f"no pixel of {region.name} was clear in the summer of {year} at {PLACES} places, so that nothing can be "
        "compared with torch: begin --years with another year"
    )


def probability(network: nn.Module, bands: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Torch's probability of water (H W) of bands (H W 8), in float64; NaN where a pixel that it depends on is NaN."""
    pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(bands, -1, 0)[None], dtype=np.float64))
    doubled = copy.deepcopy(Probability(network)).double().eval()
    with torch.no_grad():
        valid = doubled(pictures.nan_to_num(0.0))[0, 0].numpy()
        down, right = ((whole - inner) // 2 for whole, inner in zip(bands.shape[:2], valid.shape, strict=True))
        unknown = pictures.isnan().any(1, keepdim=True).double()
        seen = nn.functional.max_pool2d(unknown, (2 * down + 1, 2 * right + 1), stride=1)[0, 0].numpy() == 0
    found = np.full(bands.shape[:2], np.nan)
    found[down : down + valid.shape[0], right : right + valid.shape[1]] = np.where(seen, valid, np.nan)
    return found


def _corners(region: Region, lattice: Pixels) -> Sequence[tuple[int, int]]:
    """Column and row of the north-western pixel of tiles to look at: in the middle, then elsewhere within."""
    import shapely

    shape = region.area.shape
    west, south, east, north = shape.bounds
    grid = [(west + (east - west) * a, south + (north - south) * b) for a in (0.25, 0.75) for b in (0.25, 0.75)]
    points = [shape.representative_point(), *(p for p in map(shapely.Point, grid) if shape.contains(p))][:PLACES]
    width, _, left, _, height, top = lattice.lattice
    forward = Transformer.from_crs("EPSG:4326", lattice.crs, always_xy=True)
    places = [forward.transform(point.x, point.y) for point in points]
    half = COMPARED // 2
    return [(math.floor((x - left) / width) - half, math.floor((y - top) / height) - half) for x, y in places]


def _degrees(lattice: Pixels, column: float, row: float) -> tuple[float, float]:
    width, _, left, _, height, top = lattice.lattice
    back = Transformer.from_crs(lattice.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = back.transform(left + width * column, top + height * row)
    return float(longitude), float(latitude)


def _pixels(
    image: ee.Image, lattice: Pixels, corner: tuple[int, int], shape: tuple[int, int]
) -> NDArray[np.floating[Any]]:
    """Pixels of a window of the lattice (H W bands), NaN where they are masked."""
    width, _, left, _, height, top = lattice.lattice
    transform = (width, 0.0, left + width * corner[0], 0.0, height, top + height * corner[1])
    return computed_pixels(image, lattice.crs, transform, shape)


def computed_pixels(
    image: ee.Image, crs: str, transform: Sequence[float], shape: tuple[int, int]
) -> NDArray[np.floating[Any]]:
    """What the servers compute at a grid (H W bands), NaN where it is masked. Raises what the client raises."""
    import ee

    keys = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    grid = {
        "dimensions": {"width": shape[1], "height": shape[0]},
        "affineTransform": dict(zip(keys, map(float, transform), strict=True)),
        "crsCode": crs,
    }
    request = {"expression": image.unmask(NODATA, False).toDouble(), "fileFormat": "NPY", "grid": grid}
    content = ee.data.computePixels(request)
    try:
        table = np.load(io.BytesIO(content))
        found = np.stack([table[name] for name in table.dtype.names], -1).astype(np.float64)
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise EarthEngineError("the servers' pixels cannot be read; run the same command again") from error
    if found.shape[:2] != shape:
        raise EarthEngineError(f"the servers sent {found.shape[:2]} pixels for {shape}; run the same command again")
    found[found == NODATA] = np.nan
    return found


def draw(path: Path, found: Comparison) -> None:
    """The tile in false colour, its probability by the servers and by torch, and the difference."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(14, 4.3), layout="constrained")
    colours = np.clip(np.nan_to_num(found.bands[..., [4, 3, 2]], nan=0.55) / 0.4, 0, 1)
    axes[0].imshow(colours)
    for axis, values in zip(axes[1:3], (found.servers, found.torch), strict=True):
        drawn = axis.imshow(values, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(drawn, ax=axes[1:3], location="bottom", shrink=0.6)
    apart = np.abs(found.servers - found.torch)
    drawn = axes[3].imshow(apart, vmin=0, vmax=max(float(np.nanmax(apart, initial=0)), 1e-12), cmap="magma")
    figure.colorbar(drawn, ax=axes[3], location="bottom", shrink=0.8)
    titles = ("SWIR1, NIR, red", "probability: servers", "probability: torch", f"difference ≤ {found.largest:.1e}")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    longitude, latitude = found.place
    figure.suptitle(f"{found.region}, summer of {found.year}, at {latitude:.4f}, {longitude:.4f}", fontsize=11)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)
    plt.close(figure)
