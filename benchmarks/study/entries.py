"""What the study compares: for each model and set the presets, how long they train, and what is told of them first.

Times are seconds of processor time for the steps alone. From them and from measured speeds, which are kept, follows how
many images each preset is trained on; from then on the budget is that number. Of the largest models both presets are
taken narrower than published, which is said: at full size a CPU makes a picture in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from waterscape.comparison import Comparison

FOUND_AGAIN = ("made again: squared error", "made again: SSIM")
NEW = ("kernel distance", "Fréchet distance", "memorisation: copied share", "memorisation: nearer than held-out")
BODIES = ("hydro-morphology distance",)
CALLED = ("accuracy", "mean recall", "calibration error")
MAPPED = ("IoU", "boundary IoU", "accuracy", "absolute area error")
ENLARGED = ("PSNR: enlarged", "SSIM: enlarged", "shoreline error in pixels: enlarged")


@dataclass(frozen=True)
class Start:
    """A run that others start from: what to train, on which set, on how many images."""

    train: tuple[str, ...]
    data: str
    images: int


STARTS = {
    "vae": Start(("water_vae",), "water", 12_000),
    "landscapes": Start(("landscape_gan:small", "--columns", "jpg=photo.jpg", "--batch", "16"), "pairs", 8_000),
    "scenes": Start(("scene_classifier:small", "--balance", "class.npy"), "scenes", 4_000),
}
"""Of these nothing is judged: both presets start from the same."""


@dataclass(frozen=True)
class Entry:
    """A comparison of the study. `told` are the figures of its table, the first of which decides in the summary."""

    model: str
    data: str
    told: tuple[str, ...]
    seconds: float
    trials: int = 1
    trial_seconds: float = 15.0
    presets: tuple[str, str] = ("reference", "recommended")
    settings: tuple[str, ...] = ()
    starts: Mapping[str, str] = field(default_factory=dict)
    """[PRESET.]NAME of what the model starts from → which of `STARTS`."""
    seeds: int = 3
    samples: int = 512
    speeds: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Under which its results are kept."""
        return f"{self.model}-{self.data}"

    @property
    def processor_seconds(self) -> float:
        """What its trainings take, trials too."""
        return 2 * (self.seeds * self.seconds + (self.trials * self.trial_seconds if self.trials > 1 else 0))

    def comparison(self, data: Path, out: Path, kept: Path, starts: Mapping[str, Path]) -> Comparison:
        """As `tools/compare_presets.py` would be asked for it."""
        return Comparison(
            model=self.model,
            data=data,
            out=out,
            kept=kept,
            presets=self.presets,
            settings=self.settings,
            seconds=self.seconds,
            seeds=self.seeds,
            trials=self.trials,
            trial_seconds=self.trial_seconds,
            speeds=self.speeds,
            samples=self.samples,
            start=tuple(f"{name}={starts[which]}" for name, which in self.starts.items()),
        )


NARROW_LANDSCAPES = ("reference.side=64", "reference.width=16")  # as `small` is
NARROW_SHIPS = ("reference.width=16", "recommended.width=16")

# fmt: off
ENTRIES = (
    Entry("water_vae", "water", (*FOUND_AGAIN, *NEW[:1], *BODIES, *NEW[1:]), 60, trials=3),
    Entry("water_gan", "water", (*BODIES, *NEW, "precision", "recall"), 90, starts={"vae": "vae"}),
    Entry("water_enlarger", "water", ENLARGED, 90, trials=3, trial_seconds=20, settings=("adversarial_images=2500",)),
    Entry("shape_classifier", "water", CALLED, 45, settings=("balance=shape.npy",)),
    Entry("scene_classifier", "scenes", CALLED, 60, settings=("balance=class.npy",)),
    Entry("scene_classifier", "photos", CALLED, 60, settings=("balance=class.npy",)),
    Entry("scene_vae", "scenes", (*FOUND_AGAIN, *NEW), 90),
    Entry("landscape_gan", "scenes", (*NEW, "precision", "recall"), 90, presets=("reference", "small"),
          settings=NARROW_LANDSCAPES),
    Entry("ship_gan", "chips", (*NEW, "precision", "recall"), 90, settings=NARROW_SHIPS),
    Entry("ship_gan", "planet", (*NEW, "precision", "recall"), 90, settings=NARROW_SHIPS),
    Entry("satellite_encoder", "pairs", ("squared error", "nearer to its own photo than to another"), 60,
          starts={"generator": "landscapes", "reference.scenes": "scenes"}),
    Entry("pixel_cnn", "landsat", MAPPED, 40, trials=3),
    Entry("pixel_cnn", "hls", MAPPED, 40, trials=3),
)
QUICK = (Entry("pixel_cnn", "quick", MAPPED, 1, seeds=2, samples=64, speeds=(64, 64)),)
"""The whole way in about a minute of processor time: what comes of it says nothing about the presets."""
# fmt: on
