"""The models that there are, their presets, and how many parameters each network has."""

from __future__ import annotations

import json
from dataclasses import dataclass

from waterscape import models


@dataclass(frozen=True)
class List:
    """Models, presets, and parameters of each network."""

    json: bool = False
    """As JSON, for programs."""


def list_models(options: List) -> int:
    """Print them; returns the exit code."""
    rows = [row for model in models.names() for row in models.count_parameters(model)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'model:preset':32} {'network':16} {'parameters':>12} {'trainable':>12}")
    for row in rows:
        name = f"{row['model']}:{row['preset']}"
        if "wants" in row:
            print(f"{name:32} wants: {row['wants']}")
            continue
        print(f"{name:32} {row['network']:16} {row['parameters']:12,} {row['trainable']:12,}")
    return 0
