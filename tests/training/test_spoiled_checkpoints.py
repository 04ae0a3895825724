"""Checkpoints that were damaged, crafted or written by another version, met by real processes that resume a run.

Damage is passed over loudly and the one before is used; what is whole but not this run's stops all, and stays.
"""

import contextlib
import hashlib
import json
import os
import shutil

import pytest
from ranks import words
from safetensors.torch import load_file, save_file
from test_writer import write

from waterscape.errors import UserError
from waterscape.training import checkpoint
from waterscape.training.events import read_ledger
from waterscape.training.keeping import Keeping
from waterscape.training.writer import Writer

BATCH = 32


def steps(tiles, out, number, *more):
    return words(tiles, out, "--checkpoint-every", BATCH, "--images", number * BATCH, *more)


@pytest.fixture(scope="module")
def trained(nursery, tiles, tmp_path_factory):
    """Runs of three steps and of five, a checkpoint after each, and one of another width."""
    place = tmp_path_factory.mktemp("runs")
    wider = ["--widths", 4, 4, 4, 4, 8, 8, 8, 12]
    runs = {"three": (3, []), "five": (5, []), "another": (4, wider)}
    started = [nursery.start(1, steps(tiles, place / n, k, *more), place / "logs" / n) for n, (k, more) in runs.items()]
    assert [ranks.ended(0) for ranks in started] == [0, 0, 0], started[0].log(0)
    return place


def newest(out):
    return checkpoint.every(out / "checkpoints")[-1]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def a_learning_rate(path):
    """One bit of a digit, so that the text can be read as before."""
    text = (path / "state.json").read_text()
    flip(path / "state.json", text.index('"lr": 0.') + len('"lr": 0.') + 2)
    assert json.loads((path / "state.json").read_text()) != json.loads(text)


def a_name(path):
    flip(path / "state.json", (path / "state.json").read_text().index('"files"') + 1)


def a_weight(path):
    flip(path / "network.decoder.safetensors", -1)


DAMAGE = [
    (a_learning_rate, "state.json is damaged (it is not as it was written)"),
    (a_name, "state.json is damaged"),
    (a_weight, "network.decoder.safetensors has another sha256"),
]


@pytest.mark.long
@pytest.mark.parametrize("world", [1, 2], ids=["alone", "two"])
@pytest.mark.parametrize(("harm", "told"), DAMAGE)
def test_a_flipped_bit_is_told_and_the_checkpoint_before_is_gone_on_from(
    harm, told, world, born, trained, tiles, tmp_path
):
    out = shutil.copytree(trained / "three", tmp_path / "run")
    harm(newest(out))
    ranks = born(world, steps(tiles, out, 5), tmp_path / "logs")
    assert [ranks.ended(rank) for rank in range(world)] == [0] * world, ranks.log(0)
    assert f"checkpoint {out}/checkpoints/{3 * BATCH:012d} is passed over: {told}" in ranks.log(0)
    assert read_ledger(out) == read_ledger(trained / "five")
    assert len(checkpoint.every(out / "checkpoints")) == 3
    if world == 1:  # else sums round differently
        ours, theirs = (checkpoint.newest(run / "checkpoints").state for run in (out, trained / "five"))
        assert ours == theirs, "the files' sha256 are in it"


def another_model(path, trained):
    shutil.copytree(newest(trained / "another"), path.with_name(f"{4 * BATCH:012d}"))


def one_tensor_less(path, _):
    file = path / "network.decoder.safetensors"
    held = load_file(file)
    held.popitem()
    save_file(held, file)
    reseal(path)


def a_newer_version(path, _):
    state = checkpoint.peek(path).state
    (path / "state.json").write_bytes(checkpoint.sealed({**state, "format": checkpoint.FORMAT + 1}))


def no_optimizers(path, _):
    state = dict(checkpoint.peek(path).state)
    del state["optimizers"]
    (path / "state.json").write_bytes(checkpoint.sealed(state))


def reseal(path):
    """As one who tampers would: sizes and hashes of the files as they are now."""
    state = json.loads((path / "state.json").read_text())
    del state[checkpoint.SEAL]
    for name, file in state["files"].items():
        content = (path / name).read_bytes()
        file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path / "state.json").write_bytes(checkpoint.sealed(state))


CRAFTED = [
    (another_model, "is of another network: "),
    (one_tensor_less, "is None there and ("),
    (a_newer_version, "this version's is 2: update waterscape"),
    (no_optimizers, "says no optimizers: it is no checkpoint of a training"),
]


@pytest.mark.long
@pytest.mark.parametrize("world", [1, 2], ids=["alone", "two"])
@pytest.mark.parametrize(("craft", "told"), CRAFTED)
def test_one_of_another_model_or_tampered_with_stops_all_before_anything_is_changed(
    craft, told, world, born, trained, tiles, tmp_path
):
    out = shutil.copytree(trained / "three", tmp_path / "run")
    craft(newest(out), trained)
    before = files(out)
    ranks = born(world, steps(tiles, out, 5), tmp_path / "logs")
    assert [ranks.ended(rank) for rank in range(world)] == [1] * world
    (line,) = [line for line in ranks.log(0).splitlines() if line.startswith("error: ")]
    assert told in line
    assert str(out / "checkpoints") in line
    for rank in range(world):
        assert "Traceback" not in ranks.log(rank)
    assert files(out) == before


def files(out):
    """The content of all checkpoints, the ledger and the events."""
    kept = [*(out / "checkpoints").rglob("*"), *(out / "ledger").iterdir(), out / "events.jsonl"]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept if path.is_file()}


def test_a_flipped_bit_of_any_byte_of_what_a_checkpoint_says_of_itself_is_found(tmp_path):
    write(Writer(tmp_path, Keeping()), 8)
    path = tmp_path / "000000000008" / "state.json"
    whole, state = path.read_bytes(), checkpoint.verify(path.parent).state
    seal = whole.index(f'"{checkpoint.SEAL}"'.encode(), len(whole) - 100)
    unnoticed = []
    with path.open("r+b", buffering=0) as file:  # in place: a file that is written anew may have to reach the disk
        for place, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ 1 << place % 8]), place)
            with contextlib.suppress(ValueError):
                found = dict(checkpoint.peek(path.parent).state)
                if seal < place <= seal + len(checkpoint.SEAL):  # the seal's own name, which then says nothing
                    found.popitem()
                unnoticed += [place] if found != state else []  # equal: a capital E in 1e-08
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert not unnoticed


def test_one_that_an_earlier_version_wrote_is_read_without_a_seal(tmp_path):
    write(Writer(tmp_path, Keeping()), 8)
    path = tmp_path / "000000000008" / "state.json"
    state = checkpoint.verify(path.parent).state
    path.write_text(json.dumps(state))
    assert checkpoint.newest(tmp_path).state == state
    odd = [[], {}, {"format": "2"}, {**state, "files": 3}, {**state, "files": {"a": 1}}, {**state, "images": None}]
    for crafted in [*odd, {**state, "files": {"a": {"bytes": 1}}}]:
        path.write_text(json.dumps(crafted))
        with pytest.raises(ValueError, match=r"^state\.json is damaged"):
            checkpoint.verify(path.parent)
    path.write_text("[" * 10**5)
    with pytest.raises(ValueError, match=r"^state\.json is damaged"):
        checkpoint.verify(path.parent)
    path.write_text(json.dumps({**state, "format": 1}))
    with pytest.raises(UserError, match="pickles"):
        checkpoint.newest(tmp_path)
