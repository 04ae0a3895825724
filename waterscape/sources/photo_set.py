"""What the packers of photographs share: judged pictures as an origin of samples (see `making`)."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from waterscape.data.split import assign, place
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.options import comma_separated
from waterscape.sheet import save_png, sheet
from waterscape.sources.making import SHOWN
from waterscape.sources.occurrence_survey import SPLITS
from waterscape.sources.photo_file import Limits, decode, read, thumbnail, untouched
from waterscape.sources.photo_tally import LIST, Summary, Tally, empty_splits, kept_by_split, ways_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.manifest import Manifest
    from waterscape.data.shard import Value

LIBRARIES = ("waterscape", "numpy", "pillow")  # which a picture's bytes come from
SHOWN_SIDE = 128  # pixels
ANY_SIZE = Limits(most_megapixels=math.inf, least_side=1)  # of what was judged already


@dataclass(frozen=True)
class Sharing:
    """How samples are shared out and written."""

    shares: Annotated[tuple[float, ...], comma_separated(float, "TRAIN,VALID,TEST")] = (0.7, 0.15, 0.15)
    """Shares of train, valid and test."""
    seed: int = 0
    """Of the split, and of the order in which samples are written."""
    samples_per_shard: int = 1024
    """Samples in one shard file."""
    licence: str = "not stated"
    """The source's licence, for the manifest."""

    def check(self) -> None:
        """Raise `UserError` for options that cannot be."""
        if self.samples_per_shard < 1:
            raise UserError(f"--samples-per-shard {self.samples_per_shard}: give 1 or more")
        if len(self.shares) != len(SPLITS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"--shares {self.shares}: give three of 0 or more that add up to 1, as in 0.7,0.15,0.15")

    def split_of(self, groups: Mapping[str, int]) -> dict[str, str]:
        """Group → split, given the number of samples in each group."""
        return assign(groups, dict(zip(SPLITS, self.shares, strict=True)), self.seed)


USUAL_SHARING = Sharing()


@dataclass(frozen=True)
class Picture:
    """A kept picture, which becomes a sample."""

    name: str
    source: Any
    """What the sample is made from, whatever the packer's `make` wants."""
    label: int
    """Number of its class; −1: none."""
    told: dict[str, Any]
    """Its JSON, but for group and split."""
    ways: tuple[str, ...]
    """How it is stored (see `Photo.told`)."""
    group: str
    """What is not torn between splits."""
    split: str

    def json(self) -> dict[str, Any]:
        """The sample's JSON; None for coordinates that are not known."""
        unknown = {"longitude": None, "latitude": None, "synthetic": False}
        return {**unknown, **self.told, "group": self.group, "split": self.split}


