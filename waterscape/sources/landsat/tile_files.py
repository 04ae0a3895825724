"""Which files are the scenes of a source, and which masks are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.landsat.layers import SUFFIXES, scene_files
from waterscape.sources.landsat.water_labels import MASK_SUFFIXES
from waterscape.sources.photo_file import files_below, is_hidden
from waterscape.sources.photo_set import sources_apart
from waterscape.sources.photo_tally import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Found:
    """A scene as it lies on the disk."""

    name: str
    """Path below the source, with the source's own name first and no ending."""
    path: Path
    """Its file; of several files only what they have in common."""
    files: tuple[tuple[str, Path], ...]
    """Layers and their files, where each band is a file of its own."""
    mask: Path | None

    def paths(self) -> Iterator[Path]:
        """All files that it is read from."""
        yield from (path for _, path in self.files) if self.files else (self.path,)
        if self.mask is not None:
            yield self.mask


def find_scenes(sources: Sequence[Path], out: Path, masks: Path | None, *, one_band_files: bool) -> list[Found]:
    """All scenes of folders and files, by name. With `one_band_files`, `lake_B2.tif` and its like are put together.

    Raises:
        UserError: a source that does not exist or holds no GeoTIFF, sources in one another, no masks where they
            should be, one for two scenes, or two of one name.
    """
    if not sources:
        raise UserError("no source was named: give a folder of GeoTIFFs")
    sources_apart(sources, out)
    masks_of = _masks(masks) if masks is not None else None
    found: dict[str, Found] = {}
    masked: dict[Path, Path] = {}
    for source in sources:
        here = source.resolve()
        root = here if here.is_dir() else here.parent
        inside = files_below(here) if here.is_dir() else [here]
        paths = [path for path in _visible(inside, root) if path.suffix.lower() in SUFFIXES]
        if masks is not None and masks.resolve() != here:
            paths = [path for path in paths if not path.is_relative_to(masks.resolve())]
        if not paths:
            raise UserError(f"{source} holds no GeoTIFF ({', '.join(SUFFIXES)}): give a folder of scenes")
        scenes, others = scene_files(paths) if one_band_files else ({}, paths)
        for path, files in [*scenes.items(), *((path, {}) for path in others)]:
            below = path.relative_to(root) if files else path.relative_to(root).with_suffix("")
            name = plain((here.name if here.is_dir() else root.name) + "/" + below.as_posix())
            if name in found:
                raise UserError(f"{path} and {found[name].path} are both called {name}: rename one")
            mask = _mask_of(masks_of, below) if masks_of is not None else None
            other = masked.setdefault(mask, path) if mask is not None else path
            if other != path:
                raise UserError(f"{mask} is the mask of both {other} and {path}: put masks into folders as the scenes")
            found[name] = Found(name, path, tuple(files.items()), mask)
    return [found[name] for name in sorted(found)]


def _masks(folder: Path) -> dict[str, list[Path]]:
    """Path below the folder without ending → files."""
    if not folder.is_dir():
        raise UserError(f"--masks {folder}: there is no such folder")
    here = folder.resolve()
    masks: dict[str, list[Path]] = {}
    for path in _visible(files_below(here), here):
        if path.suffix.lower() in MASK_SUFFIXES:
            masks.setdefault(path.relative_to(here).with_suffix("").as_posix(), []).append(path)
    if not masks:
        raise UserError(f"--masks {folder} holds no mask ({', '.join(MASK_SUFFIXES)})")
    return masks


def _mask_of(masks: Mapping[str, list[Path]], below: Path) -> Path | None:
    """The mask of a scene: under the same path, or else one of its name in no folder. Raises `UserError` for two."""
    mine = masks.get(below.as_posix()) or masks.get(below.name) or []
    if len(mine) > 1:
        raise UserError(f"{mine[0]} and {mine[1]} are both masks of {below.name}: put them into folders as the scenes")
    return mine[0] if mine else None


def _visible(paths: Iterable[Path], root: Path) -> list[Path]:
    return [path for path in paths if not is_hidden(path.relative_to(root).parts)]
