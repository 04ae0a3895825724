"""B18: our one warp of a batch of photos against kornia's `warp_affine` with the same maps.

Ours: `nn.photo_views.Views.warped`, whose maps go from the new picture to the old one, as torch's `grid_sample` wants
them. Kornia's takes maps from the old picture to the new one, turns them round and calls `grid_sample` too; it runs in
an environment of its own. Sixty-four synthetic photos, one thread of torch, the two augmentations of
`scene_classifier`; photos a second, taken in turn. Ours makes its maps from the draws in this time; kornia's gets them
ready, and of `stated`, which cuts a part out first, the parts too.

Of the pixels that differ by more than 1e-4 (of 0 to 1) the share is told in percent, not judged. In `stated`, which is
black beyond the part, they are those along its edge: kornia's fades there over one pixel, as each step of a chain
would, where ours knows the photo beyond and cuts sharply. Told besides: the largest difference, and the seconds that
kornia's import adds to torch's in every process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.figure import Figure, note
from benchmarks.peers import PeerProcess, versions_of
from benchmarks.surroundings import scratch
from benchmarks.turns import take_turns
from waterscape.models.scene_classifier import STATED, WIDER
from waterscape.nn.augment import cut
from waterscape.nn.photo_views import Views
from waterscape.randomness import Draw
from waterscape.training.torch_threads import torch_threads

VERSIONS = versions_of("kornia")
BATCH, TIMES = 64, 4  # photos, and times in a turn, after one that is not counted
VIEWS = {"stated": (STATED, 150), "wider": (WIDER, 96)}  # and the side in pixels
ALIKE = 1e-4
BRIEF = {"BATCH": 8, "TIMES": 1}


def figures() -> Iterator[Figure]:
    """Of each augmentation the ratio of speeds, and the share of pixels that differ."""
    with torch_threads(1), scratch() as directory:
        for name, (views, side) in VIEWS.items():
            draw = Draw(0, torch.arange(BATCH))
            images = draw.uniform("photo", 3, side, side)
            work = directory / name
            work.mkdir()
            parts, maps = for_kornia(views, images, draw)
            np.savez(work / "given.npz", images=parts.numpy(), maps=maps.numpy(), side=side, black=views.black)
            kornia = PeerProcess("kornia", work, TIMES, program="kornia_views")
            found = torch.from_numpy(np.load(work / "made.npy"))
            differs = (found - views.warped(images, draw)).abs().amax(1)
            rates = take_turns(f"B18 {name}", {"ours": partial(rate, views, images, draw), "kornia": kornia})
            yield Figure.over("B18", name, rates["ours"] / rates["kornia"], ">=", 1)
            share = 100 * (differs > ALIKE).double().mean().item()
            yield Figure("B18", f"{name}-percent-differ", share)
            seconds = json.loads((work / "import.json").read_text())["seconds"]
            note(f"B18 {name}: largest difference {differs.max():.1e}; importing kornia takes {seconds:.1f} s")


def rate(views: Views, images: Tensor, draw: Draw) -> float:
    """Photos a second, after a first batch that brings code and memory back into the caches, as the peer has it."""
    views.warped(images, draw)
    began = perf_counter()
    for _ in range(TIMES):
        views.warped(images, draw)
    return TIMES * len(images) / (perf_counter() - began)


def for_kornia(views: Views, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """What is warped (N 3 H W), and maps from its pixels to those of the view: N 2 3.

    Where views are black beyond the part that is cut out, it is the parts; else the photos.
    """
    side = images.shape[-1]
    kept = round(views.crop * side)
    first = torch.floor(draw.uniform("crop", 2) * (side - kept + 1))  # right and down, as `warped` draws it
    maps = views._maps(draw).double()  # places of −1 … 1 in the view → in the part
    turn, middle = maps[:, :, :2], maps[:, :, 2:]
    corner = turn @ torch.full((2, 1), 1 / side - 1, dtype=turn.dtype) + middle
    back = torch.cat([turn * kept / side, (corner + 1) * kept / 2 - 0.5], 2)  # the same in pixels
    parts = images
    if views.black:
        parts = cut(images, top=first[:, 1].long(), left=first[:, 0].long(), side=kept)
    else:
        back[:, :, 2] += first
    whole = torch.cat([back, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(len(images), 1, 3)], 1)
    return parts, torch.linalg.inv(whole)[:, :2].to(images.dtype)
