"""The files that a predicted raster becomes: their names, the room that they need, and where they grow."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from waterscape.errors import UserError
from waterscape.rasters.unfinished import begun, beside

NEEDED_BYTES = 7  # of disk per pixel at most: the probabilities as they grow, the mask, and both as files


@dataclass(frozen=True)
class Targets:
    """The files to be written."""

    mask: Path
    probability: Path
    picture: Path
    outlines: Path | None

    @classmethod
    def of(cls, out: Path, probability: Path | None, outlines: Path | None, *, overwrite: bool) -> Targets:
        """Those that are asked for. Raises `UserError` for names that cannot be, or that are taken."""
        if out.suffix.lower() not in (".tif", ".tiff"):
            raise UserError(f"--out {out}: the mask is a GeoTIFF, name it so: {out.with_suffix('.tif')}")
        if outlines and outlines.suffix.lower() != ".gpkg":
            raise UserError(f"--outlines {outlines}: name a GeoPackage, {outlines.with_suffix('.gpkg')}")
        probability = probability or out.with_name(f"{out.stem}-probability{out.suffix}")
        targets = cls(out, probability, out.with_suffix(".png"), outlines)
        if len({path.resolve() for path in targets.all()}) < len(targets.all()):
            raise UserError(f"two results would both be {probability}: give another --probability or --out")
        for path in targets.all():
            if path.is_dir():
                raise UserError(f"{path} is a directory: name a file")
            if path.exists() and not overwrite and path.resolve() not in begun(out):
                raise UserError(f"{path} is there already: say --overwrite, or give another --out")
        return targets

    def all(self) -> tuple[Path, ...]:
        """In the order in which they are given their names; the mask comes last."""
        others = (self.probability, self.picture, *([self.outlines] if self.outlines else []))
        return (*others, self.mask)

    def check_space(self, pixels: int) -> None:
        """Raise `UserError` where the disk has no room for what is to come of a raster of so many pixels."""
        out = self.mask
        raw = beside(out) / "probability.raw"
        there = raw.stat().st_blocks * 512 if raw.exists() else 0
        needed, free = pixels * NEEDED_BYTES - there, shutil.disk_usage(out.parent).free
        if needed > free:
            raise UserError(
                f"{out.parent} has {free / 1e9:.3g} GB free, and up to {needed / 1e9:.3g} GB may be needed on the way: "
                "free some, or give another --out"
            )

    def grows_at(self, path: Path, directory: Path) -> Path:
        """Where one of the files grows: on the disk on which it will stand; in this directory, if on the mask's."""
        if path.parent.resolve() == self.mask.parent.resolve():
            return directory / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".partial-{path.name}")


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """A full disk as one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{folder} is full: free some space, and the same command goes on") from error
