"""The image: trains without any right, hears signals, holds no secret; and does so from SLURM.

Needs podman, and in WATERSCAPE_TEST_IMAGE the name of an image: `podman build -t NAME .`, or, where no base can be
pulled, what `stand_in_image.sh` beside this file makes.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import psutil
import pytest
from programs import ROOT

from waterscape.training import checkpoint
from waterscape.training.events import read_ledger
from waterscape.training.outcome import read_outcome

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

LOCKED = ["--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
USER = 10001
LABEL = f"--label=waterscape-test={os.getpid()}"
SECRET = "never-to-be-seen-4711"
FOR_EVER = 10**6

RIGHTS = """
import json, os, pathlib
told = dict(line.split(":", 1) for line in open("/proc/self/status"))
try:
    pathlib.Path("/opt/waterscape/here").touch()
    root = "written"
except OSError as error:
    root = error.strerror
print(json.dumps({"uid": os.getuid(), "capabilities": int(told["CapEff"], 16), "locked": int(told["NoNewPrivs"]),
                  "root": root, "links": os.listdir("/sys/class/net"), "environment": dict(os.environ)}))
"""

HEEDS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("heard", flush=True), time.sleep(2), sys.exit(75)))
print("ready", flush=True)
time.sleep(20)
"""

HASHES = """
import hashlib, json, pathlib, waterscape
places = {"waterscape": pathlib.Path(waterscape.__file__).parent}
places |= {name: pathlib.Path("/opt/waterscape", name) for name in ("tools", "slurm")}
print(json.dumps({f"{name}/{path.relative_to(place)}": hashlib.sha256(path.read_bytes()).hexdigest()
                  for name, place in places.items() for path in place.rglob("*") if path.is_file()}))
"""


@pytest.fixture(scope="module")
def image():
    """The image's name. Without it the test is skipped, or fails where WATERSCAPE_REQUIRE_DATA is set."""
    name = os.environ.get("WATERSCAPE_TEST_IMAGE", "")
    if not name or shutil.which("podman") is None:
        reason = "needs podman, and in WATERSCAPE_TEST_IMAGE an image (see tests/cluster/stand_in_image.sh)"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    podman("image", "exists", name)
    yield name
    for left in podman("ps", "--all", "--quiet", f"--filter={LABEL[2:]}").split():
        podman("rm", "--force", "--time=0", left)


def podman(*words, **options):
    """What podman tells."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def train(tiles, out, *more):
    widths = ["--widths", *"44448888", "--batch", "32", "--held-out", "0", "--no-tensorboard"]
    return ["train", "water_vae", "--data", tiles, "--out", out, *widths, "--picture-every", FOR_EVER, *more]


@pytest.fixture
def runs(tmp_path):
    """A directory that the image's user may write to."""
    runs = tmp_path / "runs"
    runs.mkdir()
    os.chown(runs, USER, USER)
    return runs


def locked(image, tiles, runs, *words):
    """The command line that runs these words in a container with no right at all."""
    mounts = [f"--volume={tiles}:{tiles}:ro", f"--volume={runs}:{runs}"]
    return [str(word) for word in ("run", "--rm", LABEL, "--env=OMP_NUM_THREADS=1", *LOCKED, *mounts, image, *words)]


def until_saved(out, seconds=200):
    """Wait for a run's first checkpoint."""
    deadline = time.monotonic() + seconds
    while not list((out / "checkpoints").glob("[0-9]*")):
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.1)


def assert_saved_where_it_stood(out, *told):
    """The newest checkpoint is whole and of the last image read, and the outcome tells one of the reasons."""
    whole = checkpoint.newest(out / "checkpoints")
    assert whole is not None
    assert read_outcome(out).word == "continue"
    assert read_outcome(out).reason in [f"{why} after {whole.images} of {FOR_EVER} images" for why in told]
    assert sorted(read_ledger(out)) == list(range(whole.images))
    assert not list((out / "checkpoints").glob(".*")), "something is half-written"


def test_trains_with_no_right_at_all(image, tiles, runs):
    told = json.loads(podman(*locked(image, tiles, runs, "python", "-c", RIGHTS)))
    assert [told[name] for name in ("uid", "capabilities", "locked", "links")] == [USER, 0, 1, ["lo"]]
    assert told["root"] == "Read-only file system"
    podman(*locked(image, tiles, runs, "waterscape", *train(tiles, runs / "vae", "--images", 64)))
    assert read_outcome(runs / "vae").word == "done"
    assert sorted(read_ledger(runs / "vae")) == list(range(64))
    assert {path.stat().st_uid for path in (runs / "vae").rglob("*")} == {USER}


