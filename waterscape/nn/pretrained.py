"""Features of a network that somebody else trained, frozen with their statistics; timm builds it, where installed."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from waterscape.errors import UserError

INSTALL = "pip install timm"


def missing_library() -> str:
    """The command that installs what is missing; empty: nothing is."""
    return "" if importlib.util.find_spec("timm") else INSTALL


class Features(nn.Module):
    """Photo (N 3 H W, 0..1) → a network's features, mean over places (N `width`), normalised as it was trained."""

    def __init__(self, name: str, body: nn.Module, width: int, mean: Any, deviation: Any) -> None:
        super().__init__()
        self.name, self.body, self.width = name, body, width
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        seen: Tensor = self.body((image - self.mean) / self.deviation)  # type: ignore[operator]
        return seen


def feature_network(name: str) -> Features:
    """A network of timm without its classifier, with random weights. Raises `UserError` without timm or such a name."""
    timm = _timm()
    if name not in timm.list_models(pretrained=True) and name.split(".")[0] not in timm.list_models():
        raise UserError(f"timm {timm.__version__} has no network {name!r}: timm.list_models() names them")
    body = timm.create_model(name, pretrained=False, num_classes=0)
    told = body.pretrained_cfg
    return Features(name, body, body.num_features, told["mean"], told["std"])


def fill_features(features: nn.Module, weights: str) -> None:
    """Load pretrained weights: from the file `weights`, else through the hub's cache.

    Raises:
        UserError: no such file, another network's weights, or neither cache nor server has them.
    """
    assert isinstance(features, Features)
    timm = _timm()
    if not weights:
        try:
            made = timm.create_model(features.name, pretrained=True, num_classes=0)
        except Exception as error:  # whatever the hub's client raises: offline, no such file, a broken cache
            raise UserError(
                f"no weights of {features.name}: the hub's cache has none and its server gave none "
                f"({' '.join(str(error).split())[:80]}); fetch them where there is a network, or say --weights FILE"
            ) from error
        features.body.load_state_dict(made.state_dict())
        return
    if not Path(weights).is_file():
        raise UserError(f"--weights {weights}: there is no such file")
    try:
        held = _read(Path(weights))
    except Exception as error:  # whatever a damaged file makes a reader raise
        raise UserError(f"--weights {weights} cannot be read ({' '.join(str(error).split())[:80]})") from error
    wanted = features.body.state_dict()
    wrong = [name for name, value in wanted.items() if name not in held or held[name].shape != value.shape]
    if wrong:
        raise UserError(
            f"--weights {weights} are of another network than {features.name}: {len(wrong)} of {len(wanted)} tensors "
            f"are missing or of another shape, such as {wrong[0]}"
        )
    features.body.load_state_dict({name: held[name] for name in wanted})


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def _timm() -> Any:
    if missing_library():
        raise UserError(
            f"features of EfficientNet need timm: {INSTALL}; weights come from its hub, or by --weights FILE"
        )
    return importlib.import_module("timm")
