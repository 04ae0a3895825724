"""The verbs: `waterscape VERB …`, `python -m waterscape VERB …` and `accelerate launch … -m waterscape VERB …`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from waterscape import __version__
from waterscape.errors import UserError, run_command

USAGE = """usage: waterscape VERB …

  list    [--json]                  models, presets, parameters of each network
  train   MODEL[:PRESET] …          train, or resume: the same command again (train MODEL --help lists the options)
  prove-resume MODEL[:PRESET] …     that a run killed and resumed, on any number of processes, is the undisturbed one
  sample  RUN [-n 64 --out DIR …]   new pictures from a trained run
  classify RUN FILE …               what a trained classifier calls photos or tiles; --data SET: what it is worth there
  predict RUN SCENE --out water.tif water in a raster of any size: mask, probability; --outlines water.gpkg
  predict RUN TILE … [--animate]    what an observer would see at satellite tiles; --at LAT,LON --source …
  compare-losses --generated DIR --real DIR
                                    three ways in which pictures are unlike, of all pairs: a table
  enlarge RUN TILE …                tiles of water occurrence in pixels a quarter as long
  correct-labels SET --out SET      labels of water corrected by what networks learn of them; --inject 10%: a trial
  evaluate RUN [--data SET …]       a metric card: figures on held-out samples with intervals, floors and ceilings
  report  RUN [RUN …] --out report.html
                                    all of it on one page that needs no network; several runs beside one another
  judge   RUN CLASSIFIER            which classes survive, as a classifier sees it, once a model has made pictures again
  explore RUN … [--data SET --source mosaic.tif|yandex|earthengine]
                                    a local page: sliders, water to draw, a map to be seen from within, photos
  deploy  RUN --region AREA --years 2013-2020 --asset projects/…/assets/…
                                    a water network into Earth Engine: proven there, then an asset a region and year
  checkpoints RUN [--verify …]      what a run has saved: list, verify, prune, export weights
  submit  MODEL[:PRESET] …          the same training as a job, on SLURM or here: train's options, --nodes, --time, …
  sweep   MODEL --grid A=1,2 …      an array of trainings, and their ranking
  jobs    [DIR] [--tail N]          what runs and their jobs are doing
  profile MODEL[:PRESET]|all [--ways]
                                    where a training step's time goes, share of the roofline, a trace for Perfetto
  doctor  [DIR]                     what this machine or allocation offers, and what to mend
  shards  WORD DIR                  check, info, plan, repair, index, forget: look after a set of shards

waterscape VERB --help says more."""


def main() -> None:
    """Run the verb that the command line names, and leave with its exit code."""
    run_command(lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "list": list_models,
        "train": train,
        "prove-resume": prove_resume,
        "sample": sample,
        "classify": classify,
        "predict": predict,
        "compare-losses": compare_losses,
        "enlarge": enlarge,
        "evaluate": evaluate,
        "report": report,
        "judge": judge,
        "correct-labels": correct_labels,
        "explore": explore,
        "deploy": deploy,
        "checkpoints": checkpoints,
        "submit": submit,
        "sweep": sweep,
        "jobs": jobs,
        "profile": profile,
        "doctor": doctor,
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
    from waterscape.pages import model_list

    return model_list.list_models(parse(model_list.List, arguments, "waterscape list"))


def named(arguments: list[str], told: str) -> tuple[str, str]:
    """The model and preset that come first on a command line. Raises `UserError` where none does."""
    from waterscape import models

    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"{told}; the models are {', '.join(models.names())}")
    return models.split_name(arguments[0])


def train(arguments: list[str]) -> int:
    """`waterscape train MODEL[:PRESET] …`."""
    from waterscape.training.signals import heeded

    with heeded() as request:  # before the long imports
        model, preset = named(arguments, "say what to train: waterscape train MODEL[:PRESET] …")
        from waterscape.start import start_training

        return start_training(model, preset, arguments[1:], request)


def prove_resume(arguments: list[str]) -> int:
    """`waterscape prove-resume MODEL[:PRESET] …`."""
    model, preset = named(arguments, "say what to prove it for: waterscape prove-resume MODEL[:PRESET] …")
    from waterscape.proof.resume import prove_resume as prove

    return prove(model, preset, arguments[1:])


def sample(arguments: list[str]) -> int:
    """`waterscape sample RUN`."""
    from waterscape.options import parse
    from waterscape.pages.samples import Sample, sample_run

    return sample_run(parse(Sample, arguments, "waterscape sample"))


def classify(arguments: list[str]) -> int:
    """`waterscape classify RUN FILE …`."""
    from waterscape.options import parse
    from waterscape.pages import classify as page

    options = parse(page.Classify, arguments, "waterscape classify")
    from waterscape import models

    return page.classify(models.load(options.run, options.which), options)


def predict(arguments: list[str]) -> int:
    """`waterscape predict RUN …`: of scenes or of tiles, by what the run's model can."""
    from waterscape.options import parse
    from waterscape.pages import predict as of_tiles
    from waterscape.pages import predict_raster as of_scenes

    kind = of_scenes.what_predicts(arguments)
    if kind == "help":
        print(of_scenes.HELP)
        return 0
    from waterscape import models

    if kind == "segment":
        scenes = parse(of_scenes.PredictRaster, arguments, "waterscape predict")
        return of_scenes.predict_raster(models.load(scenes.run, scenes.which), scenes)
    tiles = parse(of_tiles.Predict, arguments, "waterscape predict")
    return of_tiles.predict(models.load(tiles.run, tiles.which), tiles)


