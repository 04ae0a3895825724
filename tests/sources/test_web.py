"""Requests to a server that misbehaves: bounded patience, few at a time, nothing astray, no secrets told."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hostile_server import HostileServer, announce, break_off, hang, redirect, serve, status
from waiting import until

from waterscape.sources.web import Limits, Web, WebError

QUICK = Limits(at_once=4, per_second=1000, attempts=3, first_pause=0.01, longest_pause=0.05, silent_seconds=30)
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with HostileServer(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    ("faults", "seconds"),
    [
        ([status(500), status(503)], 30),
        ([status(429)], 30),
        ([break_off(1000)], 30),
        ([announce(50)], 30),
        ([hang(0.01)], 30),
        ([hang(20)], 5),
    ],
    ids=["500", "429", "cut", "short", "closed", "slow"],
)
def test_what_may_go_better_is_asked_for_again(server, faults, seconds):
    server.faults["/a.bin"] += faults
    with Web(replace(QUICK, silent_seconds=seconds)) as web:
        assert web.get(f"{server.url}/a.bin") == CONTENT
    assert server.gets()["/a.bin"] == len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (hang(20), "no answer within"),
        (status(429, **{"Retry-After": "100"}), "the server answers 429"),
        (status(500), "attempts, the last: "),
    ],
    ids=["hangs", "rests", "fails"],
)
def test_all_attempts_and_pauses_have_one_deadline(server, fault, words):
    server.faults["/a.bin"] += [fault] * 200
    hurried = replace(QUICK, attempts=1000, silent_seconds=60, total_seconds=1)
    began = time.monotonic()
    with Web(hurried) as web, pytest.raises(WebError, match=words) as error:
        web.get(f"{server.url}/a.bin")
    assert not error.value.final
    assert time.monotonic() - began < 8


def test_a_host_that_rests_beyond_the_deadline_is_not_asked_and_not_waited_for(server):
    server.faults["/a.bin"].append(status(429, **{"Retry-After": "100"}))
    with Web(replace(QUICK, total_seconds=20)) as web:
        for words in ("the server answers 429", "the server wants no request for"):
            with pytest.raises(WebError, match=words):
                web.get(f"{server.url}/a.bin")
    assert server.gets()["/a.bin"] == 1


@pytest.mark.parametrize(
    ("fault", "words", "asked"),
    [
        (status(500), "3 attempts, the last: the server answers 500 (sorry)", 3),
        (status(429), "3 attempts, the last: the server answers 429 (sorry)", 3),
        (status(403), "the server answers 403 (sorry)", 1),
        (status(400), "the server answers 400 (sorry)", 1),
        (announce(5), "3 attempts, the last: RemoteProtocolError", 3),
        (redirect("http://169.254.169.254/latest/meta-data"), "redirects to http://169.254.169.254, which is not", 1),
        (redirect("http://127.0.0.1:1/a"), "redirects to http://127.0.0.1, which is not followed", 1),
        (redirect("//elsewhere.example/a?token=hidden"), "redirects to http://elsewhere.example, which is not", 1),
        (redirect("file:///etc/passwd"), "redirects to file://, which is not followed", 1),
        (redirect(""), "redirects to nowhere, which is not followed", 1),
        (redirect("/a.bin"), "more than 5 redirects", 6),
    ],
)
def test_patience_is_bounded_and_redirects_lead_nowhere_else(server, fault, words, asked):
    server.faults["/a.bin"] += [fault] * 200
    with Web(QUICK) as web, pytest.raises(WebError) as error:
        web.get(f"{server.url}/a.bin?token=hidden", {"Authorization": "Bearer very-secret"})
    assert words in str(error.value)
    assert "hidden" not in str(error.value)
    assert server.gets()["/a.bin"] == asked


def test_a_redirect_on_the_same_host_is_followed(server):
    server.faults["/b.bin"] += [redirect("/a.bin")]
    with Web(QUICK) as web:
        assert web.get(f"{server.url}/b.bin") == CONTENT


def test_the_server_says_how_long_to_wait_and_all_requests_do(server):
    server.faults["/a.bin"] += [status(429, Retry_After="1")]
    began = time.monotonic()
    with Web(QUICK) as web, ThreadPoolExecutor(3) as pool:
        first = pool.submit(web.get, f"{server.url}/a.bin")
        until(lambda: server.asked)
        time.sleep(0.1)
        others = [pool.submit(web.get, f"{server.url}/a.bin") for _ in range(2)]
        assert all(each.result() == CONTENT for each in [first, *others])
    assert 1 <= time.monotonic() - began < 20


def test_no_more_at_once_nor_in_a_second_than_agreed(server):
    now, most = [0], [0]
    lock = threading.Lock()

    def counted(handler, content):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        serve(handler, content)

    server.faults["/a.bin"] += [counted] * 12
    limits = Limits(at_once=2, per_second=20, attempts=1)
    began = time.monotonic()
    with Web(limits) as web, ThreadPoolExecutor(12) as pool:
        list(pool.map(web.get, [f"{server.url}/a.bin"] * 12))
    assert most[0] <= 2
    assert time.monotonic() - began >= 11 / 20


def test_an_answer_that_is_too_long_is_not_read(server):
    with Web(Limits(most_bytes=1000, attempts=3)) as web, pytest.raises(WebError, match="longer than 1000 bytes"):
        web.get(f"{server.url}/a.bin")
    sent = []

    def endless(handler, _):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b"x" * 1000)
            sent.append(1000)

    server.faults["/a.bin"] += [endless]
    with Web(Limits(most_bytes=100_000, attempts=3)) as web, pytest.raises(WebError, match="longer than 100000 bytes"):
        web.get(f"{server.url}/a.bin")
    assert server.gets()["/a.bin"] == 2


def test_what_is_compressed_is_not_unpacked(server):
    bomb = CONTENT
    for _ in range(2):
        bomb = gzip.compress(bomb)
    server.faults["/a.bin"] += [lambda handler, _: handler.answer(200, bomb, Content_Encoding="gzip, gzip")]
    with Web(QUICK) as web, pytest.raises(WebError, match=r"the answer is compressed \(gzip, gzip\)") as error:
        web.request("GET", f"{server.url}/a.bin", {"accept-encoding": "gzip, deflate"})
    assert error.value.final
    (asked,) = server.asked
    assert asked.headers["accept-encoding"] == "identity"


def test_a_server_that_sends_drop_by_drop_holds_nobody(server):
    def drip(handler, content):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for place in range(600):
            handler.wfile.write(content[place : place + 1])
            time.sleep(0.1)

    server.faults["/a.bin"] += [drip]
    began = time.monotonic()
    with Web(replace(QUICK, silent_seconds=0.5)) as web:
        assert web.get(f"{server.url}/a.bin") == CONTENT
    assert time.monotonic() - began < 30  # of a minute that it would drip
    assert server.gets()["/a.bin"] == 2


def test_secrets_stay_out_of_errors_and_logs(server, caplog):
    caplog.set_level(logging.DEBUG)

    def echo(handler, _):
        handler.answer(403, f"no: {handler.headers['Authorization']} {handler.path}".encode())

    server.faults["/a.bin"] += [status(500), echo]
    url = server.url.replace("http://", "http://zoe:password@") + "/a.bin?access_token=hidden&v=1"
    with Web(QUICK) as web, pytest.raises(WebError) as error:
        web.get(url, {"Authorization": "Bearer very-secret"})
    told = str(error.value) + caplog.text
    assert "the server answers 403" in told
    for secret in ("very-secret", "hidden", "password"):
        assert secret not in told


def test_once_closed_nothing_more_is_asked_for(server):
    server.faults["/a.bin"] += [hang(0.5)]
    web = Web(QUICK)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(web.get, f"{server.url}/a.bin")
        until(lambda: server.asked)
        web.close()
        with pytest.raises(WebError):
            waiting.result()
    with pytest.raises(WebError, match="given up"):
        web.get(f"{server.url}/a.bin")
    assert server.gets()["/a.bin"] == 1