@pytest.mark.parametrize("kind", ["TERM", "USR1"])
def test_a_signal_reaches_training_and_its_checkpoint_is_durable(image, tiles, runs, kind):
    name, out = f"waterscape-{os.getpid()}-{kind}", runs / "vae"
    words = train(tiles, out, "--images", FOR_EVER, "--checkpoint-every", 64)
    first, *rest = locked(image, tiles, runs, "waterscape", *words)
    process = subprocess.Popen(["podman", first, f"--name={name}", *rest])
    try:
        until_saved(out)
        podman("kill", f"--signal={kind}", name)
        assert process.wait(timeout=60) == 75
    finally:
        process.kill()
        process.wait()
    assert_saved_where_it_stood(out, f"SIG{kind}")


@pytest.fixture
def submitted(image, slurm, tiles, tmp_path):
    """Submits a training on two nodes, each rank in a container: the job's number."""
    flags = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=10"]
    environment = {"WATERSCAPE_IMAGE": image, "WATERSCAPE_RUNTIME": "podman", "WATERSCAPE_CONTAINER_FLAGS": LABEL}
    environment |= {"AWS_SECRET_ACCESS_KEY": SECRET, "WANDB_API_KEY": SECRET}

    def submit(*more):
        words = train(tiles, tmp_path / "vae", "--processes", 2, *more)[1:]
        return slurm.submit(*flags, "slurm/train.sh", *words, **environment)

    return submit


