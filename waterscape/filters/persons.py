"""Are there people in the photo?

Either the detector of upright people that OpenCV carries within itself (histograms of oriented gradients: Dalal and
Triggs 2005, doi:10.1109/CVPR.2005.177; Apache-2.0), which finds whole figures only; or, far better, torchvision's
Faster R-CNN trained on COCO (Ren 2015, arXiv:1506.01497) with a file of its weights: label 1 with a score above 0.9, as
"What would an observer see here?" had it.

Measured of OpenCV's: at a margin of 1.1 it finds people in 10 of 18 real photos of streets and shores with people, most
of them 150 × 150, and in 2 of some 95 without (a shore, a motorway); it and the faces together find 13 of the 18. The
rest is for a person to see. Faster R-CNN was tried with torchvision 0.28 and random weights only, in files with the
names and shapes of torchvision's own (the first network's: no batches counted, names of old); those were not tried.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion, check_unchanged
from waterscape.filters.opencv import check_opencv, fitted, opencv

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen

SIDE = 1024  # pixels of the longer side in which upright people are looked for: 128 and more high
LEAST_HIGH, LEAST_WIDE = 160, 96  # one window, 128 × 64, and some: on smaller pictures OpenCV writes beyond its memory
COCO_SIDE = 1333  # pixels of the longer side, above which Faster R-CNN itself makes pictures smaller
MARGIN = 1.1
INSTALL = "pip install torchvision"
PERSON, SURE = 1, 0.9  # COCO's label; the reference's threshold
FOUND = "a person"
COUNT = ".num_batches_tracked"


@dataclass(frozen=True)
class UprightPersons(Filter):
    """Rejects photos in which OpenCV's detector finds an upright person."""

    name: ClassVar[str] = "persons"

    margin: float = MARGIN
    """Of the support vector machine: how far a window lies on the people's side."""

    def check(self) -> None:
        """See `Filter`."""
        check_opencv("--persons opencv")

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"detector": "cv2.HOGDescriptor", "side": SIDE, "margin": self.margin}

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the greatest margin of a window; 0 where there is none."""
        picture = fitted(seen.image, SIDE)[:, :, ::-1]
        more = [(0, max(0, least - side)) for least, side in zip((LEAST_HIGH, LEAST_WIDE), picture.shape, strict=False)]
        picture = np.pad(picture, (*more, (0, 0)), mode="edge")
        _, margins = _upright().detectMultiScale(picture, winStride=(8, 8), padding=(16, 16), scale=1.05)
        score = float(np.max(margins, initial=0.0))
        found = score > self.margin
        return Opinion(not found, round(score, 3), FOUND if found else "")


@dataclass(frozen=True)
class CocoPersons(Filter):
    """Rejects photos in which Faster R-CNN finds a person."""

    name: ClassVar[str] = "persons"

    weights: Path = field(default=Path())
    """Of torchvision's `fasterrcnn_resnet50_fpn` or `fasterrcnn_resnet50_fpn_v2`: safetensors, or .pth."""
    sure: float = SURE
    """0 to 1."""

    def check(self) -> None:
        """See `Filter`."""
        if not self.weights.is_file():
            raise UserError(f"--persons {self.weights}: there is no such file; say opencv, or name one of weights")
        if importlib.util.find_spec("torchvision") is None:
            raise UserError(f"--persons {self.weights} needs torchvision: {INSTALL}")

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is that of the surest person."""
        import torch

        picture = fitted(seen.image, min(COCO_SIDE, max(seen.image.size)))
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            (boxes,) = _coco(self.weights, self.hashes["weights"])([pixels])
        scores = boxes["scores"][boxes["labels"] == PERSON]
        score = float(scores.max()) if len(scores) else 0.0
        found = score > self.sure
        return Opinion(not found, round(score, 3), FOUND if found else "")


@cache
def _upright() -> Any:
    cv2 = opencv("--persons opencv", "HOGDescriptor")
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return detector


@cache
def _coco(weights: Path, sha256: str) -> Any:
    """The network that the weights fit, of the two that there are. Raises `UserError`.

    The first's were saved of batch normalisation that counts no batches and adds nothing to the variance.
    """
    import torch

    from waterscape.nn.weights_file import read_tensors

    torch.set_num_threads(1)  # photos are shared among processes
    try:
        detection = importlib.import_module("torchvision.models.detection")
    except (ImportError, RuntimeError, OSError) as error:
        raise UserError("this torchvision does not fit this torch: install both from one index") from error
    tensors = read_tensors(weights, "--persons")
    check_unchanged(weights, sha256)
    frozen = not any(name.endswith(COUNT) for name in tensors)
    for build in (detection.fasterrcnn_resnet50_fpn, detection.fasterrcnn_resnet50_fpn_v2):
        network = build(weights=None, weights_backbone=None)
        try:
            missing, unexpected = network.load_state_dict(tensors, strict=False)
        except RuntimeError:  # other shapes
            continue
        if unexpected or not all(name.endswith(COUNT) for name in missing):
            continue
        for part in network.modules():
            if frozen and isinstance(part, torch.nn.BatchNorm2d):
                part.eps = 0.0
        return network.eval()
    raise UserError(f"--persons {weights} holds weights of another network than torchvision's Faster R-CNN of COCO")
