"""What a run learnt from: the set's own account of itself, and of its samples as many as can be read in seconds."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from waterscape.data.address import is_remote
from waterscape.data.manifest import Manifest
from waterscape.data.renamed import PICTURES
from waterscape.data.survey import Survey, survey
from waterscape.errors import UserError

LOOKED_AT = 20_000
"""Samples whose place, region and class are read; of a larger set, those of shards that are spread evenly over it."""

ROUNDED_DEGREES = 1  # decimals: 0.1° is some 10 km


@dataclass(frozen=True)
class DataSet:
    """A set at hand."""

    place: str
    manifest: Manifest
    survey: Survey
    is_that_of_the_run: bool
    """Its manifest has the hash that the run noted."""
    is_rounded: bool = False
    """Its samples' places are those of photos, and were rounded to 0.1°."""

    @property
    def samples(self) -> int:
        """In all."""
        return sum(shard.samples for shard in self.manifest.shards)

    @property
    def looked_at(self) -> int:
        """Samples of the survey."""
        return len(self.survey.splits)

    @property
    def synthetic(self) -> bool:
        """Whether its samples are made up."""
        return bool(self.manifest.facts.get("synthetic"))

    @property
    def dropped(self) -> dict[str, int]:
        """Reason → samples that were left out in packing."""
        found = self.manifest.facts.get("dropped")
        found = found if isinstance(found, dict) else {}
        return {str(reason): count for reason, count in found.items() if isinstance(count, int)}


def read_set(place: str, manifest_sha256: str, *, exact: bool = False) -> DataSet:
    """The set at `place`, where it is at hand: nothing is fetched. Raises `UserError` with the reason where not.

    Places of photos are rounded, unless `exact`: they say where people were.
    """
    if is_remote(place):
        raise UserError(f"the set lies at {place}, and nothing is fetched for a report: name a copy here by --data")
    manifest = Manifest.load(place)
    found = survey(place, manifest=part_of(manifest, LOOKED_AT))
    is_rounded = not exact and any(column.name.endswith(PICTURES) for column in manifest.columns)
    if is_rounded:
        longitude, latitude = found.longitude.round(ROUNDED_DEGREES), found.latitude.round(ROUNDED_DEGREES)
        found = dataclasses.replace(found, longitude=longitude, latitude=latitude)
    return DataSet(place, manifest, found, manifest.sha256 == manifest_sha256, is_rounded)


def part_of(manifest: Manifest, samples: int) -> Manifest:
    """The same set with fewer shards, spread evenly over each split: about so many samples, and a shard of each."""
    total = sum(shard.samples for shard in manifest.shards)
    if total <= samples:
        return manifest
    kept: list[Any] = []
    for name in manifest.splits:
        shards = manifest.split(name)
        count = max(1, round(len(shards) * samples / total))
        kept += [shards[number] for number in np.unique(np.linspace(0, len(shards) - 1, count).round().astype(int))]
    return dataclasses.replace(manifest, shards=tuple(kept))
