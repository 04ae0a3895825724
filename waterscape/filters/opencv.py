"""OpenCV, which runs the small detectors: not installed with waterscape, and of a version that still has them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL = "pip install 'opencv-python-headless<5'"  # 5.0 moved the detector of people to another package


def check_opencv(option: str) -> None:
    """Raise `UserError` where OpenCV is not installed."""
    if importlib.util.find_spec("cv2") is None:
        raise UserError(f"{option} needs OpenCV: {INSTALL}")


def opencv(option: str, part: str) -> Any:
    """The module, on one thread: photos are shared among processes. Raises `UserError` where it lacks `part`."""
    cv2 = importlib.import_module("cv2")
    if not hasattr(cv2, part):
        raise UserError(f"{option} needs OpenCV 4, this is {cv2.__version__}: {INSTALL}")
    cv2.setNumThreads(1)
    return cv2


def fitted(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """A photo with its longer side brought to `side`: H W 3."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
