"""What people look at in a set of windows: false colour, and the label's outline upon it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from waterscape.durable import write_text
from waterscape.sheet import save_png, sheet
from waterscape.sources.landsat.bands import BANDS, UNKNOWN, WATER
from waterscape.sources.making import SHOWN
from waterscape.sources.occurrence_survey import SPLITS
from waterscape.sources.photo_set import Collection
from waterscape.sources.photo_tally import LIST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.photo_set import Picture

FALSE_COLOUR = {"B6": 0.40, "B5": 0.45, "B4": 0.25}
"""Red, green, blue, and the reflectance that is full colour: plants are green, soil is pink, water is dark."""
GREY, YELLOW, MAGENTA = (0.6, 0.6, 0.6), (1.0, 0.9, 0.0), (1.0, 0.0, 0.8)
UNLABELLED = 0.45  # how bright a pixel without label is


def false_colour(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    """Short-wave infrared, near infrared and red of H W 8 as a picture (H W 3, 0 to 1); nodata is grey."""
    shown = np.dstack([bands[..., BANDS.index(name)] / full for name, full in FALSE_COLOUR.items()])
    nodata = np.isnan(shown).any(axis=-1)
    picture = np.clip(shown, 0, 1) ** np.float32(0.8)
    picture[nodata] = GREY
    return picture.astype(np.float32)


def outlined(columns: Mapping[str, Any]) -> NDArray[np.float32]:
    """A window in false colour: water in yellow outline, the truth in magenta; what has no label is dark."""
    label = np.asarray(columns["water.npy"])
    picture = false_colour(np.asarray(columns["bands.npy"]))
    picture[label == UNKNOWN] *= UNLABELLED
    if "truth.npy" in columns:
        picture[outline(np.asarray(columns["truth.npy"]))] = MAGENTA
    picture[outline(label)] = YELLOW
    return picture


def outline(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of water that touch land."""
    water = label == WATER
    land = ~water & (label != UNKNOWN)
    return np.asarray(water & ndimage.binary_dilation(land))


@dataclass(frozen=True)
class Windows(Collection):
    """Judged windows of scenes (`making.Judged`)."""

    def illustrate(
        self,
        directory: Path,
        facts: Mapping[str, Any],
        pictures: Mapping[int, Sequence[Value]],  # noqa: ARG002 (they lack the bands)
    ) -> None:
        """Write windows of each split, plain and with outlines, and the list of all that was dropped."""
        rows = {}
        for split in SPLITS:
            mine = [one for one in self.kept if one.split == split]
            some = [self.make(one) for one in _all_over(mine)]
            if some:
                plain = [false_colour(np.asarray(columns["bands.npy"])) for columns in some]
                rows[f"{split}\n{len(mine)} windows"] = np.stack(plain)
                rows[f"{split}: label"] = np.stack([outlined(columns) for columns in some])
        kind = "Synthetic scenes" if facts["synthetic"] else "Scenes"
        truth = "; the masks that judge it in magenta" if facts["labels"] != "masks" else ""
        title = f"{kind}: {len(self.kept)} windows kept of {self.tally.came_in}. SWIR, NIR, red; label in yellow{truth}"
        mark = "yes" if facts["synthetic"] else "no"
        save_png(sheet(rows, title=title, columns=SHOWN), directory / "contact.png", synthetic=mark)
        write_text(directory / LIST, self.tally.lines())


def _all_over(windows: Sequence[Picture]) -> list[Picture]:
    """Some windows from all over the range of shares of water."""
    ordered = sorted(windows, key=lambda one: float(one.told["water"]))
    places = np.linspace(0, len(ordered) - 1, min(SHOWN, len(ordered))).astype(int)
    return [ordered[place] for place in places.tolist()]
