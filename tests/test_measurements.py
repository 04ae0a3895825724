"""The table of measurements: each row in a process of its own, failures told, other rows kept."""

import ast
import json
import shutil
import subprocess
import sys

import pytest
from programs import ROOT
from waiting import alive, until

from benchmarks import peers
from benchmarks.__main__ import rows
from benchmarks.peers import PeerProcess, versions_of

ROWS = {
    "b02_quick": '''
"""B2: something quick, against a peer. More words."""
from benchmarks.figure import Figure
VERSIONS = {"peer": "1.2.3"}
def figures():
    yield Figure.over("B2", "peer", [3, 1, 2, 9, 2], ">=", 2)
    yield Figure("B2", "limit", 0.5999, ">=", 0.6)
    yield Figure("B2", "share", 0.25)
''',
    "b10_broken": "def figures():\n    raise RuntimeError('broken')\n    yield",
    "g01_elsewhere": """
from benchmarks.figure import NotHereError
def figures():
    raise NotHereError("no GPU")
    yield
""",
}


@pytest.fixture
def there(tmp_path):
    """The measurements' own files beside three rows of the test's own."""
    directory = tmp_path / "benchmarks"
    directory.mkdir()
    for name in ("__init__.py", "__main__.py", "figure.py", "results.py", "turns.py", "surroundings.py", "README.md"):
        shutil.copy(ROOT / "benchmarks" / name, directory)
    for name, text in ROWS.items():
        (directory / f"{name}.py").write_text(text.lstrip())
    return directory


def measure(there, *words):
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=there.parent, capture_output=True, text=True, check=False)


def test_rows_that_fail_or_cannot_be_measured_here_do_not_end_the_others(there):
    done = measure(there, "--write")
    assert done.stdout.splitlines() == ["B2 peer 2 >= 2 ok", "B2 limit 0.6 >= 0.6 short", "B2 share 0.25"]
    assert done.returncode == 1
    assert "failed: B10" in done.stderr
    assert "not on this machine: no GPU" in done.stderr
    kept = json.loads((there / "results.json").read_text())["figures"]
    assert [(one["row"], one["name"], one["value"], one["spread"], one["repeats"]) for one in kept] == [
        ("B2", "peer", 2, [2, 3], 5),
        ("B2", "limit", 0.5999, None, None),
        ("B2", "share", 0.25, None, None),
    ]
    assert kept[0]["versions"]["peer"] == "1.2.3"
    assert kept[0]["machine"]["cores"] >= 1
    page = (there / "README.md").read_text()
    assert "| B2 | something quick, against a peer | peer | 2 | 2–3, 5 rounds | ≥ 2 | ok |" in page
    assert "| limit | 0.6 |  | ≥ 0.6 | **short** |" in page
    assert "| share | 0.25 |  |  |  |" in page


def test_other_rows_keep_their_figures_and_their_day(there):
    measure(there, "B2", "--write")
    path = there / "results.json"
    kept = json.loads(path.read_text())
    old = {**kept["figures"][0], "row": "B10", "date": "2020-02-02", "value": 7}
    gone = {**kept["figures"][0], "name": "an earlier figure of this row"}
    path.write_text(json.dumps({**kept, "figures": [old, gone]}))
    done = measure(there, "b2", "--write")
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["figures"]
    assert [(one["row"], one["name"]) for one in figures] == [
        ("B2", "peer"),
        ("B2", "limit"),
        ("B2", "share"),
        ("B10", "peer"),
    ]
    page = (there / "README.md").read_text()
    assert "| 2020-02-02 [1] |" in page
    assert page.count("<!-- end of table -->") == 1


def test_nothing_is_kept_unless_asked(there):
    done = measure(there, "B2")
    assert done.returncode == 0, done.stderr
    assert not (there / "results.json").exists()
    assert (there / "README.md").read_text() == (ROOT / "benchmarks" / "README.md").read_text()


@pytest.mark.parametrize(("words", "message"), [(["B99"], "no measurement 'B99'"), (["B2", "--write"], "is damaged")])
def test_mistakes_are_told_in_a_line(there, words, message):
    (there / "results.json").write_text("{")
    done = measure(there, *words)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_row_tells_the_versions_of_peers_that_live_elsewhere():
    """The peer's own, neither its dependencies' nor those of a package that begins alike (kornia_rs)."""
    found = versions_of("kornia", "streaming")
    assert list(found) == ["kornia", "mosaicml-streaming"]
    for name, package in (("kornia", "kornia"), ("streaming", "mosaicml-streaming")):
        lines = (ROOT / "benchmarks" / "peers" / f"{name}.txt").read_text().splitlines()
        assert f"{package}=={found[package]}" in lines


PEER = """
import os, subprocess, sys, time
word, known = sys.argv[1:]
tried = os.path.exists(known)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(known, "a").write(f"{worker.pid}\\n")
if word == "ends":
    worker.kill()
    sys.exit(7)
if word == "never" or not tried:
    time.sleep(600)
worker.kill()
print("ready", flush=True)
for _ in sys.stdin:
    print("rate", 12.5, flush=True)
"""


@pytest.fixture
def impatient(tmp_path, monkeypatch):
    """Peers are `PEER`, in this environment, and waited for some seconds only."""
    (tmp_path / "peer.py").write_text(PEER)
    monkeypatch.setattr(peers, "HERE", tmp_path)
    monkeypatch.setattr(peers, "PATIENCE_SECONDS", 10)
    monkeypatch.setattr(peers, "python_of", lambda _: sys.executable)
    return tmp_path / "known"


def test_a_peer_that_stands_still_is_started_once_more_and_leaves_nothing(impatient, capsys):
    peer = PeerProcess("peer", "late", impatient)
    assert peer() == 12.5
    peer.close()
    assert peer.process.returncode == 0
    assert "the peer peer stood still for 10 s; it is started once more" in "".join(capsys.readouterr())
    first, _ = impatient.read_text().split()
    until(lambda: not alive(int(first)))


def test_a_peer_that_never_gets_ready_is_an_error(impatient, monkeypatch):
    monkeypatch.setattr(peers, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(RuntimeError, match=r"stood still for 0\.5 s"):
        PeerProcess("peer", "never", impatient)


def test_a_peer_that_ends_is_not_started_again(impatient):
    with pytest.raises(RuntimeError, match="the peer peer ended, 7"):
        PeerProcess("peer", "ends", impatient)
    assert len(impatient.read_text().split()) == 1


def test_every_row_says_by_which_sizes_it_is_seen_to_run_in_seconds():
    for row, name in rows().items():
        stored = ast.walk(ast.parse((ROOT / f"benchmarks/{name}.py").read_text()))
        names = {node.id for node in stored if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        assert row.startswith("G") or "BRIEF" in names, name


def test_what_is_taken_in_brief_is_not_kept(there):
    assert "leave out --write" in measure(there, "B2", "--brief", "--write").stderr
    assert measure(there, "B2", "--brief").stdout.splitlines()[0] == "B2 peer 2 >= 2 ok"
