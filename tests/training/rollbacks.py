"""A GAN that goes back twice, killed at each moment around it: a program, since its processes are forks.

python rollbacks.py SCENES OUT WORLD [MOMENT …]      numbers of moments; left out: all
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults import Processes, content

from waterscape.metrics import collapse
from waterscape.models.landscape_gan import LandscapeGAN
from waterscape.training import checkpoint, taking_up
from waterscape.training.council import Council
from waterscape.training.events import read_events, read_ledger
from waterscape.training.learner import Learner
from waterscape.training.records import Records
from waterscape.training.taking_up import newest_good

EVERY, IMAGES = 30, 300
ALIKE = {120, 150, 240, 270}  # images at which all pictures are said to be alike: a collapse at 150 and at 270
SMALL = ["--side", 16, "--width", 4, "--batch", 15, "--held-out", 0, "--no-tensorboard", "--evaluate-every", 0]
SPARSE = ["--picture-every", 10**9, "--report-every", 10**9, "--checkpoint-every", 60, "--keep", 1]


def words(scenes, out):
    steering = ["--on-collapse", "rollback", "--collapse-every", EVERY, "--images", IMAGES]
    return ["train", "landscape_gan:reference", "--data", scenes, "--out", out, *SMALL, *SPARSE, *steering]


def collapsing():
    """Its pictures are called alike at some looks, whatever they are."""
    true_figures = collapse.CollapseWatch.figures

    def figures(self, learner):
        found = true_figures(self, learner) | {collapse.ACCURACY: 0.5}
        return found | {collapse.DIVERSITY: 0.0 if learner.images in ALIKE else 1.0}

    collapse.CollapseWatch.figures = figures


def die_after(owner, name):
    """SIGKILL once the method of that name has returned in the first process, if it went back at 150 images."""
    method = getattr(owner, name)

    def dying(self, *arguments, **named):
        found = method(self, *arguments, **named)
        learner = self if isinstance(self, Learner) else self.learner
        if learner.processes.first and learner.rate_share < 1 and learner.images == 150:
            if isinstance(self, Records):
                self.settle()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, dying)


def leave_at(images):
    """Asked to stop just where a look is due: no process looks before it leaves."""
    meet = Council.meet

    def leaving(self):
        return "asked" if self.records.learner.images == images else meet(self)

    Council.meet = leaving


MOMENTS = {
    "before the decision is written": [lambda: die_after(Learner, "go_back")],
    "before the checkpoint is written": [lambda: die_after(Records, "went_back")],
    "after the checkpoint is written": [lambda: die_after(Records, "save")],
    "leaving at a look that finds nothing": [lambda: leave_at(90)],
    "leaving at the first sign": [lambda: leave_at(120)],
    "leaving at the collapse, resumed and killed": [lambda: leave_at(150), lambda: die_after(Records, "went_back")],
}
"""What disturbs each start in turn, before the one that is left alone."""


def train(scenes, out, log, world, disturb=None):
    def arm():
        collapsing()
        if disturb:
            disturb()

    processes = Processes(words(scenes, out), log, world, arm)
    if disturb:
        os.waitid(os.P_PID, processes.pids[0], os.WEXITED | os.WNOWAIT)
        processes.signal(signal.SIGKILL, ranks=range(1, world))
    return processes.wait()


def decisions(out):
    return [
        {name: event.get(name) for name in ("event", "images", "to", "rate_share", "figures", "signs", "warning")}
        for event in read_events(out)
        if event["event"] in ("collapse", "rollback")
    ]


def main(scenes, out, world, moments):
    whole, log = out / "whole", out / "log"
    assert train(scenes, whole, log, world) == [0] * world, log.read_text()
    told = decisions(whole)
    assert [(one["images"], one["to"], one["rate_share"]) for one in told if one["event"] == "rollback"] == [
        (150, 90, 0.5),
        (270, 210, 0.25),
    ]
    assert [one["images"] for one in told if one["event"] == "collapse"] == list(range(EVERY, IMAGES + 1, EVERY))
    assert newest_good(whole / "checkpoints").images == IMAGES
    newest = checkpoint.newest(whole / "checkpoints")
    assert [group["lr"] for group in newest.state["optimizers"]["generator"]] == [0.25 * LandscapeGAN().learning_rate]
    for moment in moments:
        run = out / moment.replace(" ", "-")
        for disturb in MOMENTS[moment]:
            codes = train(scenes, run, log, world, disturb)
            assert codes[0] in (-signal.SIGKILL, 75), log.read_text()
        assert train(scenes, run, log, world) == [0] * world, log.read_text()
        one, other = content(whole), content(run)
        assert one.keys() == other.keys()
        for file, tensors in one.items():
            for key, value in tensors.items():
                assert value.equal(other[file][key]), f"{moment}: {key} of {file} differs"
        assert read_ledger(run) == read_ledger(whole), moment
        assert sorted(read_ledger(run)) == list(range(IMAGES))
        assert decisions(run) == told, moment
        print(f"{moment}: the same run")


if __name__ == "__main__":
    assert taking_up.LEAST_RATE < 0.25
    out = Path(sys.argv[2])
    out.mkdir(exist_ok=True)
    chosen = [list(MOMENTS)[int(number)] for number in sys.argv[4:]]
    main(Path(sys.argv[1]), out, int(sys.argv[3]), chosen or list(MOMENTS))
