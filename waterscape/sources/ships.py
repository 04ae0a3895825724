"""Satellite chips with and without ships → shards: `image.npy` (H W 3, uint8), `class.npy` where it is known, `json`.

Chips of one scene overlap and share light and haze: whole scenes go to one split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.making import SHOWN, digest_of
from waterscape.sources.photo_facts import sidecars_among
from waterscape.sources.photo_file import USUAL_LIMITS, Limits, PhotoError, files_below
from waterscape.sources.photo_set import (
    USUAL_SHARING,
    Collection,
    Picture,
    Sharing,
    block_of,
    libraries,
    made,
    nothing_left,
    sources_apart,
)
from waterscape.sources.photo_tally import Dropped, Tally, plain
from waterscape.sources.ship_chips import CLASSES, Chip, Reading, Scene, chips_in, digest, look

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.parallel import Each

SAME, BOTH_LABELS = "the same chip again", "the same chip with both labels"
SCENES_SHOWN = 8


@dataclass(frozen=True)
class Chips:
    """How chips become shards."""

    side: int = 80
    """Of a chip in pixels; chips of any other size are dropped."""
    cut: bool = False
    """Cut pictures whose names are not those of chips, as whole scenes, into chips without label."""
    stride: int | None = None
    """With --cut: pixels from a chip to the next. Left out: the side, so that they lie edge to edge."""
    most_empty: float = 0.1
    """With --cut: chips with a larger share of black pixels, where a scene has no data, are dropped."""
    split: Literal["scene", "place", "random"] = "scene"
    """What is not torn between splits: scene, place (a block of ground, whatever the day), or random: nothing."""
    block_km: float = 5.0
    """With --split place: side of a block of ground in kilometres."""
    metres_per_pixel: float = 3.0
    """Of the chips (PlanetScope's: 3)."""
    sharing: Sharing = USUAL_SHARING
    limits: Limits = USUAL_LIMITS

    def reading(self) -> Reading:
        """How chips are read. Raises `UserError` for options that cannot be."""
        self.sharing.check()
        if self.side < 1 or (self.stride is not None and self.stride < 1):
            raise UserError(f"--side {self.side}, --stride {self.stride}: give 1 pixel or more")
        if self.stride is not None and not self.cut:
            raise UserError("--stride goes with --cut")
        if not self.metres_per_pixel > 0:
            raise UserError(f"--metres-per-pixel {self.metres_per_pixel}: give a positive number of metres")
        limits = replace(self.limits, least_side=min(self.limits.least_side, self.side))
        return Reading(self.side, self.stride or self.side, self.most_empty, limits)


USUAL_CHIPS = Chips()


@dataclass(frozen=True)
class Fit:
    """A chip that can be used, and what its first reading found."""

    chip: Chip
    sha256: str
    """Of its pixels."""
    ways: list[str]
    """What was done to them."""
    facts: Mapping[str, Any]
    """Of the file beside it (see `photo_facts`)."""


@dataclass(frozen=True)
class Ships:
    """Chips as an origin of samples (see `making`)."""

    sources: tuple[str, ...]
    paths: Mapping[str, Path]
    """Name → file."""
    found: tuple[Chip | Scene, ...]
    astray: tuple[Dropped, ...]
    sidecars: int
    options: Chips
    shown = "image.npy"
    unit = "chip"

    @classmethod
    def find(cls, sources: Sequence[Path], out: Path, options: Chips) -> Ships:
        """All chips, rows and scenes of folders and files. Raises `UserError`."""
        options.reading()
        if not sources:
            raise UserError("no source was named: give a folder of chips, or the JSON of chips")
        sources_apart(sources, out)
        paths: dict[str, Path] = {}
        for source in sources:
            here = source.resolve()
            inside = {path.relative_to(here).as_posix(): path for path in files_below(here)} if here.is_dir() else {}
            if here.is_dir() and not inside:
                raise UserError(f"{source} holds no file: give a folder of chips, or the JSON of chips")
            paths |= {plain(f"{here.name}/{name}"): path for name, path in inside.items()} or {plain(here.name): here}
        if len({source.resolve().name for source in sources}) < len(sources):
            raise UserError("two sources are called alike: rename one, so that names tell")
        beside = sidecars_among(set(paths.values()))
        found: list[Chip | Scene] = []
        astray: list[Dropped] = []
        for name, path in sorted(paths.items()):
            if path in beside:
                continue
            try:
                found += chips_in(name, path, options.cut, astray)
            except PhotoError as error:
                astray.append(Dropped(name, error.reason, error.detail))
        names = tuple(plain(source.resolve().name) for source in sources)
        return cls(names, dict(sorted(paths.items())), tuple(found), tuple(astray), len(beside), options)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.options.sharing.samples_per_shard

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        return {
            "sources": list(self.sources),
            "files": len(self.paths),
            "files_sha256": digest_of(self.paths),
            "options": asdict(self.options),
            "libraries": libraries(),
        }

    def judge(self, each: Each) -> Collection:
        """Read all chips, drop what cannot be used, and share out the rest. Raises `UserError`."""
        reading = self.options.reading()
        looked = each("survey", partial(look, reading=reading), self.found)
        fit, dropped = _sorted_out(self.found, looked)
        tally = Tally(len(fit) + len(dropped) + len(self.astray), [*self.astray, *dropped])
        if not fit:
            raise nothing_left(tally, self.unit)
        groups = self._groups([one.chip for one in fit])
        split_of = self.options.sharing.split_of(Counter(groups))
        metres = [self.options.metres_per_pixel] * 2
        kept = [
            Picture(
                one.chip.name,
                (one.chip, one.sha256, reading),
                one.chip.label,
                {"metres_per_pixel": metres, **_json(one)},
                tuple(one.ways),
                group,
                split_of[group],
            )
            for one, group in zip(fit, groups, strict=True)
        ]
        left_over = sum(facts.get("left_over", 0) for facts in looked)
        scenes = sum(isinstance(one, Scene) for one in self.found)
        return Collection(
            unit=self.unit,
            kept=sorted(kept, key=self._order),
            tally=tally,
            classes=CLASSES if any(one.chip.label >= 0 for one in fit) else (),
            make=make,
            described=self._facts(scenes, left_over, len(set(groups))),
            rows=partial(_scenes_shown, [one.chip for one in fit if one.chip.corner], reading),
            units={"scenes cut": scenes, "  pixels left over at their edges": left_over} if scenes else {},
        )

    def _order(self, picture: Picture) -> tuple[int, int]:
        """Chips in a fair mixture; those cut out of scenes one scene after another, each of which is decoded once."""
        chip, seed = picture.source[0], self.options.sharing.seed
        scene = hash64(seed, "order of scenes", chip.scene) if chip.corner else 0
        return scene, hash64(seed, "order of writing", chip.name)

    def _groups(self, chips: Sequence[Chip]) -> list[str]:
        """What is not torn, of each chip. Raises `UserError` where that is not known."""
        told: dict[str, list[str | None]] = {
            "scene": [chip.scene for chip in chips],
            "place": [
                block_of({"longitude": c.longitude, "latitude": c.latitude}, self.options.block_km) for c in chips
            ],
            "random": [chip.name for chip in chips],
        }
        groups = told[self.options.split]
        known = [group for group in groups if group is not None]
        if len(known) < len(groups):
            lost = chips[groups.index(None)].name
            raise UserError(
                f"{len(groups) - len(known)} of {len(groups)} chips do not say their {self.options.split}, such as "
                f"{lost}: say --split {' or '.join(way for way in told if None not in told[way])}"
            )
        return known

    def _facts(self, scenes: int, left_over: int, groups: int) -> dict[str, Any]:
        return {
            "content": f"satellite chips, {self.options.side} × {self.options.side} × 3, with and without ships",
            "source": list(self.sources),
            "licence": self.options.sharing.licence,
            "made": made("tools/pack_ships.py", **asdict(self.options)),
            "split": f"by {self.options.split}" if self.options.split != "random" else "random: neighbours may leak",
            "groups": groups,
            "sidecars": self.sidecars,
            **({"scenes_cut": scenes, "pixels_left_over": left_over} if scenes else {}),
        }


def _sorted_out(found: Sequence[Chip | Scene], looked: Sequence[Mapping[str, Any]]) -> tuple[list[Fit], list[Dropped]]:
    """The chips to keep and the others. Of equal ones the first is kept, with a label if any has one; never two."""
    sound: list[Fit] = []
    dropped: list[Dropped] = []
    for source, facts in zip(found, looked, strict=True):
        if "reason" in facts:
            dropped.append(Dropped(source.name, facts["reason"], facts["detail"]))
        for left, top, sha256, ways, reason, detail in facts["chips"]:
            chip = source if isinstance(source, Chip) else cut_out(source, left, top)
            if reason:
                dropped.append(Dropped(chip.name, reason, detail))
            else:
                sound.append(Fit(chip, sha256, ways, facts.get("facts", {})))
    labels: defaultdict[str, set[int]] = defaultdict(set)
    first: dict[str, str] = {}
    for one in sorted(sound, key=lambda one: one.chip.label < 0):
        labels[one.sha256].add(one.chip.label)
        first.setdefault(one.sha256, one.chip.name)
    fit = []
    for one in sound:
        if {0, 1} <= labels[one.sha256]:
            dropped.append(Dropped(one.chip.name, BOTH_LABELS, f"as {first[one.sha256]}"))
        elif first[one.sha256] != one.chip.name:
            dropped.append(Dropped(one.chip.name, SAME, f"as {first[one.sha256]}"))
        else:
            fit.append(one)
    return fit, dropped


def cut_out(scene: Scene, left: int, top: int) -> Chip:
    """The chip of a scene at a pixel."""
    return Chip(f"{scene.name}#{left},{top}", scene.path, scene=plain(scene.path.stem), corner=(left, top))


def _json(one: Fit) -> dict[str, Any]:
    chip = one.chip
    label = {"class": CLASSES[chip.label]} if chip.label >= 0 else {}
    return {**one.facts, **chip.told(), "source": chip.name, "region": chip.name.partition("/")[0], **label}


def make(picture: Picture) -> dict[str, Value]:
    """A chip's columns. Raises `UserError` where it is no longer what the survey found."""
    chip, sha256, reading = picture.source
    try:
        pixels, _ = chip.pixels(reading)
    except (PhotoError, OSError):
        pixels = None
    if pixels is None or digest(pixels) != sha256:
        raise UserError(f"{chip.path} was changed while it was being packed: pack again when nobody writes there")
    return {"image.npy": pixels}


def _scenes_shown(chips: Sequence[Chip], reading: Reading) -> dict[str, NDArray[np.uint8]]:
    """Chips from all over each of some scenes, for the contact sheet."""
    of_scene: dict[str | None, list[Chip]] = {}
    for chip in chips:
        of_scene.setdefault(chip.scene, []).append(chip)
    rows = {}
    for scene, mine in list(of_scene.items())[:SCENES_SHOWN]:
        some = mine[len(mine) // (2 * SHOWN) :: max(1, len(mine) // SHOWN)][:SHOWN]
        rows[f"{str(scene)[:16]}\n{len(mine)} chips"] = np.stack([chip.pixels(reading)[0] for chip in some])
    return rows
