"""`waterscape doctor`, and how long the bare package takes to import."""

from pathlib import Path

from programs import run_program

from waterscape.cluster.doctor import Doctor, container_runtime, examine, file_system


def test_every_line_is_ok_or_says_what_to_do(tmp_path):
    findings = {finding.what: finding for finding in examine(Doctor(tmp_path / "runs"))}
    assert {"python, torch", "cores", "GPUs", "gloo", "SLURM", "containers", "rename", "locks"} <= set(findings)
    assert {"clock", "free space", "open files"} <= set(findings)
    for name in ("rename", "locks", "gloo"):
        assert str(findings[name]).startswith("ok ")
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_a_directory_that_cannot_be_written_to():
    (finding,) = file_system(Path("/proc/waterscape"))
    assert str(finding).startswith("mend  file system        /proc cannot be written to")
    assert "name a directory that can" in finding.advice


def test_an_image_without_a_program_to_run_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert str(container_runtime()).startswith("ok ")
    monkeypatch.setenv("WATERSCAPE_IMAGE", "waterscape:cpu")
    assert "none for WATERSCAPE_IMAGE=waterscape:cpu: install one of podman" in str(container_runtime())


def test_the_bare_package_imports_at_once():
    program = "import time; t = time.process_time(); import waterscape; s = time.process_time() - t; import sys;"
    program += "print(s, *{'torch', 'numpy', 'tyro'} & set(sys.modules))"
    told = [run_program("-c", program).stdout.split() for _ in range(3)]
    assert [len(words) for words in told] == [1] * 3
    assert min(float(words[0]) for words in told) < 0.2
