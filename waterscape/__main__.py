"""The verbs: `waterscape VERB …`, `python -m waterscape VERB …` and `accelerate launch … -m waterscape VERB …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from waterscape import __version__
from waterscape.errors import UserError, run_command

USAGE = """usage: waterscape VERB …

  list    [--json]                  models, presets, parameters of each network
  train   MODEL[:PRESET] …          train, or resume: the same command again (train MODEL --help lists the options)
  sample  RUN [-n 64 --out DIR …]   new pictures from a trained run
  shards  WORD DIR                  check, info, plan, repair, index: look after a set of shards

waterscape VERB --help says more."""


def main() -> None:
    """Run the verb that the command line names, and leave with its exit code."""
    run_command(lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "list": list_models,
        "train": train,
        "sample": sample,
        "shards": shards,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"waterscape {__version__}")
        return 0
    if arguments[0] not in verbs:
        raise UserError(f"there is no verb {arguments[0]!r}; the verbs are {', '.join(verbs)}")
    return verbs[arguments[0]](list(arguments[1:]))


def list_models(arguments: list[str]) -> int:
    """`waterscape list`: models, presets, parameters of each network."""
    from waterscape.options import parse

    @dataclass(frozen=True)
    class List:
        """Models, presets, and parameters of each network."""

        json: bool = False
        """As JSON, for programs."""

    options = parse(List, arguments, "waterscape list")
    from waterscape import models

    rows = [row for model in models.names() for row in models.count_parameters(model)]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'model:preset':32} {'network':16} {'parameters':>12} {'trainable':>12}")
    for row in rows:
        name = f"{row['model']}:{row['preset']}"
        print(f"{name:32} {row['network']:16} {row['parameters']:12,} {row['trainable']:12,}")
    return 0


def train(arguments: list[str]) -> int:
    """`waterscape train MODEL[:PRESET] …`."""
    from waterscape import models

    if not arguments or arguments[0].startswith("-"):
        raise UserError(
            f"say what to train: waterscape train MODEL[:PRESET] …; the models are {', '.join(models.names())}"
        )
    from waterscape.start import start_training

    return start_training(*models.split_name(arguments[0]), arguments[1:])


def sample(arguments: list[str]) -> int:
    """`waterscape sample RUN`."""
    from waterscape.options import parse
    from waterscape.pages.samples import Sample, draw_samples

    options = parse(Sample, arguments, "waterscape sample")
    if options.n < 1:
        raise UserError(f"-n is {options.n}; give 1 or more")
    from waterscape import models
    from waterscape.training.processes import Processes

    trained = models.load(options.run)
    out = options.out or options.run / "samples"
    processes = Processes(None, "float32", out)
    classes = [name.strip() for name in options.classes.split(",") if name.strip()]
    for path in draw_samples(trained, out, processes, count=options.n, classes=classes, seed=options.seed):
        print(path)
    processes.close()
    return 0


def shards(arguments: list[str]) -> int:
    """`waterscape shards check|info|plan|repair|index DIR`."""
    from waterscape.pages import shards_verbs

    return shards_verbs.dispatch(arguments)


if __name__ == "__main__":
    main()
