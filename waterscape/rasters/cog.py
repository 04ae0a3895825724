"""Raw rows → a cloud-optimised GeoTIFF: tiles, overviews, and all that says where they are in the first kilobytes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from waterscape.sources.landsat.raster_file import Grid

BLOCK = 512
CACHE_BYTES = 32 << 20  # of decoded blocks that GDAL keeps, whatever the machine has
KINDS = {"uint8": "Byte", "float32": "Float32"}


@dataclass(frozen=True)
class Layer:
    """One band as it is to be written."""

    dtype: Literal["uint8", "float32"]
    nodata: float
    overviews: Literal["NEAREST", "AVERAGE"]
    """How coarser pixels come from finer ones; nodata counts for nothing in an average."""
    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    """Value → red, green, blue."""


def write_cog(raw: Path, target: Path, grid: Grid, layer: Layer, threads: int = 1) -> None:
    """Write rows of numbers (little-endian, without a header) as a cloud-optimised GeoTIFF in the place of `grid`.

    A file named as `target`, with `.vrt` behind it, is left beside `raw`. Not atomic: write to a temporary name.

    Raises:
        UserError: it cannot be written, as on a full disk.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.shutil import copy

    header = raw.with_name(f"{target.name}.vrt")
    header.write_text(_header(raw, grid, layer))
    options = {
        "BLOCKSIZE": BLOCK,
        "COMPRESS": "DEFLATE",
        "PREDICTOR": "YES" if layer.dtype == "float32" else "NO",
        "OVERVIEW_RESAMPLING": layer.overviews,
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": threads,
    }
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            copy(str(header), str(target), driver="COG", **options)
            _read_through(target)
    except (RasterioError, CPLE_BaseError, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(f"{target.name} could not be written in {target.parent} ({told}): is the disk full?") from error


def _read_through(path: Path) -> None:
    """Raise `RasterioError` where a block is missing: a full disk is not always told when a file is closed."""
    import rasterio

    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(1, window=window)


def _header(raw: Path, grid: Grid, layer: Layer) -> str:
    """A virtual raster that tells GDAL what the numbers in `raw` are. It lies beside it."""
    size = np.dtype(layer.dtype).itemsize
    place = ""
    if grid.crs is not None:
        from rasterio.crs import CRS

        wkt = CRS.from_user_input(grid.crs).to_wkt(version="WKT2_2019")
        place = f"<SRS>{escape(wkt)}</SRS>"
    if not grid.transform.is_identity:
        place += f"<GeoTransform>{', '.join(f'{number!r}' for number in grid.transform.to_gdal())}</GeoTransform>"
    tags = "".join(f"<MDI key={quoteattr(name)}>{escape(text)}</MDI>" for name, text in layer.tags.items())
    colours = ""
    if layer.colours:
        entries = (
            '<Entry c1="{}" c2="{}" c3="{}" c4="{}"/>'.format(*layer.colours.get(value, (0, 0, 0)), 255)
            for value in range(256)
        )
        colours = f"<ColorInterp>Palette</ColorInterp><ColorTable>{''.join(entries)}</ColorTable>"
    return f"""<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">
{place}
<Metadata>{tags}</Metadata>
<VRTRasterBand dataType="{KINDS[layer.dtype]}" band="1" subClass="VRTRawRasterBand">
<Description>{escape(layer.description)}</Description><NoDataValue>{layer.nodata}</NoDataValue>{colours}
<SourceFilename relativeToVRT="1">{escape(raw.name)}</SourceFilename>
<ImageOffset>0</ImageOffset><PixelOffset>{size}</PixelOffset><LineOffset>{size * grid.width}</LineOffset>
<ByteOrder>LSB</ByteOrder>
</VRTRasterBand></VRTDataset>
"""
