"""Asking for pixels through the real client, as tests do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ee
import numpy as np

KEYS = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")


def pixels(image: ee.Image, crs: str, transform: Sequence[float], shape: tuple[int, int], **more: Any) -> Any:
    """What `computePixels` answers for a grid: a structured array (H W), or bytes of another `fileFormat`."""
    size = {"height": int(shape[0]), "width": int(shape[1])}
    affine = dict(zip(KEYS, map(float, tuple(transform)[:6]), strict=True))
    grid = {"dimensions": size, "affineTransform": affine, "crsCode": crs}
    return ee.data.computePixels({"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid, **more})


def stack(found: np.ndarray) -> np.ndarray:
    """The fields of a structured array (H W) as one array, H W C in float64."""
    return np.stack([found[name] for name in found.dtype.names], -1).astype(np.float64)
