"""The list of tasks on disk, and the queue on the servers, with images of a single number."""

from __future__ import annotations

import json
from dataclasses import replace

import ee
import numpy as np
import pytest
from loopback_earthengine import Assumptions, Fault, Raster, serve

from waterscape.errors import UserError
from waterscape.sources.earthengine import EarthEngineError
from waterscape.sources.server_tasks.exporter import Exporter
from waterscape.sources.server_tasks.task_list import Export, Task, TaskList

FOLDER = "projects/demo-water/assets/made"


@pytest.fixture
def service():
    """Start a loopback with an empty folder, and connect the client to it."""
    from contextlib import ExitStack

    with ExitStack() as running:

        def start(**options):
            server = running.enter_context(serve(containers={FOLDER: "FOLDER"}, **options))
            server.connect()
            return server

        yield start


def exports(count, **facts):
    def one(number):
        return Export(
            name=f"n{number}",
            asset=f"{FOLDER}/n{number}",
            image=lambda: ee.Image(number),
            region=lambda: ee.Geometry.Rectangle([10.01, 50.01, 10.02, 50.02], "EPSG:4326", False),
            crs="EPSG:4326",
            transform=(0.001, 0.0, 0.0, 0.0, -0.001, 0.0),
            **facts,
        )

    return [one(number) for number in range(count)]


def exporter(path, **options):
    return Exporter(TaskList(path / "tasks.jsonl"), "seed", first_pause=0.001, **options)


def ends(found):
    return {task.name: task.state for task in found}


def test_each_is_made_once_however_often_it_is_asked_for(service, tmp_path):
    server = service()
    first = exporter(tmp_path)
    assert set(ends(first.run(exports(3), set())).values()) == {"SUCCEEDED"}
    again = exporter(tmp_path)
    assert list(again.run(exports(3), set(server.exports.assets))) == []
    assert len(server.exports.operations) == 3
    assert server.exports.assets[f"{FOLDER}/n2"].bands["constant"].max() == 2
    del server.exports.assets[f"{FOLDER}/n1"]  # what somebody deleted is made again
    assert ends(exporter(tmp_path).run(exports(3), set(server.exports.assets))) == {"n1": "SUCCEEDED"}


def test_no_more_wait_than_may_and_those_of_others_count(service, tmp_path):
    server = service(running=1)
    other = exports(1)[0]
    for number in range(2):
        ee.batch.Export.image.toAsset(
            ee.Image(1), f"foreign{number}", f"{FOLDER}/foreign{number}", region=other.region(), scale=100
        ).start()
    most = 0
    for _ in exporter(tmp_path, most_queued=3).run(exports(4), set()):
        states = [operation.state for operation in server.exports.operations.values()]
        most = max(most, sum(state in ("PENDING", "RUNNING") for state in states))
    assert most <= 3
    assert sum(operation.state == "SUCCEEDED" for operation in server.exports.operations.values()) == 6


def test_a_full_queue_is_waited_for(service, tmp_path):
    server = service(most_queued=1)
    assert set(ends(exporter(tmp_path).run(exports(3), set())).values()) == {"SUCCEEDED"}
    assert server.count("image:export") > 3


