"""Which features distances are taken over: random ones, a trained classifier's, or Inception's from a file.

- `random`: convolutional features of fixed random kernels (`metrics.features`), for any pictures.
- `RUN`: what a run of a classifier sees (`Recipe.embed`), in float32.
- `inception=FILE`: a TorchScript network from a local file, 3 × 299 × 299, 0 to 255 → N D; such as the Inception v3
  (2015-12-05) that published FID use.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.errors import UserError
from waterscape.metrics.features import FEATURES, kernels_sha256, random_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 32
"""Pictures in one batch: fixed, so that the same pictures have the same features."""
INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Features:
    """A way to turn pictures into rows of numbers."""

    name: str
    sha256: str
    """Of the kernels, the checkpoint, or the file."""
    resize: str
    """What is done to a picture's size before."""
    rows: Callable[[Tensor], Tensor]
    """Pictures (N C H W, in 0..1, N at most `AT_ONCE`) → N D."""

    def __call__(self, pictures: Tensor) -> NDArray[np.float64]:
        """Pictures (N C H W, in 0..1, C = 1 or 3) → N D, in float64. Raises `UserError` for what cannot be seen."""
        with torch.no_grad():
            found = [self.rows(part).double().cpu() for part in torch.split(pictures.float(), AT_ONCE)]
        rows = torch.cat(found).numpy()
        if not np.isfinite(rows).all():
            raise UserError(f"the features {self.name} of some pictures are not finite: are the pictures?")
        return np.asarray(rows)


def features(words: str) -> Features:
    """The features that a word of the command line names. Raises `UserError`."""
    if words == "random":
        return Features(FEATURES, kernels_sha256(), "none", random_features)
    kind, equals, file = words.partition("=")
    if equals and kind == "inception":
        return _scripted(Path(file))
    if equals or not Path(words).is_dir():
        raise UserError(f"--features {words}: give random, inception=FILE, or the directory of a classifier's run")
    return _classifier(Path(words))


def _scripted(path: Path) -> Features:
    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is what the published file was saved by
            network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except OSError as error:
        raise UserError(f"--features inception={path}: cannot be read ({error.strerror})") from error
    except RuntimeError as error:
        raise UserError(f"--features inception={path}: no TorchScript network; save it by torch.jit.save") from error

    def rows(pictures: Tensor) -> Tensor:
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        seen = F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
        found: Tensor = network(255 * seen.expand(-1, 3, -1, -1))
        if found.ndim != 2 or len(found) != len(pictures):
            raise UserError(f"{path} makes {tuple(found.shape)} of {len(pictures)} pictures; N D is wanted")
        return found

    digest = hashlib.sha256(content).hexdigest()
    return Features(f"inception-{digest[:12]}", digest, f"to {INCEPTION_SIDE} × {INCEPTION_SIDE}, antialiased", rows)


def _classifier(run: Path) -> Features:
    from waterscape import models

    trained = models.load(run)
    recipe = trained.recipe
    if not recipe.can("embed"):
        raise UserError(f"--features {run}: a run of {trained.model}, which says not where it sees pictures")
    name = recipe.pictured()
    entry = recipe.inputs()[name]
    channels, height, width = entry.shape
    low, high = entry.range

    def rows(pictures: Tensor) -> Tensor:
        if pictures.shape[1] != channels:
            raise UserError(
                f"--features {run}: it sees pictures of {channels} channels, these have {pictures.shape[1]}"
            )
        seen = pictures
        if pictures.shape[2:] != (height, width):
            seen = F.interpolate(pictures, (height, width), mode="bilinear", antialias=True, align_corners=False)
        return recipe.embed(trained.networks, {name: low + (high - low) * seen})

    told = f"{trained.model}-{trained.sha256[:12]}"
    return Features(told, trained.sha256, f"to {height} × {width} where of another size, antialiased", rows)