@dataclass(frozen=True)
class Collection:
    """What the first reading of all pictures came to (`making.Judged`)."""

    unit: str
    kept: Sequence[Picture]
    tally: Tally
    classes: tuple[str, ...]
    make: Callable[[Picture], dict[str, Value]]
    """A picture's columns; a function of a module, or a partial of one."""
    described: Mapping[str, Any]
    """More facts of the manifest: content, source, licence, how it was made, what else was found."""
    notes: Sequence[str] = ()
    units: Mapping[str, int] = field(default_factory=dict)
    rows: Callable[[], dict[str, NDArray[np.uint8]]] | None = None
    """More rows of the contact sheet."""
    beside: Tally | None = None
    """Of the partners of these pictures: what was dropped among them is listed too."""
    threads: int | None = 0
    """As `making.Judged` has it: any number where `make` does little but read, hash and code pictures."""

    def sampler(self) -> Callable[[Picture], tuple[int, dict[str, Value]]]:
        """Makes a kept picture's class and columns."""
        return partial(_sample, make=self.make)

    def facts(self, classes: Sequence[int]) -> dict[str, Any]:
        """All that the manifest says of the set."""
        licences = dict(sorted(Counter(one.told["licence"] for one in self.kept if "licence" in one.told).items()))
        return {
            **self.described,
            "synthetic": any(picture.told.get("synthetic") for picture in self.kept),
            **({"licences": licences} if licences else {}),
            **({"classes": list(self.classes)} if self.classes else {}),
            "read": self.tally.came_in,
            "dropped": self.tally.reasons(),
            "kept": kept_by_split([picture.split for picture in self.kept], classes, self.classes),
            "stored": ways_stored([picture.ways for picture in self.kept]),
        }

    def illustrate(self, directory: Path, facts: Mapping[str, Any], pictures: Mapping[int, Sequence[Value]]) -> None:
        """Write the contact sheet by class, and the list of all that was dropped."""
        counts = {name: sum(by_class[name] for by_class in facts["kept"].values()) for name in facts["kept"][SPLITS[0]]}
        names = [*self.classes, *(name for name in counts if name not in self.classes)]
        rows = {}
        for number in sorted(pictures, key=lambda number: number % (len(self.classes) + 1)):
            name = names[number]
            rows[f"{name or self.unit + 's'}\n{counts[name]} kept"] = np.stack(
                [small(value) for value in pictures[number]]
            )
        rows |= self.rows() if self.rows else {}
        kind = "Synthetic " if facts["synthetic"] else ""
        title = f"{kind}{self.unit}s: {len(self.kept)} kept of {self.tally.came_in}"
        mark = "yes" if facts["synthetic"] else "no"
        save_png(
            sheet(rows, title=title[:1].upper() + title[1:], columns=SHOWN), directory / "contact.png", synthetic=mark
        )
        dropped = [*self.tally.dropped, *(self.beside.dropped if self.beside else ())]
        write_text(directory / LIST, Tally(0, dropped).lines())

    def summarise(self, manifest: Manifest) -> Summary:
        """What came in and where it went. Raises `RuntimeError` where the sums do not agree."""
        notes = [*self.notes, *empty_splits(manifest.facts["kept"])]
        summary = Summary(self.unit, manifest, notes, self.units)
        summary.check()
        return summary


def _sample(picture: Picture, make: Callable[[Picture], dict[str, Value]]) -> tuple[int, dict[str, Value]]:
    values: dict[str, Value] = {**make(picture), "json": picture.json()}
    if picture.label >= 0:
        values["class.npy"] = np.array(picture.label, np.uint8)
    return picture.label, values


def small(value: Value) -> NDArray[np.uint8]:
    """A stored picture (JPEG, or H W 3) as the contact sheet shows it."""
    if isinstance(value, bytes):
        return thumbnail(decode(value, ANY_SIZE, small=SHOWN_SIDE).image, SHOWN_SIDE)
    assert isinstance(value, np.ndarray)
    return value


def face(path: Path) -> NDArray[np.uint8]:
    """A picture file, judged already, as the contact sheet shows it."""
    return thumbnail(read(path, ANY_SIZE, small=SHOWN_SIDE).image, SHOWN_SIDE)


def stored(path: Path, sha256: str, ways: Sequence[str], limits: Limits) -> bytes:
    """The JPEG that stands in the shards for a judged file. Raises `UserError` where it is no longer what it was."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{path} was changed while it was being packed: pack again when nobody writes there")
    return content if untouched(ways) else decode(content, limits).stored()


def made(command: str, **options: Any) -> dict[str, Any]:
    """How a set was made, for its manifest."""
    return {"command": command, "version": metadata.version("waterscape"), "options": options}


def libraries(*more: str) -> dict[str, str]:
    """The versions of all that a picture's bytes depend on."""
    return {name: metadata.version(name) for name in (*LIBRARIES, *more)}


def block_of(told: Mapping[str, Any], block_km: float) -> str | None:
    """The block of ground that a picture lies in, by its JSON; None where that is not known."""
    if told.get("longitude") is None:
        return None
    return place(told["longitude"], told["latitude"], block_km)


def nothing_left(tally: Tally, unit: str) -> UserError:
    """The error for a source of which nothing can be used."""
    return UserError(f"of {tally.came_in} {unit}s none is left ({tally.told()}): look at the source")


def sources_apart(sources: Iterable[Path], out: Path) -> None:
    """Raise `UserError` for sources that do not exist, lie in one another, or hold `out`."""
    seen: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UserError(f"{source} does not exist: give a folder that does")
        here = source.resolve()
        twice = next((other for other in seen if here.is_relative_to(other) or other.is_relative_to(here)), None)
        if twice is not None:
            raise UserError(f"{source} and {twice} lie in one another: give each picture once")
        if out.resolve().is_relative_to(here):
            raise UserError(f"{out} lies within the source: choose an --out outside of it")
        seen.append(here)
