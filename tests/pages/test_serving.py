"""A page on loopback is for the person who started it: what websites, other programs and curious requests get."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess

import httpx
import pytest
from many_photos import write_ledger
from programs import run_tool
from review_server import reviewing
from starlette.routing import Route

from waterscape.pages.serving import HEADERS, Session, protected

PAGES = ["/", "/api/photos", "/api/progress", "/api/map", "/page/main.js", "/pictures/x/320", "/nothing"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with reviewing(write_ledger(tmp_path_factory.mktemp("serving"), photos=3, pictures=2)) as server:
        server.client = server.opened()
        yield server


def raw(server, text):
    """The answer to bytes that no well-behaved client sends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(text.encode())
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer.decode(errors="replace")


@pytest.mark.parametrize("path", PAGES)
def test_without_the_cookie_nothing_is_shown(server, path):
    answer = httpx.get(server.place + path)
    assert answer.status_code == 401
    assert len(answer.content) < 200
    assert httpx.get(server.place + path, cookies={f"waterscape-{server.port}": "guessed"}).status_code == 401


def test_the_token_opens_once_and_leaves_a_cookie_that_neither_scripts_nor_sites_can_use(server):
    link = server.link(1)
    assert httpx.get(link[:-1] + ("A" if link[-1] != "A" else "B")).status_code == 401
    assert httpx.head(link).status_code == 401  # whoever looks at links ahead does not use them up
    first = httpx.get(link)
    cookie = first.headers["set-cookie"]
    assert first.status_code == 200
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "domain" not in cookie.lower()
    assert link.partition("token=")[2] not in first.text
    assert httpx.get(link).status_code == 401
    assert server.link(2) != link  # another one for whoever lost the browser


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost@evil.example", "", "[::1]"],
)
def test_other_names_of_this_machine_are_refused_as_in_dns_rebinding(server, host):
    host = host.format(port=server.port)
    for path in ("/api/photos", server.link(1).partition(str(server.port))[2]):
        assert server.client.get(path, headers={"Host": host}).status_code in (400, 421)
    assert server.client.get("/api/photos").status_code == 200


def test_a_request_with_two_hosts_or_none_is_refused(server):
    assert " 400 " in raw(server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").splitlines()[0]
    two = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert raw(server, two).split()[1] in ("400", "421")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", ""]
)
def test_other_sites_change_and_read_nothing(server, origin):
    headers = {"Origin": origin.format(port=server.port)}
    assert server.client.post("/api/decisions", json=[], headers=headers).status_code == 403
    assert server.client.get("/api/photos", headers=headers).status_code == 403


def test_a_request_that_does_not_say_where_it_comes_from_changes_nothing(server):
    bare = httpx.Client(base_url=server.place, cookies=server.client.cookies)
    assert bare.post("/api/decisions", json=[]).status_code == 403
    assert bare.get("/api/photos").status_code == 200
    for site in ("cross-site", "same-site"):
        assert bare.get("/api/photos", headers={"Sec-Fetch-Site": site}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(server, kind):
    answer = server.client.post("/api/decisions", content="[]", headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_large_bodies_are_refused_declared_or_not(server):
    headers = {"Content-Type": "application/json"}
    assert server.client.post("/api/decisions", content=b" " * 100_000, headers=headers).status_code == 413

    def chunks():
        for _ in range(100):
            yield b" " * 10_000

    assert server.client.post("/api/decisions", content=chunks(), headers=headers).status_code == 413
    assert server.client.get("/api/photos?state=" + "x" * 9000).status_code == 414


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "{}", "[1]", '[{"photo": 1}]', "[" * 5000, '[{"photo":"a","verdict":"x"}]']
)
def test_garbage_is_told_in_a_line_without_a_traceback(server, body):
    answer = server.client.post("/api/decisions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/page/../desk.py",
            "/page/..%2fdesk.py",
            "/page/%2e%2e/desk.py",
            "/page//etc/passwd",
            "/page/%2fetc%2fpasswd",
        ),
        *("/pictures/..%2f..%2fphotos.db/320", "/pictures/%2fetc%2fpasswd/320", "/tiles/x/320?source=../../photos.db"),
        *("/photos.db", "/photos/painted-0.jpg", "/pictures/x/99999", "/page/__init__.py", "/page/desk.py%00.js"),
    ],
)
def test_tricks_with_paths_find_nothing(server, path):
    text = raw(
        server,
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Cookie: waterscape-{server.port}={server.client.cookies[f'waterscape-{server.port}']}\r\n\r\n",
    )
    assert text.split()[1] == "404"
    assert not any(secret in text for secret in ("root:", "SQLite", "import", "Traceback"))


def test_every_answer_forbids_foreign_scripts_frames_and_storing(server):
    for answer in (server.client.get("/"), server.client.get("/nothing"), httpx.get(server.place)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
    page = server.client.get("/").text
    assert "<script>" not in page
    assert " style=" not in page


def test_a_fault_of_ours_is_told_without_its_words_and_with_the_same_headers():
    def broken(_):
        raise ZeroDivisionError("something secret")

    session = Session(1, lambda _: None)
    app = protected([Route("/broken", broken)], session)

    async def answer():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
            await client.get(session.url)
            return await client.get("/broken")

    answer = asyncio.run(answer())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_it_listens_on_loopback_alone(server):
    lines = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]  # noqa: PTH123, SIM115
    listening = {fields[1] for fields in lines if fields[3] == "0A"}
    assert {one for one in listening if one.endswith(f":{server.port:04X}")} == {f"0100007F:{server.port:04X}"}


def test_a_port_in_use_is_told_and_ctrl_c_stops_at_once(tmp_path):
    ledger = write_ledger(tmp_path / "set", photos=2, pictures=1)
    with reviewing(ledger) as server:
        code, _, said = run_tool("review_photos", ledger, "--port", server.port)
        assert (code, said.count("\n")) == (1, 1)
        assert "--port" in said
        client = server.opened()
        client.get("/api/progress")  # leaves a connection open
        server.process.send_signal(signal.SIGINT)
        try:
            assert server.process.wait(10) == 0
        except subprocess.TimeoutExpired:
            pytest.fail("still running")
        said = server.told()
        assert said.endswith("stopped\n")
        assert "Traceback" not in said