@pytest.mark.parametrize("repeated", ["same operation", "refused"])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_stop_between_request_and_answer_starts_nothing_twice(service, tmp_path, repeated, lost):
    faults = [Fault("image:export", "lost", after=lost), Fault("/operations", after=1)]  # nor a list to find it in
    server = service(assumptions=Assumptions(repeated_request=repeated), faults=faults)
    begun = exporter(tmp_path)
    with pytest.raises(EarthEngineError, match="internal error"):  # whoever is stopped here has read no answer either
        list(begun.run(exports(2), set()))
    asked_for = [json.loads(line)["name"] for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    assert f"n{lost}" in asked_for
    assert set(ends(exporter(tmp_path).run(exports(2), set())).values()) == {"SUCCEEDED"}
    assert sorted(each.asset for each in server.exports.operations.values()) == [f"{FOLDER}/n0", f"{FOLDER}/n1"]


def test_what_exists_is_skipped_or_replaced(service, tmp_path):
    server = service()
    list(exporter(tmp_path).run(exports(1), set()))
    there = {f"{FOLDER}/n0"}
    (tmp_path / "other").mkdir()
    (skipped,) = exporter(tmp_path / "other").run(exports(1), there)
    assert (skipped.state, skipped.reason) == ("skipped", "the asset exists")
    assert TaskList(tmp_path / "other" / "tasks.jsonl").tasks == {"n0": skipped}
    assert ends(exporter(tmp_path / "other").run(exports(1), there)) == {"n0": "skipped"}  # and says so again
    replaced = exporter(tmp_path / "other")
    replaced.seed = "other"
    assert ends(replaced.run(exports(1, overwrite=True), there)) == {"n0": "SUCCEEDED"}
    assert len(server.exports.operations) == 2


@pytest.mark.parametrize("started", [False, True], ids=["before its task", "before its task has ended"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_asset_that_appears_meanwhile_is_left_or_replaced(service, tmp_path, started, overwrite):
    server = service(running=0 if started else 1)
    other = Raster({"constant": np.zeros((1, 1))}, "EPSG:4326", (0.001, 0.0, 10.0, 0.0, -0.001, 50.0))
    wanted = exports(2, overwrite=overwrite)
    looked = exporter(tmp_path).run(wanted, set())
    assert next(looked).name == "n0"
    if started:
        assert next(looked).name == "n1"
    server.exports.assets[f"{FOLDER}/n1"] = other
    server.exports.running = 1
    assert ends(looked)["n1"] == ("SUCCEEDED" if overwrite else "skipped")
    assert (server.exports.assets[f"{FOLDER}/n1"] is other) == (not overwrite)
    known = TaskList(tmp_path / "tasks.jsonl").tasks
    assert (known["n0"].state, known["n1"].reason) == ("SUCCEEDED", "" if overwrite else "the asset appeared meanwhile")
    if not overwrite:  # nothing is asked for, until it is gone
        asked = server.count("image:export")
        assert ends(exporter(tmp_path).run(wanted, set(server.exports.assets))) == {"n1": "skipped"}
        assert server.count("image:export") == asked
        del server.exports.assets[f"{FOLDER}/n1"]
        assert ends(exporter(tmp_path).run(wanted, set(server.exports.assets))) == {"n1": "SUCCEEDED"}


def test_passing_failures_are_tried_again_and_others_named(service, tmp_path):
    passing = Fault("n0", "fails", message="An internal error has occurred.", times=2)
    lasting = Fault("n1", "fails", message="User memory limit exceeded.")
    service(faults=[passing, lasting])
    assert ends(exporter(tmp_path).run(exports(2), set())) == {"n0": "SUCCEEDED", "n1": "FAILED"}
    tasks = TaskList(tmp_path / "tasks.jsonl").tasks
    assert (tasks["n0"].attempt, tasks["n1"].reason) == (3, "User memory limit exceeded.")
    assert ends(exporter(tmp_path).run(exports(2), {f"{FOLDER}/n0"})) == {"n1": "SUCCEEDED"}


def test_cancelled_by_somebody_is_told(service, tmp_path):
    service(running=0)
    looked = exporter(tmp_path).run(exports(1), set())
    started = next(looked)
    ee.data.cancelOperation(started.operation)
    assert ends(looked) == {"n0": "CANCELLED"}


def test_a_long_name_makes_a_description_that_the_service_takes(service, tmp_path):
    server = service()
    long = [replace(exports(1)[0], name=f"{'a' * 80}_{year}", asset=f"{FOLDER}/{year}") for year in (2019, 2020)]
    assert set(ends(exporter(tmp_path).run(long, set())).values()) == {"SUCCEEDED"}
    assert len({each.description for each in server.exports.operations.values()}) == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_task_that_the_service_forgot_is_told_by_its_asset(service, tmp_path, overwrite):
    server = service(running=0)
    wanted = exports(2, overwrite=overwrite)
    assert set(ends(exporter(tmp_path).run(wanted, set(), wait=False)).values()) == {"PENDING"}
    server.exports.operations.clear()
    server.exports.running = 2
    made = Raster({"constant": np.zeros((1, 1))}, "EPSG:4326", (0.001, 0.0, 10.0, 0.0, -0.001, 50.0))
    server.exports.assets[f"{FOLDER}/n0"] = made
    told = [(task.name, task.state, task.reason) for task in exporter(tmp_path).run(wanted, {f"{FOLDER}/n0"})]
    again = ("absent", "Earth Engine no longer knows its task")
    assert told[:2] == [("n0", *(again if overwrite else ("SUCCEEDED", ""))), ("n1", *again)]
    assert ends(TaskList(tmp_path / "tasks.jsonl").tasks.values()) == {"n0": "SUCCEEDED", "n1": "SUCCEEDED"}
    assert (server.exports.assets[f"{FOLDER}/n0"] is made) == (not overwrite)
    assert len(server.exports.operations) == 1 + overwrite


def test_a_service_that_forgets_every_task_is_asked_three_times(service, tmp_path):
    class Forgetful(dict):
        def __setitem__(self, *_):
            pass

    server = service()
    server.exports.operations = Forgetful()
    assert ends(exporter(tmp_path).run(exports(1), set())) == {"n0": "FAILED"}
    assert server.count("image:export") == 3


def test_a_list_survives_a_torn_line(tmp_path):
    path = tmp_path / "tasks.jsonl"
    tasks = TaskList(path)
    tasks.put(Task("a", "x/a", "SUCCEEDED"))
    tasks.close()
    with path.open("a") as file:
        file.write('{"name": "b", "ass')
    torn = TaskList(path)
    torn.put(Task("c", "x/c", "intended"))
    torn.close()
    assert {task.name: task.state for task in TaskList(path).tasks.values()} == {"a": "SUCCEEDED", "c": "intended"}
    (tmp_path / "notes.txt").write_text("buy milk\n")
    with pytest.raises(UserError, match="no list of tasks"):
        TaskList(tmp_path / "notes.txt")


def test_refusals_end_the_run_and_stay_on_the_list(service, tmp_path):
    service(faults=[Fault("image:export", status=403, message="Permission denied", after=1)])
    with pytest.raises(EarthEngineError, match="Permission denied"):
        list(exporter(tmp_path).run(exports(2), set()))
    assert ends(TaskList(tmp_path / "tasks.jsonl").tasks.values()) == {"n0": "PENDING", "n1": "intended"}
