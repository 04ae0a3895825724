"""How Landsat scenes become shards: the options of `tools/pack_landsat.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from waterscape.errors import UserError
from waterscape.options import comma_separated
from waterscape.sources.landsat.bands import WATER
from waterscape.sources.landsat.layers import stated_bands
from waterscape.sources.landsat.reading import Reading
from waterscape.sources.landsat.water_labels import Labels
from waterscape.sources.landsat.windows import REACH, cuts
from waterscape.sources.photo_set import Sharing

USUAL_SHARING = Sharing(samples_per_shard=128)  # 70 MB


@dataclass(frozen=True)
class Packing:
    """How scenes become shards."""

    bands: Annotated[tuple[str, ...], comma_separated(str, "NAME=BAND,...")] = ()
    """Which band is which, from 1, as in B2=2,B3=3,B4=4,B5=5,B6=6,elevation=10,qa=8,cover=11. Left out: by the bands'
    descriptions, or by the files' names where each band has its own (scene_B2.tif, ..._SR_B2.TIF)."""
    scale: float | None = None
    """Reflectance = number x scale + offset. Left out: as the file says, or by what its numbers are."""
    offset: float | None = None
    """See --scale; 0 where only the scale is given. HLS: --scale 0.0001 --offset 0."""
    metres_per_pixel: float | None = None
    """Of the set. Files that tell another resolution are dropped; those that tell none are believed to have it."""
    degrees: bool = False
    """Take files in degrees too: their pixels are narrower than high, the farther from the equator the more."""
    masks: Path | None = None
    """A folder of masks (PNG or GeoTIFF, named as the scenes): 0 land, 1 water, 255 not known; or 0 land, 255 water
    where no mask holds a 1."""
    mask_water: Literal[1, 255] | None = None
    """The value that means water in masks. Left out: 255 where all hold nothing but 0 and 255, else 1."""
    labels: Labels | None = None
    """What is learned: masks, qa (a bit of the quality band) or water (a band). Left out: masks where there are any,
    else water. With qa and masks, the masks are kept as truth.npy."""
    qa_bit: int | None = None
    """The bit that means water: 5 of Fmask, 7 of QA_PIXEL."""
    hide_bits: Annotated[tuple[int, ...], comma_separated(int, "BIT,...")] = ()
    """Bits of the quality band that make nodata of a pixel, such as 1,2,3,4 of QA_PIXEL: clouds and their shadows."""
    tile_size: int = 128
    """Side of a window in pixels."""
    overlap: int = 2 * REACH
    """Pixels that neighbouring windows share. Each labels its half of them: none is trained on twice."""
    least_water: int = 101
    """Windows with fewer pixels of water are dropped; 0 keeps dry ones too."""
    group: str = "place"
    """What is not torn between splits: place (a block of ground: a window labels no pixel beyond its own), file, or
    band:N, whose files show one place where band N is equal."""
    block_km: float = 20.0
    """With --group place: side of a block of ground in kilometres."""
    sharing: Sharing = field(default_factory=lambda: USUAL_SHARING)

    def reading(self) -> Reading:
        """How scenes are read. Raises `UserError` for options that cannot be."""
        self.sharing.check()
        cuts(1, 1, self.tile_size, self.overlap)
        labels = self.labels or ("masks" if self.masks else "water")
        if labels == "masks" and self.masks is None:
            raise UserError("--labels masks: say where they are, as in --masks labels")
        if labels == "qa" and self.qa_bit is None:
            raise UserError("--labels qa: say which bit means water, --qa-bit 5 of Fmask or --qa-bit 7 of QA_PIXEL")
        if not all(0 <= bit < 32 for bit in (*self.hide_bits, self.qa_bit or 0)):
            raise UserError("--qa-bit, --hide-bits: bits are counted from 0 to 31")
        if self.metres_per_pixel is not None and not self.metres_per_pixel > 0:
            raise UserError(f"--metres-per-pixel {self.metres_per_pixel}: give a positive number of metres")
        word, _, band = self.group.partition(":")
        if self.group not in ("place", "file") and not (word == "band" and band.isdecimal() and int(band) > 0):
            raise UserError(f"--group {self.group}: give place, file, or band:N, as in band:10")
        if not self.block_km > 0:
            raise UserError(f"--block-km {self.block_km}: give a positive number of kilometres")
        return Reading(
            self.tile_size,
            self.overlap,
            tuple(stated_bands(self.bands).items()),
            self.scale,
            self.offset,
            labels,
            self.qa_bit,
            self.hide_bits,
            int(band) if band else None,
            self.block_km if self.group == "place" else None,
            self.mask_water or WATER,
        )


USUAL_PACKING = Packing()
