"""Checkpoints: whole or absent, which of them stay, and that those of another model are refused."""

import hashlib
import os
import threading

import pytest
import torch
from torch import nn

from waterscape.errors import UserError
from waterscape.training import checkpoint
from waterscape.training.keeping import Keeping
from waterscape.training.owner import Owner
from waterscape.training.writer import NotFiniteError, Writer, core_is_free


def small(width=3):
    torch.manual_seed(0)
    network = nn.Linear(width, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, betas=(0.5, 0.9))
    network(torch.ones(4, width)).square().sum().backward()
    optimizer.step()
    return {"net": network}, {"net": optimizer}


def contents(networks, optimizers):
    return checkpoint.tensors(networks, {}, optimizers)


def facts(optimizers, images, **more):
    return {"images": images, "steps": images, "recipe": "Small", "optimizers": checkpoint.settings(optimizers), **more}


def images(directory):
    return [int(path.name) for path in checkpoint.every(directory)]


def write(writer, *counts, **more):
    networks, optimizers = small()
    for count in counts:
        writer.save(contents(networks, optimizers), facts(optimizers, count, **more))
        writer.wait()
        assert writer.failure is None


def test_networks_and_optimizers_come_back_exactly_and_nothing_is_a_pickle(tmp_path):
    networks, optimizers = small()
    Writer(tmp_path, Keeping()).save(contents(networks, optimizers), facts(optimizers, 8))
    assert {path.suffix for path in (tmp_path / "000000000008").iterdir()} == {".safetensors", ".json"}
    again, their = small()
    for parameter in again["net"].parameters():
        nn.init.zeros_(parameter)
    their["net"].param_groups[0]["lr"] = 0.3
    checkpoint.restore(checkpoint.newest(tmp_path), again, {}, their)
    for _ in range(2):
        for nets, descents in ((networks, optimizers), (again, their)):
            nets["net"](torch.ones(4, 3)).square().sum().backward()
            descents["net"].step()
    assert torch.equal(again["net"].weight, networks["net"].weight)
    assert their["net"].state_dict()["param_groups"] == optimizers["net"].state_dict()["param_groups"]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path):
    networks, optimizers = small()
    gate = threading.Event()

    class Slow:
        def __enter__(self):
            assert gate.wait(30)

        def __exit__(self, *_):
            pass

    writer = Writer(tmp_path, Keeping(), background=True, fence=Slow)
    before = networks["net"].weight.clone()
    writer.save(contents(networks, optimizers), facts(optimizers, 8))
    with torch.no_grad():
        networks["net"].weight.add_(1)  # the next step
    assert not images(tmp_path)
    gate.set()
    writer.wait()
    assert torch.equal(checkpoint.newest(tmp_path).read("network.net.safetensors")["weight"], before)


def test_the_newest_the_milestones_and_the_best_stay(tmp_path):
    writer = Writer(tmp_path, Keeping(2, 100, "error:lower"))
    errors = {64: 0.9, 128: 0.3, 192: 0.5, 256: 0.4, 320: float("nan"), 384: 0.6}
    networks, optimizers = small()
    for count, error in errors.items():
        marks = {"figures": {"error": error}, "milestone": writer.keeping.is_milestone(count, count - 64)}
        writer.save(contents(networks, optimizers), facts(optimizers, count, **marks))
    assert images(tmp_path) == [128, 256, 320, 384]  # 128: best and past 100; 256: past 200; 320: past 300, newest
    kinds = writer.keeping.kinds(checkpoint.verify(path) for path in checkpoint.every(tmp_path))
    assert list(kinds.values()) == [["milestone", "best"], ["milestone"], ["newest", "milestone"], ["newest"]]
    assert writer.keeping.best_cost(tmp_path) == 0.3
    assert Keeping(1, None, "error:higher").best_cost(tmp_path) == -0.6


def test_a_broken_one_beyond_the_newest_whole_one_does_not_push_it_out(tmp_path):
    write(Writer(tmp_path, Keeping(2)), 8, 16, 24)
    (tmp_path / "000000000024" / "network.net.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over"):
        assert checkpoint.newest(tmp_path).images == 16
    write(Writer(tmp_path, Keeping(1)), 20)
    assert images(tmp_path) == [20]


