"""A real SLURM on one machine: munged, slurmctld and three slurmd that pose as the nodes n1, n2, n3 on the loopback.

All state lies in one directory and every daemon listens on a port of its own, so that it disturbs no other SLURM here.
Each node poses as four cores and two GPUs (links to /dev/null). The partition `high` preempts `main`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
from programs import ROOT, free_port
from waiting import until

NODES = ("n1", "n2", "n3")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing_programs():
    """Which programs of SLURM this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


class VirtualSlurm:
    """The cluster; `close` ends its jobs and daemons."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "jobs"
        for name in ("munge", "state", "spool", "log", "fakedev", "jobs"):
            (directory / name).mkdir(parents=True)
        for number in range(2):
            (directory / "fakedev" / f"nvidia{number}").symlink_to("/dev/null")
        (directory / "munge" / "key").write_bytes(os.urandom(128))
        (directory / "munge" / "key").chmod(0o600)
        (directory / "munge").chmod(0o755)
        (directory / "slurm.conf").write_text(self._configuration())
        devices = directory / "fakedev" / "nvidia[0-1]"
        (directory / "gres.conf").write_text(f"NodeName={','.join(NODES)} Name=gpu File={devices}\n")
        (directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        # No variable of a job that this test may itself run in, and one thread per rank: the cores are few.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        self.environment = {
            **kept,
            "PATH": PATH,
            "SLURM_CONF": str(directory / "slurm.conf"),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": str(ROOT / "tests"),
        }
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _configuration(self) -> str:
        # The first job's number is drawn, since ports follow from it, and another such cluster may run on this machine.
        here, name, user = self.directory, socket.gethostname().split(".")[0], _user()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={name} NodeAddr=127.0.0.1 Port={free_port()} CPUs=4 RealMemory=8000 "
            "Gres=gpu:2 State=UNKNOWN"
            for node in NODES
        )
        return f"""\
ClusterName=waterscape
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={here}/munge/sock,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd-%n.pid
SlurmctldLogFile={here}/log/slurmctld.log
SlurmdLogFile={here}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=100000,batch_sched_delay=0,requeue_delay=0
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
MinJobAge=600
FirstJobId={1 + int.from_bytes(os.urandom(2))}
KillWait=20
MessageTimeout=10
SlurmdParameters=config_overrides
MailProg=/bin/true
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=10 GraceTime=20 State=UP
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=100 PreemptMode=off State=UP
"""

    def _start(self) -> None:
        munge = self.directory / "munge"
        names = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={munge / name}" for option, name in names.items()]
        self.client("munged", "--force", *files, "--num-threads=2")  # forced, since pytest's directories are private
        self.client("slurmctld")
        for node in NODES:
            self.start_node(node)
        log = self.directory / "log" / "slurmctld.log"
        until(self._is_up, 30, lambda: f"the nodes do not come up: {log.read_text()[-2000:]}", every=0.1)

    def _is_up(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.client("sinfo", "-h", "-N", "-t", "idle", "-p", "main", "-o", "%N").split() == list(NODES)
        return False

    def client(self, *words, cwd=ROOT, **environment) -> str:
        """Run one of SLURM's programs; its output."""
        done = subprocess.run(
            ["timeout", "120", *map(str, words)],
            env={**self.environment, **environment},
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def start_node(self, node) -> None:
        """Start the daemon of a node."""
        self.client("slurmd", "-N", node)

    def kill_node(self, node) -> None:
        """Kill the daemon of a node; what it has started lives on."""
        os.kill(int((self.directory / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)

    def submit(self, *words, cwd=ROOT, **environment) -> int:
        """`sbatch` with a log `jobs/NUMBER.log`; the job's number."""
        log = f"--output={self.out}/%j.log"
        return int(self.client("sbatch", "--parsable", log, *words, cwd=cwd, **environment).split(";")[0])

    def log(self, job) -> str:
        """What a job has printed."""
        path = self.out / f"{job}.log"
        return path.read_text() if path.exists() else ""

    def facts(self, job) -> dict[str, str]:
        """What `scontrol show job` tells."""
        return dict(re.findall(r"(\w+)=(\S*)", self.client("scontrol", "show", "job", "-o", job)))

    def wait(self, job, condition, timeout=400) -> dict[str, str]:
        """Until the job's facts meet the condition; those facts."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            facts = self.facts(job)
            if condition(facts):
                return facts
            time.sleep(0.2)
        raise AssertionError(f"job {job} is {facts['JobState']} after {timeout} s: {self.log(job)[-4000:]}")

    def ended(self, job, timeout=400) -> str:
        """The job's state when it has ended for good."""
        return self.wait(job, lambda facts: facts["JobState"] in ENDED, timeout)["JobState"]

    def restarted(self, job) -> None:
        """Wait until the job's limit has sent it back into the queue; then give it time to end, however slow it is."""
        facts = self.wait(job, lambda facts: facts["Restarts"] != "0" or facts["JobState"] in ENDED)
        assert facts["Restarts"] != "0", self.log(job)
        self.client("scontrol", "update", f"JobId={job}", "TimeLimit=60")

    def close(self) -> None:
        """End jobs and daemons."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.client("scancel", "--user", _user())
            self.client("scancel", "--signal=KILL", "--user", _user())
            deadline = time.monotonic() + 10
            while self.client("squeue", "-h").strip() and time.monotonic() < deadline:
                time.sleep(0.1)
        for path in [*self.directory.glob("*.pid"), self.directory / "munge" / "pid"]:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(path.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while self._processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in self._processes():  # a daemon waits for steps that do not end
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _processes(self) -> list[psutil.Process]:
        """Every process that this cluster has started: its configuration is in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found.append(process)
        return found


def _user() -> str:
    return subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