def test_from_slurm_asked_to_stop_it_saves_and_comes_back(slurm, submitted, tmp_path):
    """USR1, as before a time limit, through srun and podman on both nodes; nothing tells a secret afterwards."""
    out, images = tmp_path / "vae", 1600
    number = submitted("--images", images, "--checkpoint-every", 64)
    until_saved(out)
    slurm.client("scancel", "--signal=USR1", number)
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert slurm.facts(number)["Restarts"] == "1", slurm.log(number)
    assert "outcome continue, exit code " in slurm.log(number)
    assert "outcome done, exit code 0" in slurm.log(number)
    assert sorted(read_ledger(out)) == list(range(images))
    assert SECRET not in slurm.log(number)
    assert not [path for path in out.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_from_slurm_cancelled_it_saves_and_stays_away(slurm, submitted, tmp_path):
    out = tmp_path / "vae"
    number = submitted("--images", FOR_EVER, "--checkpoint-every", 64)
    until_saved(out)
    slurm.client("scancel", number)
    assert slurm.ended(number) == "CANCELLED"
    slurm.wait(number, lambda _: ", ended by SLURM" in slurm.log(number), 60)
    assert "outcome continue, exit code " in slurm.log(number)
    assert_saved_where_it_stood(out, "SIGTERM")
    assert slurm.facts(number)["Restarts"] == "0"


@pytest.mark.parametrize("helper_dies", [False, True])
def test_sigterm_is_not_lost_where_podmans_own_helper_dies_of_it(image, helper_dies):
    """As SLURM ends a step: SIGCONT, then SIGTERM to all its processes, `runc kill` for the first one among them."""
    words = ["run", "--rm", LABEL, *LOCKED, image, "python", "-c", HEEDS]
    job = subprocess.Popen([ROOT / "slurm" / "in_podman.sh", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert job.stdout.readline() == "ready\n"
        (client,) = (child for child in psutil.Process(job.pid).children() if child.name() == "podman")
        client.send_signal(signal.SIGCONT)
        helpers, deadline = [], time.monotonic() + 10
        while helper_dies and not helpers and time.monotonic() < deadline:
            helpers = [child for child in client.children() if child.name().startswith("runc")]
        for process in [*helpers, client, psutil.Process(job.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        assert job.stdout.readline() == "heard\n"
        assert job.wait(timeout=30) == 75 or helper_dies
    finally:
        job.kill()
        job.wait()


def test_as_the_job_scripts_start_it_it_sees_what_it_needs_and_no_more(image, tmp_path):
    script = f'source {ROOT}/slurm/job.sh && choose_runtime && "${{python[@]}}" -c "$PROGRAM"'
    told = subprocess.run(
        ["bash", "-euc", script],
        env={**os.environ, "WATERSCAPE_IMAGE": image, "WATERSCAPE_RUNTIME": "podman", "PROGRAM": RIGHTS}
        | {"WATERSCAPE_CONTAINER_FLAGS": LABEL, "SLURM_PROCID": "3", "AWS_SECRET_ACCESS_KEY": SECRET},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert [found[name] for name in ("uid", "capabilities", "locked")] == [os.getuid(), 0, 1]
    assert found["root"] == "Read-only file system"
    assert found["environment"]["SLURM_PROCID"] == "3"
    assert SECRET not in told.stdout


def test_holds_the_checkout_and_says_what_it_is(image):
    facts = json.loads(podman("image", "inspect", image))[0]
    assert facts["Config"]["User"] == f"{USER}:{USER}"
    assert facts["Config"]["Entrypoint"] == ["/usr/bin/tini", "--"]
    labels = {name.rpartition(".")[2]: text for name, text in facts["Labels"].items() if "opencontainers" in name}
    assert labels["title"] == "waterscape"
    assert labels["licenses"] == "Apache-2.0"
    assert labels.keys() >= {"description", "revision"}
    assert facts["Size"] < 2e9 or "+cpu" not in podman("run", "--rm", image, "pip", "list"), "it has grown"
    kept = {"waterscape": ("**/*.py", "py.typed", "pages/**/page/*"), "tools": ("*.py",), "slurm": ("*.sh",)}
    expected = {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, patterns in kept.items()
        for pattern in patterns
        for path in (ROOT / name).glob(pattern)
    }
    found = json.loads(podman("run", "--rm", *LOCKED, image, "python", "-P", "-c", HASHES))
    assert {name: found[name] for name in found if not name.endswith(".pyc")} == expected, "build the image anew"


@pytest.mark.usefixtures("image")
def test_nothing_but_code_goes_to_the_builder(tmp_path):
    """What a checkout full of secrets, data and runs hands to a build."""
    checkout, seen = tmp_path / "checkout", tmp_path / "seen"
    for name in ("Containerfile", ".dockerignore", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        checkout.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout)
    for name in ("waterscape", "tools", "slurm"):
        shutil.copytree(ROOT / name, checkout / name)
    secrets = [".env", ".git/config", "id_ed25519", "runs/vae/run.json", "shards/water/a.tar", "tools/.env"]
    secrets += ["tools/token.txt", "slurm/credentials", "pip.conf", "waterscape/__pycache__/x.pyc"]
    for name in secrets:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(SECRET)
    everything = tmp_path / "Containerfile"
    everything.write_text("FROM scratch\nCOPY . /\n")
    tag = f"localhost/waterscape-context-{os.getpid()}"
    podman("build", "--quiet", f"--file={everything}", f"--tag={tag}", str(checkout))
    try:
        seen.mkdir()
        archive = tmp_path / "context.tar"
        number = podman("create", tag, "none").strip()
        podman("export", f"--output={archive}", number)
        podman("rm", number)
        shutil.unpack_archive(archive, seen, filter="data")
    finally:
        podman("rmi", "--force", tag)
    names = {str(path.relative_to(seen)) for path in seen.rglob("*") if path.is_file()}
    assert {"constraints.txt", "waterscape/models/water_vae.py", "tools/make_world.py", "slurm/job.sh"} <= names
    assert not names & set(secrets)
    assert not [path for path in seen.rglob("*") if path.is_file() and SECRET in path.read_text()]


def test_no_layer_holds_what_the_builder_knew(image):
    """The builder's pip was told a word of its own (WATERSCAPE_TEST_CANARY): no byte of the image repeats it."""
    canary = os.environ.get("WATERSCAPE_TEST_CANARY", "").encode()
    told = podman("image", "inspect", image) + podman("history", "--no-trunc", "--format=json", image)
    assert not re.search(r"(?i)token|password|credential|private key", told)
    if not canary:
        pytest.skip("the image is not of stand_in_image.sh: nothing was planted")
    sought = {b"canary": canary, b"code": (ROOT / "slurm" / "job.sh").read_bytes()[:400]}
    found, before = set(), b""
    with subprocess.Popen(["podman", "save", "--format=docker-archive", image], stdout=subprocess.PIPE) as archive:
        while piece := archive.stdout.read(1 << 24):
            found |= {name for name, word in sought.items() if word in before[-1000:] + piece}
            before = piece
    assert archive.returncode == 0
    assert found == {b"code"}, "the canary is in a layer" if b"canary" in found else "the layers were not read"