def compare_losses(arguments: list[str]) -> int:
    """`waterscape compare-losses`."""
    from waterscape.options import parse
    from waterscape.pages import compare_losses as page

    return page.compare(parse(page.CompareLosses, arguments, "waterscape compare-losses"))


def enlarge(arguments: list[str]) -> int:
    """`waterscape enlarge RUN TILE …`."""
    from waterscape.options import parse
    from waterscape.pages import enlarge as page

    options = parse(page.Enlarge, arguments, "waterscape enlarge")
    from waterscape import models

    return page.enlarge(models.load(options.run, options.which), options)


def evaluate(arguments: list[str]) -> int:
    """`waterscape evaluate RUN`."""
    from waterscape.options import parse
    from waterscape.pages import evaluate as page

    options = parse(page.Evaluate, arguments, "waterscape evaluate")
    from waterscape import models
    from waterscape.cluster.ranks import join_tasks
    from waterscape.training.processes import Processes

    trained = models.load(options.run, options.which)
    join_tasks()
    return page.evaluate(trained, options, Processes(None, "float32", options.run))


def report(arguments: list[str]) -> int:
    """`waterscape report RUN [RUN …]`."""
    from waterscape.options import parse
    from waterscape.pages.report.write import Report, write_report

    return write_report(parse(Report, arguments, "waterscape report"))


def judge(arguments: list[str]) -> int:
    """`waterscape judge RUN CLASSIFIER`."""
    from waterscape.options import parse
    from waterscape.pages import judge as page

    options = parse(page.Judge, arguments, "waterscape judge")
    from waterscape import models

    return page.judge(models.load(options.run, options.which), models.load(options.classifier), options)


def correct_labels(arguments: list[str]) -> int:
    """`waterscape correct-labels SET --out SET`."""
    from waterscape.options import parse
    from waterscape.pages import correct_labels as page

    return page.correct_labels(parse(page.CorrectLabels, arguments, "waterscape correct-labels"))


def explore(arguments: list[str]) -> int:
    """`waterscape explore RUN …`."""
    from waterscape.options import parse
    from waterscape.pages.explore import command

    return command.explore(parse(command.Explore, arguments, "waterscape explore"))


def deploy(arguments: list[str]) -> int:
    """`waterscape deploy RUN`."""
    from waterscape.options import parse
    from waterscape.pages import deploy as page

    options = parse(page.Deploy, arguments, "waterscape deploy")
    from waterscape import models

    return page.run(models.load(options.run, options.which), options)


def checkpoints(arguments: list[str]) -> int:
    """`waterscape checkpoints RUN`."""
    from waterscape.options import parse
    from waterscape.pages.checkpoints import Checkpoints, show

    return show(parse(Checkpoints, arguments, "waterscape checkpoints"))


def submit(arguments: list[str]) -> int:
    """`waterscape submit MODEL[:PRESET] …`."""
    from waterscape import launching

    return launching.submit_training(arguments)


def sweep(arguments: list[str]) -> int:
    """`waterscape sweep MODEL[:PRESET] --grid …`."""
    from waterscape import launching

    return launching.sweep(arguments)


def jobs(arguments: list[str]) -> int:
    """`waterscape jobs [DIR]`."""
    from waterscape.cluster.listing import Jobs, list_jobs
    from waterscape.options import parse

    print("\n".join(list_jobs(parse(Jobs, arguments, "waterscape jobs"))))
    return 0


def profile(arguments: list[str]) -> int:
    """`waterscape profile MODEL[:PRESET]|all …`."""
    from waterscape import models

    if arguments[:1] in (["-h"], ["--help"]):
        arguments = [models.names()[0], *arguments]
    every = arguments[:1] == ["all"]
    model, preset = (
        ("", "") if every else named(arguments, "say what to profile: waterscape profile MODEL[:PRESET] …, or all")
    )
    from waterscape.profiling import profile as page

    return page.profile_all(arguments[1:]) if every else page.profile(model, preset, arguments[1:])


def doctor(arguments: list[str]) -> int:
    """`waterscape doctor [DIR]`."""
    from waterscape.cluster.doctor import Doctor, examine
    from waterscape.options import parse

    findings = []
    for finding in examine(parse(Doctor, arguments, "waterscape doctor")):
        print(finding, flush=True)
        findings.append(finding)
    return int(any(finding.advice for finding in findings))


def shards(arguments: list[str]) -> int:
    """`waterscape shards check|info|plan|repair|index|forget DIR`."""
    from waterscape.pages import shards_verbs

    return shards_verbs.dispatch(arguments)


if __name__ == "__main__":
    main()