def test_a_nan_is_never_published(tmp_path):
    networks, optimizers = small()
    writer = Writer(tmp_path, Keeping(1))
    write(writer, 8)
    with torch.no_grad():
        networks["net"].bias[0] = float("nan")
    writer.save(contents(networks, optimizers), facts(optimizers, 16))
    assert isinstance(writer.failure, NotFiniteError)
    assert "bias of network.net.safetensors is not finite after 16 images" in str(writer.failure)
    assert images(tmp_path) == [8]


def test_an_outdated_owner_leaves_without_renaming_or_dropping(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    old = Owner.claim(tmp_path)
    write(Writer(directory, Keeping(1), fence=old.fence), 8)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    new = Owner.claim(tmp_path)
    networks, optimizers = small()
    outdated = Writer(directory, Keeping(1), fence=old.fence, background=True)
    outdated.save(contents(networks, optimizers), facts(optimizers, 16))
    outdated.wait()
    assert "was taken over" in str(outdated.failure)
    assert [path.name for path in directory.iterdir()] == ["000000000008"]
    write(Writer(directory, Keeping(1), fence=new.fence), 12)
    assert images(directory) == [12]
    old.leave()
    new.leave()


def test_a_checkpoint_of_another_model_is_refused_before_anything_is_loaded(tmp_path):
    write(Writer(tmp_path, Keeping()), 8)
    found = checkpoint.newest(tmp_path)
    networks, optimizers = small(width=4)
    before = networks["net"].weight.clone()
    with pytest.raises(UserError, match=r"weight is \(2, 3\) there and \(2, 4\) here \(1 tensors differ\)"):
        checkpoint.restore(found, networks, {}, optimizers)
    assert torch.equal(networks["net"].weight, before)
    networks, optimizers = small()
    with pytest.raises(UserError, match=r"holds no network.more.safetensors: it is a checkpoint of another model"):
        checkpoint.restore(found, {**networks, "more": nn.Linear(1, 1)}, {}, optimizers)
    with pytest.raises(UserError, match=r"also holds optimizer.net.safetensors"):
        checkpoint.restore(found, networks, {}, {})


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    write(Writer(tmp_path, Keeping()), 8)
    path = tmp_path / "000000000008"
    for file in sorted(path.glob("*.safetensors")):
        whole = file.read_bytes()
        for place in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            file.write_bytes(damaged)
            with pytest.raises(ValueError, match=file.name):
                checkpoint.verify(path)
        file.write_bytes(whole)
    checkpoint.verify(path)


def test_a_file_made_to_look_right_is_refused_with_the_reason(tmp_path):
    """Whoever tampers with a file can also write its sha256 into `state.json`, and that one's own."""
    write(Writer(tmp_path, Keeping()), 8)
    path = tmp_path / "000000000008"
    state = dict(checkpoint.verify(path).state)
    for crafted, told in [(b"\xff" * 64, "is no safetensors file"), (b"\x80\x04K\x01.", "is no safetensors file")]:
        (path / "network.net.safetensors").write_bytes(crafted)
        fitting = {"bytes": len(crafted), "sha256": hashlib.sha256(crafted).hexdigest()}
        state["files"]["network.net.safetensors"] = fitting
        (path / "state.json").write_bytes(checkpoint.sealed(state))
        networks, optimizers = small()
        with pytest.raises(UserError, match=told):
            checkpoint.restore(checkpoint.verify(path), networks, {}, optimizers)
    state["files"] = {"../../escape": fitting}
    (path / "state.json").write_bytes(checkpoint.sealed(state))
    with pytest.raises(ValueError, match="escape"):
        checkpoint.verify(path)


def test_formats_that_are_not_this_one_are_refused(tmp_path):
    write(Writer(tmp_path, Keeping()), 8)
    state = tmp_path / "000000000008" / "state.json"
    facts = checkpoint.peek(state.parent).state
    for version, advice in [(1, "pickles"), (99, "update waterscape")]:
        state.write_bytes(checkpoint.sealed({**facts, "format": version}))
        for look in (lambda: checkpoint.verify(state.parent), lambda: checkpoint.newest(tmp_path)):
            with pytest.raises(UserError, match=rf"the format of .*8 is {version}, .*{advice}"):
                look()


def test_a_core_is_free_where_threads_leave_one():
    cores = len(os.sched_getaffinity(0))
    assert core_is_free(1, cores - 1) == (cores > 1)
    assert not core_is_free(cores, 1)
    assert not core_is_free(1, cores)
