"""Pictures one after another as a film: an animated GIF, or MP4 where a library for it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from waterscape.durable import replacing
from waterscape.errors import UserError

SUFFIXES = (".gif", ".mp4")
MILLISECONDS = 60
"""A frame's."""


def check_film(path: Path) -> None:
    """Raise `UserError` where a film of that name cannot be written here."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a film is {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".mp4" and not importlib.util.find_spec("imageio_ffmpeg"):
        raise UserError(
            f"{path}: MP4 takes a library that is not installed (pip install imageio-ffmpeg); or name a .gif"
        )


def save_film(frames: Sequence[NDArray[np.uint8]], path: Path, comment: str) -> Path:
    """Write frames (H W 3, even sides), whole or not at all; `comment` says what they are. Raises `UserError`."""
    check_film(path)
    with replacing(path) as partial:
        if path.suffix.lower() == ".gif":
            octree = Image.Quantize.FASTOCTREE  # 256 colours of each frame, twenty times as quick as the usual way
            first, *rest = (Image.fromarray(frame).quantize(256, method=octree) for frame in frames)
            first.save(
                partial, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, comment=comment.encode()
            )
        else:
            _save_mp4(frames, partial, comment)
    return path


def _save_mp4(frames: Sequence[NDArray[np.uint8]], path: Path, comment: str) -> None:
    ffmpeg = importlib.import_module("imageio_ffmpeg")
    height, width = frames[0].shape[:2]
    told = ["-metadata", f"comment={comment}"]
    writer = ffmpeg.write_frames(str(path), (width, height), fps=1000 / MILLISECONDS, output_params=told)
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
