"""Does the photo show a scene that is wanted? By a network of Places365's 365 classes, or by one of our own runs.

The rule is that of "What would an observer see here?": the most probable three classes have 0.6 of the probability
together, and all three are on a list of those allowed. The weights (`resnet18_places365.pth.tar`) and the names
(`categories_places365.txt`) stand at places2.csail.mit.edu (Zhou 2018, doi:10.1109/TPAMI.2017.2723009); neither is
downloaded from here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from waterscape.errors import UserError
from waterscape.filters.filter import Filter, Opinion, changed, check_unchanged, sha256_of

if TYPE_CHECKING:
    from waterscape.filters.seen import Seen
    from waterscape.models import Trained

CATEGORIES = "categories_places365.txt"
RESIZED, CROPPED = 256, 224  # pixels a side, as the network was tested
MOST_PROBABLE, SUM = 3, 0.6
Ask: TypeAlias = Callable[["Seen"], tuple[Sequence[str], NDArray[np.float64]]]
"""Photo → the names of the classes, and their probabilities (C)."""
LINE = re.compile(r"/?(?:[a-z]/)?(?P<name>\S.*?)(?:\s+\d+)?\s*")


@dataclass(frozen=True)
class Scenes(Filter):
    """Rejects photos of whose scene a network is not sure, and photos of scenes that are not allowed."""

    name: ClassVar[str] = "scenes"

    network: Path = field(default=Path())
    """A file of weights of ResNet-18, or the directory of a `scene_classifier` run."""
    allowed: Path | None = None
    """A text file, a class a line; # begins a comment. Left out: all are allowed."""
    categories: Path | None = None
    """The names of the weights' classes, one a line. Left out: `categories_places365.txt` beside the weights."""
    most_probable: int = 0
    """So many classes are looked at; 0: three, or one of our own run's few."""
    least_sum: float = SUM
    """Of their probabilities."""

    @property
    def is_run(self) -> bool:
        """Whether one of our own runs is asked."""
        return self.network.is_dir()

    @property
    def names_file(self) -> Path:
        """Where the names of the weights' classes stand."""
        return self.categories or self.network.parent / CATEGORIES

    def check(self) -> None:
        """See `Filter`."""
        if not 0 < self.least_sum <= 1:
            raise UserError(f"--least-sum is {self.least_sum:g}; give a probability, such as {SUM}")
        if not self.network.exists():
            raise UserError(f"--scenes {self.network}: there is no such file of weights, and no such run")
        if self.allowed is not None:
            assert self.allowed_names
        if not self.is_run:
            if not self.names_file.is_file():
                raise UserError(
                    f"{self.names_file} is not there: name the file of the weights' classes by --categories FILE "
                    f"(that of Places365 is called {CATEGORIES})"
                )
            self._allowed(self.known_names)

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {
            "network": self.sha256,
            "categories": None if self.is_run else [*self.known_names],
            "allowed": None if self.allowed is None else sorted(self.allowed_names),
            "most_probable": self.most_probable,
            "least_sum": self.least_sum,
        }

    def judge(self, seen: Seen) -> Opinion:
        """See `Filter`. The score is the sum of the most probable classes' probabilities."""
        if self.is_run:
            network = _run_network(self.network, self.sha256)
        else:
            network = _places(self.network, self.sha256, self.known_names)
        names, probabilities = network(seen)
        allowed = self._allowed(names)
        count = min(len(names), self.most_probable or (1 if self.is_run else MOST_PROBABLE))
        order = np.argsort(-probabilities, kind="stable")[:count]
        told = {names[number]: round(float(probabilities[number]), 4) for number in order}
        total = float(probabilities[order].sum())
        reason = ""
        if not total >= self.least_sum:
            reason = "no clear scene"
        elif not allowed.issuperset(told):
            reason = "another scene than allowed"
        return Opinion(not reason, round(total, 4), reason, {"classes": told})

    @cached_property
    def sha256(self) -> str:
        """Of the weights."""
        return _trained(self.network).sha256 if self.is_run else sha256_of(self.network)

    @cached_property
    def known_names(self) -> tuple[str, ...]:
        """The weights' classes."""
        return tuple(read_names(self.names_file))

    @cached_property
    def allowed_names(self) -> tuple[str, ...]:
        """The classes of the text file, if there is one."""
        return () if self.allowed is None else tuple(read_names(self.allowed))

    def _allowed(self, known: Sequence[str]) -> set[str]:
        """The classes that are allowed. Raises `UserError` for one that the network does not know."""
        if self.allowed is None:
            return set(known)
        for name in self.allowed_names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                meant = f", did you mean {near[0]}?" if near else f": it knows {', '.join(list(known)[:10])}, …"
                raise UserError(f"--classes {self.allowed} has {name}, which the network does not know{meant}")
        return set(self.allowed_names)


