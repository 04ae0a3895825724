"""Sets behind a URL: read through the node's cache as local ones are, by real processes from a loopback server."""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from hostile_server import HostileServer, announce, break_off, garbage, status
from programs import ROOT, finish, run, start
from small_set import write_set
from waiting import until

import waterscape
from waterscape.data import ahead
from waterscape.data import store as store_module
from waterscape.data.ahead import least_cache
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shard import ShardError
from waterscape.errors import UserError
from waterscape.pages.shards_verbs import dispatch
from waterscape.training.events import read_ledger

TRAIN = [number for number in range(41) if number % 5 != 4]
READER = ROOT / "tests/data/reading_remote.py"


def labels(batches):
    return [label for loaded in batches for label in loaded.columns["label.npy"].tolist()]


def cached(server):
    return sorted((server.directory / "cache" / "tars").glob("*.tar"))


def start_readers(server, out, copies=1, world=1, batch=8, stop=33, block=2, milliseconds=0, **environment):
    out.mkdir()
    words = map(str, (out, copies, world, batch, stop, block, milliseconds))
    return subprocess.Popen(
        [sys.executable, READER, f"{server.url}/water", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def keys_of(out):
    return [sorted(path.read_text().splitlines()) for path in sorted(out.glob("*.keys"))]


def test_a_remote_set_is_read_as_a_local_one_and_each_file_is_fetched_once(server, water):
    near, far = ShardSet(water, "train"), ShardSet(f"{server.url}/water", "train")
    assert set(server.gets("")) == {"/water/manifest.json"}  # opening fetches no tar and no index
    far.read(0)
    assert server.gets(".npy") == {"/water/water-train-000000.index.npy": 1}
    for number in range(33):
        for name, value in far.read(number).items():
            np.testing.assert_array_equal(value, near.read(number)[name])
    for columns in (["label.npy"], ["label.npy", "json"]):
        order = Order(near.counts, 3, 2)
        one, other = (Batches(shards, columns, batch=5, order=order, stop=99) for shards in (near, far))
        for a, b in zip(one, other, strict=True):
            assert a.keys == b.keys
            assert torch.equal(a.columns["label.npy"], b.columns["label.npy"])
    again = ShardSet(f"{server.url}/water", "train")
    assert labels(Batches(again, ["label.npy"], batch=5, order=Order.sequential(again.counts), stop=33)) == TRAIN
    assert set(server.gets(".tar").values()) == set(server.gets(".npy").values()) == {1}
    assert len(server.gets(".tar")) == 6


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.long)])
def test_processes_of_a_node_fetch_each_tar_once(server, tmp_path, processes):
    sizes = sorted((shard.bytes for shard in Manifest.load(server.directory / "water").shards), reverse=True)
    least = str(sum(sizes[:4]) + sum(sizes[:2]))
    out = tmp_path / "out"
    readers = start_readers(server, out, world=processes, milliseconds=10, WATERSCAPE_CACHE_BYTES=least)
    assert readers.communicate(timeout=100)[1] == ""
    keys = [key for keys in keys_of(out) for key in keys]
    assert len(keys) == len(set(keys)) == 33
    gets = server.gets(".tar")
    assert len(gets) == 6
    assert set(gets.values()) == {1}
    assert sum(path.stat().st_size for path in cached(server)) <= int(least)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc for who has which file open")
@pytest.mark.long
def test_a_process_killed_while_it_fetches_leaves_its_part_to_another(server, tmp_path):
    server.bytes_per_second = 20_000  # a tar takes about two seconds
    out, tars = tmp_path / "out", server.directory / "cache" / "tars"
    readers = start_readers(server, out, copies=2)
    both = [int(process) for process in readers.stdout.readline().split()]
    while not (fetching := [process for process in both if begun_by(process, tars)]):
        assert readers.poll() is None
        time.sleep(0.02)
    os.kill(fetching[0], signal.SIGKILL)
    readers.communicate(timeout=100)
    assert max(len(set(keys)) for keys in keys_of(out)) == 33
    assert list(tars.glob("*.part")) == []
    resumed = [asked for asked in server.asked if asked.path.endswith(".tar") and "range" in asked.headers]
    assert resumed
    assert 6 + len(resumed) <= sum(server.gets(".tar").values()) <= 6 + 4  # what it had under way
    assert max(server.gets(".tar").values()) == 2


