"""Landsat scenes → shards of windows: `bands.npy` (H W 8, float32), `water.npy` (H W, uint8), `json`, and more.

`truth.npy` is a mask by which labels made of QA bits can be judged; `cover.npy` holds classes of land cover. NaN is
nodata in the bands, 255 no label. Split by place: windows of one block of ground, or of files that show the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.landsat import reading as landsat_reading
from waterscape.sources.landsat.bands import BANDS, WATER
from waterscape.sources.landsat.reading import look
from waterscape.sources.landsat.tile_files import Found, find_scenes
from waterscape.sources.landsat.tile_sheet import Windows
from waterscape.sources.landsat.water_labels import values_in, water_value
from waterscape.sources.landsat.windows import Cut
from waterscape.sources.making import digest_of
from waterscape.sources.photo_set import Picture, block_of, libraries, made
from waterscape.sources.photo_tally import Dropped, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from waterscape.data.shard import Value
    from waterscape.sources.landsat.packing import Packing
    from waterscape.sources.landsat.reading import Reading
    from waterscape.sources.parallel import Each

NO_CRS, IN_DEGREES, OTHER_SCALE = "without CRS", "in degrees", "of another resolution than the set"
NODATA_ONLY, UNLABELLED = "all nodata", "without any label"
AGAIN = "the same window again"
TOLERANCE = 0.01  # by which pixels may be longer or shorter than those of the set


@dataclass(frozen=True)
class Tiles:
    """Scenes as an origin of samples (see `making`)."""

    sources: tuple[str, ...]
    found: tuple[Found, ...]
    options: Packing
    shown = "water.npy"
    unit = "window"

    @classmethod
    def find(cls, sources: Sequence[Path], out: Path, options: Packing) -> Tiles:
        """All scenes of folders and files. Raises `UserError`."""
        reading = options.reading()
        found = find_scenes(sources, out, options.masks, one_band_files=not options.bands)
        apart = next((one for one in found if one.files), None)
        if reading.group_band is not None and apart is not None:
            raise UserError(
                f"--group {options.group} needs one file with all bands, {apart.path}_* are files of one band each: "
                "say --group file or place"
            )
        return cls(tuple(source.resolve().name for source in sources), tuple(found), options)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.options.sharing.samples_per_shard

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        paths = {f"{one.name}\t{path.name}": path for one in self.found for path in one.paths()}
        return {
            "sources": list(self.sources),
            "files": len(paths),
            "files_sha256": digest_of(paths),
            "options": self._options(),
            "libraries": libraries("rasterio"),
        }

    def judge(self, each: Each) -> Windows:
        """Read all scenes, drop what cannot be used, and share out the windows of the rest. Raises `UserError`."""
        reading = replace(self.options.reading(), mask_water=self._mask_water(each))
        looked = each("survey", partial(look, reading=reading), self.found)
        metres = self._metres(looked)
        dropped: list[Dropped] = []
        sound: list[tuple[Found, Mapping[str, Any], Mapping[str, Any]]] = []
        first: dict[str, str] = {}
        for found, facts in zip(self.found, looked, strict=True):
            reason = self._unfit(facts, metres)
            if reason:
                dropped.append(Dropped(found.name, *reason))
                continue
            for window in facts["windows"]:
                name = _name(found, window)
                lacking = self._lacking(window)
                if lacking:
                    dropped.append(Dropped(name, *lacking))
                elif window["sha256"] in first:
                    dropped.append(Dropped(name, AGAIN, f"as {first[window['sha256']]}"))
                else:
                    first[window["sha256"]] = name
                    sound.append((found, facts, window))
        tally = Tally(len(sound) + len(dropped), dropped)
        if not sound:
            raise UserError(f"of {len(self.found)} scenes nothing is left: {_why(dropped)}")
        groups = [self._group(*one) for one in sound]
        split_of = self.options.sharing.split_of(Counter(groups))
        kept = [
            Picture(
                _name(found, window),
                (found, _cut(window), window["sha256"], reading),
                -1,
                _told(found, facts, window, metres, reading.side),
                (facts["scaling"], *_beyond(facts["shape"], reading.side)),
                group,
                split_of[group],
            )
            for (found, facts, window), group in zip(sound, groups, strict=True)
        ]
        seed = self.options.sharing.seed
        grids = {(facts["crs"], facts["degrees"], *facts["pixel"]) for _, facts, _ in sound}
        return Windows(
            unit=self.unit,
            kept=sorted(kept, key=lambda one: hash64(seed, "order of writing", one.name)),
            tally=tally,
            classes=(),
            make=make,
            described=self._facts(metres, grids, len(set(groups)), reading),
            units={"scenes read": len(self.found), "  of which windows are kept": len({one[0].name for one in sound})},
        )

    def _mask_water(self, each: Each) -> int:
        """The value that means water in masks. Raises `UserError` where they do not show it."""
        masks = sorted({found.mask for found in self.found if found.mask is not None})
        if self.options.mask_water is not None or not masks:
            return self.options.mask_water or WATER
        held = each("masks", values_held, masks)
        return water_value({path: one["values"] for path, one in zip(masks, held, strict=True)})

    def _metres(self, looked: Sequence[Mapping[str, Any]]) -> float | None:
        """Metres per pixel of the set. Raises `UserError` where files differ and none is stated."""
        if self.options.metres_per_pixel is not None:
            return self.options.metres_per_pixel
        known: dict[float, str] = {
            round(facts["metres_per_pixel"], 2): found.name
            for found, facts in zip(self.found, looked, strict=True)
            if facts.get("metres_per_pixel") is not None and (self.options.degrees or not facts["degrees"])
        }
        if not known:
            return None
        if max(known) > min(known) * (1 + TOLERANCE):
            told = ", ".join(f"{name} has {metres:g} m" for metres, name in sorted(known.items())[:3])
            raise UserError(f"the scenes differ in resolution ({told}): say which to pack, as in --metres-per-pixel 30")
        return min(known)

    def _unfit(self, facts: Mapping[str, Any], metres: float | None) -> tuple[str, str] | None:
        """Why a scene is not used."""
        if "reason" in facts:
            return facts["reason"], facts["detail"]
        if facts["crs"] is None and self.options.metres_per_pixel is None:
            return NO_CRS, "it does not tell how large its pixels are: say --metres-per-pixel 30"
        if facts["degrees"] and not self.options.degrees:
            return IN_DEGREES, "export it in metres (UTM), or say --degrees to take it as it is"
        own = facts["metres_per_pixel"]
        if own is not None and metres is not None and abs(own / metres - 1) > TOLERANCE:
            return OTHER_SCALE, f"{own:g} m, not {metres:g} m: gdalwarp -tr {metres:g} {metres:g} makes them so"
        return None

    def _lacking(self, window: Mapping[str, Any]) -> tuple[str, str] | None:
        """Why a window is not used."""
        if window["nodata"]:
            return NODATA_ONLY, ""
        if not window["known"]:
            return UNLABELLED, ""
        if window["water"] < self.options.least_water:
            return f"fewer than {self.options.least_water} pixels of water", str(window["water"])
        return None

    def _group(self, found: Found, facts: Mapping[str, Any], window: Mapping[str, Any]) -> str:
        """What is not torn. Raises `UserError` where that is not known."""
        if self.options.group == "file":
            return found.name
        if facts["same_place"] is not None:
            return f"{self.options.group}:{facts['same_place']}"
        group = block_of(_coordinates(window), self.options.block_km)
        if group is None:
            raise UserError(
                f"{found.path} has no CRS, so its place is not known: say --group file, or --group band:N "
                "where files of one place have an equal band (elevation)"
            )
        return group

    def _facts(
        self,
        metres: float | None,
        grids: set[tuple[str | None, bool, float, float]],
        groups: int,
        reading: Reading,
    ) -> dict[str, Any]:
        side = self.options.tile_size
        systems = {crs for crs, *_ in grids}
        crs = next(iter(systems)) if len(systems) == 1 else None
        degrees = [in_degrees for placed, in_degrees, *_ in grids if placed is not None]
        pixels = {tuple(pixel) for _, _, *pixel in grids}
        # width and height to the last digit: metres are rounded, and pixels counted from afar would not be these
        exact = {"degrees_per_pixel": pixels.pop()} if crs and all(degrees) and len(pixels) == 1 else {}
        return {
            "content": f"Landsat windows, {side} × {side}: {', '.join(BANDS)}; water 1, land 0, not known 255",
            "source": list(self.sources),
            "licence": self.options.sharing.licence,
            "made": made("tools/pack_landsat.py", **self._options()),
            "split": f"by {self.options.group}",
            "groups": groups,
            "labels": reading.labels,
            "tiles": {
                "side": side,
                "metres_per_pixel": metres,
                "degrees": any(degrees) if degrees else None,
                "crs": crs,
                "bands": list(BANDS),
                **exact,
            },
        }

    def _options(self) -> dict[str, Any]:
        masks = self.options.masks
        return asdict(self.options) | {"masks": masks.resolve().name if masks else None}


def make(picture: Picture) -> dict[str, Value]:
    """A window's columns. Raises `UserError` where it is no longer what the survey found."""
    return landsat_reading.make(picture.source)