def read_names(path: Path) -> list[str]:
    """A file's names of classes, one a line, as people and Places365 write them: beach, /b/beach, /b/beach 48."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): name a text file with a class a line") from error
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    found = [match["name"] for line in lines if line and (match := LINE.fullmatch(line))]
    if not found:
        raise UserError(f"{path} names no class: write one a line")
    return found


@cache
def _places(weights: Path, sha256: str, names: tuple[str, ...]) -> Ask:
    """The network of a file of weights. Raises `UserError` where they are another network's, or were changed."""
    import torch

    from waterscape.nn.normalised import Normalised
    from waterscape.nn.resnet18 import ResNet18, fill_resnet18

    torch.set_num_threads(1)  # photos are shared among processes
    network = ResNet18(len(names))
    fill_resnet18(network, weights, "--scenes")
    check_unchanged(weights, sha256)
    normalised = torch.nn.Sequential(Normalised(), network).eval()

    def ask(seen: Seen) -> tuple[Sequence[str], NDArray[np.float64]]:
        pixels = torch.from_numpy(cropped(seen.image)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            return names, normalised(pixels)[0].double().softmax(0).numpy()

    return ask


def cropped(image: Image.Image) -> NDArray[np.uint8]:
    """The middle of a photo whose shorter side is made 256: 224 × 224 × 3, as torchvision does it.

    Only what is seen is computed: the whole of a panorama of 65000 × 16, so enlarged, would have a gigabyte.
    """
    width, height = image.size
    # torchvision's Resize: the shorter side exactly, the longer one rounded down
    size = (RESIZED, int(RESIZED * height / width)) if width <= height else (int(RESIZED * width / height), RESIZED)
    left, top = (round((side - CROPPED) / 2) for side in size)
    across, down = width / size[0], height / size[1]  # pixels of the photo for one
    box = (left * across, top * down, (left + CROPPED) * across, (top + CROPPED) * down)
    return np.array(image.resize((CROPPED, CROPPED), Image.Resampling.BILINEAR, box))


@cache
def _trained(run: Path) -> Trained:
    from waterscape.models import load

    trained = load(run)
    if not trained.recipe.can("classify") or trained.recipe.inputs()[trained.recipe.pictured()].picture is None:
        raise UserError(f"--scenes {run} is a run of {trained.model}, which names no scenes: name a scene_classifier's")
    return trained


@cache
def _run_network(run: Path, sha256: str) -> Ask:
    """The network of one of our runs; it sees a photo as `waterscape classify` does. Raises `UserError`."""
    import torch

    from waterscape.data.pictures import decode_picture
    from waterscape.sources.photo_file import decode

    torch.set_num_threads(1)
    trained = _trained(run)
    if trained.sha256 != sha256:
        raise changed(run)
    pictured = trained.recipe.pictured()
    entry = trained.recipe.inputs()[pictured]
    assert entry.picture is not None
    names, size = trained.recipe.known_classes(), entry.picture

    def ask(seen: Seen) -> tuple[Sequence[str], NDArray[np.float64]]:
        numbers = entry.numbers(
            torch.from_numpy(decode_picture(decode(seen.content).stored(), size).copy())[None], torch.float32
        )
        with torch.inference_mode():
            return names, trained.recipe.classify(trained.networks, {pictured: numbers})[0].double().numpy()

    return ask