def begun_by(process, tars):
    """Whether the process has fetched a part of some tar, which it holds open."""
    with contextlib.suppress(FileNotFoundError):  # a file that was closed or renamed just now
        opened = {os.path.realpath(file) for file in Path(f"/proc/{process}/fd").iterdir()}
        return any(str(path) in opened and path.stat().st_size for path in tars.glob("*.part"))
    return False


def test_reading_overlaps_with_fetching_where_the_network_is_faster(tmp_path, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    write_set(tmp_path / "water", samples=200)
    with HostileServer(tmp_path) as server:
        shards = ShardSet(f"{server.url}/water", "train")
        server.latency = 0.1
        with Batches(shards, ["label.npy"], batch=8, order=Order(shards.counts, 0, 4), stop=160, prefetch=1) as batches:
            next(batches)
            waited = shards.store.waited_seconds
            for number, _ in enumerate(batches, 2):
                block = (8 * number - 1) // 24  # of four tars
                ahead_of_it = min(27, 4 * (block + 2))  # the next one comes while this one is read
                until(lambda wanted=ahead_of_it: len(cached(server)) >= wanted)
        assert set(server.gets(".tar").values()) == {1}
        assert len(server.gets(".tar")) == 27
        assert shards.store.waited_seconds - waited < 1  # 2.3 where each tar is waited for


def test_the_first_needed_is_fetched_first_and_no_more_than_two_blocks(server, monkeypatch):
    monkeypatch.setattr(ahead, "AT_ONCE", 1)
    shards = ShardSet(f"{server.url}/water", "train")
    order = Order(shards.counts, 5, 2)
    blocks = [block.tolist() for _, (_, block) in zip(range(3), Order(shards.counts, 5, 2).blocks(0), strict=False)]
    server.latency = 0.05

    def asked():
        return [asked.path for asked in server.asked if asked.path.endswith(".tar")]

    with Batches(shards, ["label.npy"], batch=1, order=order, prefetch=1) as batches:
        next(batches)
        expected = [f"/water/{shards.shards[number].name}.tar" for block in blocks[:2] for number in block]
        until(lambda: len(asked()) >= len(expected))
        time.sleep(0.3)  # for one too many
        assert asked() == expected


def test_faults_of_the_server_change_nothing_in_what_is_read(server):
    for number in range(6):
        tar, index = (f"/water/water-train-00000{number}.{ending}" for ending in ("tar", "index.npy"))
        server.faults[tar] += [break_off(700), garbage, status(503), announce(-512)][number % 4 :]
        server.faults[index] += [garbage, break_off(3)][: number % 3]
    server.faults["/water/manifest.json"] += [status(500), break_off(10)]
    shards = ShardSet(f"{server.url}/water", "train")
    assert labels(Batches(shards, ["label.npy"], batch=5, order=Order.sequential(shards.counts), stop=33)) == TRAIN


def test_a_tar_that_cannot_be_had_is_told_with_its_address_and_no_secret(server):
    server.faults["/water/water-train-000002.tar"] += [status(500)] * 40
    shards = ShardSet(f"{server.url}/water?token=hidden", "train")
    with pytest.raises(UserError, match=r"water-train-000002.tar\?… cannot be fetched, 8 attempts") as told:
        list(Batches(shards, ["label.npy"], batch=5, order=Order.sequential(shards.counts), stop=33))
    assert "hidden" not in str(told.value)
    with pytest.raises(UserError, match=r"is no set of shards: no manifest\.json in it"):
        ShardSet(f"{server.url}/nothing", "train")


def test_a_copy_that_rotted_is_fetched_again_and_the_reading_goes_on(server, capfd):
    shards = ShardSet(f"{server.url}/water", "train")
    order = Order.sequential(shards.counts)
    assert labels(Batches(shards, ["label.npy"], batch=5, order=order, stop=33)) == TRAIN
    shards.close()
    for path in cached(server)[:3]:
        raw = bytearray(path.read_bytes())
        for place in range(600, len(raw), 512):
            raw[place] ^= 1
        path.write_bytes(raw)
    assert labels(Batches(shards, ["label.npy", "json"], batch=5, order=order, stop=33)) == TRAIN
    assert capfd.readouterr().err.count("rotted: fetched again") == 3
    assert sum(server.gets(".tar").values()) == 9
    [path.write_bytes(b"x" * path.stat().st_size) for path in cached(server)]
    shards.close()
    assert [shards.read(place)["json"]["number"] for place in range(33)] == TRAIN
    for path in cached(server):
        path.unlink()
    shards.close()
    assert [shards.read(place)["json"]["number"] for place in range(33)] == TRAIN
    indexes = sorted((server.directory / "cache" / "indexes").glob("*.npy"))
    [path.write_bytes(path.read_bytes()[:-1] + b"?") for path in indexes]
    assert len(ShardSet(f"{server.url}/water", "train")) == 33


def test_a_record_that_is_damaged_at_the_source_is_told_once_it_was_read_twice(server, water):
    manifest = Manifest.load(water)
    tar = water / f"{manifest.shards[-1].name}.tar"
    raw = bytearray(tar.read_bytes())
    raw[600] ^= 1
    tar.write_bytes(raw)
    wrong = dataclasses.replace(manifest.shards[-1], sha256=hashlib.sha256(raw).hexdigest())
    dataclasses.replace(manifest, shards=(*manifest.shards[:-1], wrong), _bytes=None).save(water)
    shards = ShardSet(f"{server.url}/water", manifest.shards[-1].split)
    with pytest.raises(ShardError, match=rf"{tar.name}, sample .*, offset 0: crc32"):
        list(Batches(shards, ["bodies.npy"], batch=5, order=Order(shards.counts, 0), stop=33))
    assert server.gets(tar.name) == {f"/water/{tar.name}": 1}


def test_a_replaced_set_never_mixes_with_what_is_cached(server, water):
    old = ShardSet(f"{server.url}/water", "train")
    old.read(0)
    write_set(water, samples=30, samples_per_shard=5, replace=True)
    new = ShardSet(f"{server.url}/water", "train")
    assert [new.read(place)["json"]["number"] for place in range(24)] == [n for n in TRAIN if n < 30]
    assert old.read(0)["json"]["number"] == 0
    with pytest.raises(UserError, match=r"announces|sha256|bytes|no such file"):
        old.read(32)


def test_a_cache_for_less_than_two_blocks_is_refused_at_the_start(server, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE_BYTES", "50000")
    shards = ShardSet(f"{server.url}/water", "train")
    with pytest.raises(UserError, match=r"may hold 50000 bytes, but two blocks of 16 shards .* take up to \d{6}: set"):
        Batches(shards, ["label.npy"], batch=5, order=Order(shards.counts, 0))
    assert shards.read(5)["json"]["number"] == TRAIN[5]  # one after another, it is enough


def test_reading_at_random_stays_within_the_bound(server, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE_BYTES", "70000")
    shards = ShardSet(f"{server.url}/water", "train")
    for place in np.random.default_rng(0).integers(0, 33, 40).tolist():
        assert shards.read(place)["json"]["number"] == TRAIN[place]
        assert shards.store.tars.bytes() <= 70000


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_a_stock_loader_with_workers_reads_from_afar(server, method):
    tiles = waterscape.open_shards(f"{server.url}/water", columns=["label.npy"])
    tiles[0]
    loader = torch.utils.data.DataLoader(
        tiles, batch_size=4, shuffle=True, num_workers=2, multiprocessing_context=method
    )
    assert sorted(label for batch in loader for label in batch["label.npy"].tolist()) == TRAIN
    assert set(server.gets(".tar").values()) == {1}


@pytest.fixture
def disk(small_disk):
    return small_disk("1m")


def test_a_full_disk_is_one_line_and_nothing_half_is_left_under_a_name(server, disk, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(disk / "cache"))
    monkeypatch.setenv("WATERSCAPE_CACHE_BYTES", "1GB")
    shards = ShardSet(f"{server.url}/water", "train")
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "rest").write_bytes(bytes(free - 70_000))  # room for one tar
    with pytest.raises(UserError, match=r"cannot be written to .No space left on device.: make room or rights") as told:
        list(Batches(shards, ["label.npy"], batch=5, order=Order(shards.counts, 0)))
    assert len(str(told.value).splitlines()) == 1
    for path in (disk / "cache" / "tars").glob("*.tar"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    (disk / "rest").unlink()
    assert sorted(labels(Batches(shards, ["label.npy"], batch=5, order=Order(shards.counts, 0), stop=33))) == TRAIN


def test_a_cache_that_may_only_be_read_serves_what_it_holds(server, disk, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(disk / "cache"))
    shards = ShardSet(f"{server.url}/water", "train")
    shards.read(0)
    shards.close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    again = ShardSet(f"{server.url}/water", "train")
    assert again.read(0)["json"]["number"] == 0
    with pytest.raises(UserError, match=r"cannot be written to .Read-only file system.: make room or rights there, or"):
        again.read(10)
    with pytest.raises(UserError, match="cannot be written to"):
        ShardSet(f"{server.url}/water", "test").read(0)


def test_a_file_in_the_way_of_the_cache_is_one_line(server, water, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(water / "manifest.json" / "cache"))
    with pytest.raises(UserError, match=r"cannot be written to .Not a directory.: make room or rights there, or set W"):
        ShardSet(f"{server.url}/water", "train")


def test_plan_tells_what_comes_to_each_node(server, water, capsys):
    url, shards = f"{server.url}/water", Manifest.load(water).split("train")
    shard, _ = Order([shard.samples for shard in shards], 0).locate(0, 33)
    read_by = [{int(number) for place, number in enumerate(shard) if place % 8 // 4 == node} for node in range(2)]
    words = ["--processes", "4", "--batch", "8", "--nodes", "2", "--columns", "label.npy"]
    assert dispatch(["plan", url, *words]) == 0
    text = capsys.readouterr().out
    for node, numbers in enumerate(read_by):
        fetched = sum(shards[number].bytes for number in numbers) / 1e6
        assert f"node {node}: {fetched:.2f} MB an epoch fetched in whole tars, each once" in text
    assert f"the cache of each node must hold {least_cache(ShardSet(url, 'train'), 16) / 1e6:.2f} MB or more" in text
    assert server.gets(".tar") == {}
    assert dispatch(["plan", f"file://{water}", *words]) == 0
    assert "MB an epoch read" in capsys.readouterr().out


def test_info_and_check_take_urls_and_what_mends_wants_a_directory(server, tmp_path, capsys):
    url = f"{server.url}/water?token=hidden"
    assert dispatch(["info", url, "--out", str(tmp_path / "info")]) == 0
    assert "SYNTHETIC, 41 samples in 8 shards" in capsys.readouterr().out
    before = len(server.asked)
    assert dispatch(["check", url]) == 0
    assert "whole: 8 shards, 41 samples" in capsys.readouterr().out
    assert len(server.asked) == before + 2 + 2 * 8  # nothing comes from the cache
    server.faults["/water/water-train-000001.tar"] += [garbage] * 3
    server.faults["/water/water-test-000000.index.npy"] += [status(404)]
    assert dispatch(["check", url]) == 1
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0].startswith("water-test-000000.index.npy: http://127.0.0.1:")
    assert "there is no such file (404)" in lines[0]
    assert "water-train-000001.tar: " in lines[1]
    assert "its sha256 is" in lines[1]
    assert "hidden" not in told.out + told.err
    for words in (["repair", url, "--out", str(tmp_path / "new")], ["index", url]):
        with pytest.raises(UserError, match=f"is not a directory: {words[0]} needs one, so copy the set first"):
            dispatch(words)


def test_any_file_system_serves_a_set(water, tmp_path, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.put(str(water), "/sets/water", recursive=True)
    shards = ShardSet("memory://sets/water", "train")
    assert labels(Batches(shards, ["label.npy"], batch=5, order=Order.sequential(shards.counts), stop=33)) == TRAIN
    assert len(ShardSet(f"file://{water}", "train")) == 33
    with pytest.raises(UserError, match=r"gs://bucket/set/manifest\.json cannot be opened: pip install gcsfs"):
        ShardSet("gs://bucket/set", "train")


SMALL = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 16, "--images", 192, "--evaluate-every", 0]


def train_from_afar(tiles, tmp_path, processes):
    """Train on the tiles from here and from afar; no secret may be written, and the same must be read."""
    run("train", "water_vae", *SMALL, "--data", tiles, "--out", tmp_path / "near")
    with HostileServer(tiles.parent) as server:
        words = ["train", "water_vae", *SMALL, "--data", f"{server.url}/tiles?token=hidden", "--out", tmp_path / "far"]
        if processes == 1:
            run(*words)
        else:
            assert "hidden" not in finish(start(processes, *words))
        assert set(server.gets(".tar").values()) == set(server.gets(".npy").values()) == {1}
    for path in (tmp_path / "far").rglob("*"):
        assert path.is_dir() or b"hidden" not in path.read_bytes(), path
    assert json.loads((tmp_path / "far" / "run.json").read_text())["run"]["data"].endswith("/tiles?…")
    assert read_ledger(tmp_path / "far") == read_ledger(tmp_path / "near")


@pytest.mark.long
def test_a_run_trains_from_afar_as_from_here_and_no_secret_is_written(tiles, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    train_from_afar(tiles, tmp_path, 1)
    assert "hidden" not in "".join(capfd.readouterr())


@pytest.mark.long
def test_two_processes_train_from_afar_and_fetch_each_file_once(tiles, tmp_path, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    train_from_afar(tiles, tmp_path, 2)


def test_indexes_of_a_block_are_fetched_side_by_side_and_only_those(tmp_path, monkeypatch):
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    write_set(tmp_path / "water", samples=160, samples_per_shard=1)
    with HostileServer(tmp_path) as server:
        shards = ShardSet(f"{server.url}/water", "train")
        assert len(shards.shards) == 128
        server.latency = 0.05
        shards.require(["label.npy"], range(64))
        assert server.busiest >= 4  # 1 where they are fetched one after another
        assert len(server.gets(".npy")) == 64
        server.busiest = 0
        assert len([len(index) for index in shards.indexes]) == 128
        assert server.busiest >= 4
        assert set(server.gets(".npy").values()) == {1}


def test_waiting_for_indexes_is_told_and_its_seconds_are_counted_once(server, monkeypatch, capsys):
    monkeypatch.setattr(store_module, "LINE_SECONDS", 0.0)
    shards = ShardSet(f"{server.url}/water", "train")
    server.latency = 0.3
    began = time.monotonic()
    shards.require(["label.npy"], range(len(shards.shards)))
    assert server.latency <= shards.store.waited_seconds <= time.monotonic() - began
    assert f"waiting for {shards.store.name}" in capsys.readouterr().err


def test_a_tar_is_held_although_its_index_cannot_be_had(server):
    shards = ShardSet(f"{server.url}/water", "train")
    for path in (server.directory / "water").glob("*.index.npy"):
        path.unlink()
    fetching = shards.ahead(Order(shards.counts, 0, 2), 0)
    try:
        until(lambda: len(shards._files) == 4)  # two blocks
    finally:
        fetching.close()