def values_held(mask: Path) -> dict[str, Any]:
    """What a mask holds, as plain JSON."""
    return {"values": values_in(mask)}


def _name(found: Found, window: Mapping[str, Any]) -> str:
    return f"{found.name}#{window['row']},{window['column']}"


def _cut(window: Mapping[str, Any]) -> Cut:
    rows, columns = ((int(first), int(after)) for first, after in (window["rows"], window["columns"]))
    return Cut(window["row"], window["column"], rows, columns)


def _beyond(shape: Sequence[int], side: int) -> tuple[str, ...]:
    return ("smaller than a window: filled up with nodata",) if min(shape) < side else ()


def _coordinates(window: Mapping[str, Any]) -> dict[str, Any]:
    longitude, latitude = window["place"] or (None, None)
    return {"longitude": longitude, "latitude": latitude}


def _told(
    found: Found, facts: Mapping[str, Any], window: Mapping[str, Any], metres: float | None, side: int
) -> dict[str, Any]:
    """A sample's JSON, but for group and split."""
    return {
        "key": _name(found, window),
        "source": found.name,
        "window": {"row": window["row"], "column": window["column"], "height": side, "width": side},
        **_coordinates(window),
        "crs": facts["crs"],
        "metres_per_pixel": facts["metres_per_pixel"] or metres,
        "water": round(window["water"] / window["known"], 4),
        "synthetic": facts["synthetic"],
        **facts["tags"],
    }


def _why(dropped: Sequence[Dropped]) -> str:
    """The reasons, each with the detail of one that it was dropped for."""
    counts = Counter(one.reason for one in dropped)
    some = {one.reason: one for one in reversed(dropped)}
    told = [f"{count} {reason} ({some[reason].name}: {some[reason].detail})" for reason, count in counts.most_common(3)]
    return "; ".join(told)
