"""Who asks Earth Engine, and where: credentials, projects, endpoints; and what goes wrong with them, in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import ee
import pytest
from key_files import key_file
from loopback_earthengine import Fault, serve
from programs import ROOT

from waterscape.errors import UserError
from waterscape.sources import earthengine
from waterscape.sources.earthengine import (
    EarthEngineError,
    RefusedError,
    UnreachableError,
    connect,
    disconnect,
    explained,
)
from waterscape.sources.web import Limits

QUICK = Limits(attempts=2, per_second=1000, first_pause=0.01, longest_pause=0.05, silent_seconds=30)


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """A machine on which nobody has signed in, and a client that nobody has initialised."""
    ee.Reset()
    for name in list(os.environ):
        if name.startswith(("EARTHENGINE", "GOOGLE", "CLOUDSDK")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    yield
    disconnect()
    ee.Reset()


@pytest.fixture
def tokens():
    """A server of tokens that has withdrawn this account's."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    server.server_close()


def test_it_connects_and_computes_anonymously_with_a_server_on_this_machine(monkeypatch):
    with serve() as server:
        monkeypatch.setenv("EARTHENGINE_URL", server.url)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-water")
        connect(None, limits=QUICK)
        assert ee.Number(1).add(2).getInfo() == 3
        assert server.count("projects/demo-water/value:compute") == 1


def test_a_client_that_the_user_initialised_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("EARTHENGINE_URL", "http://127.0.0.1:1")
    with serve() as server:
        server.connect("demo-water")
        before = ee.data._get_state().cloud_api_resource
        connect("demo-water")
        with pytest.raises(UserError, match="initialised for the project demo-water and stays so"):
            connect("another-project")
        disconnect()
        assert ee.data._get_state().cloud_api_resource is before
        assert ee.Number(1).add(2).getInfo() == 3


@pytest.mark.parametrize("answer", ["cut", "lost"])
def test_a_users_own_client_that_loses_its_server_is_told_in_one_line(answer):
    with serve(faults=[Fault("value", answer, times=9)]) as server:
        server.connect("demo-water")
        with pytest.raises(UnreachableError) as error, explained("doing it"):
            ee.Number(1).add(2).getInfo()
    assert str(error.value).startswith("doing it: ")
    assert str(error.value).endswith("; try again later")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("project", [None, ""])
def test_a_project_is_asked_for(project):
    with pytest.raises(UserError, match="counts work to a Google Cloud project: give --project NAME"):
        connect(project)


@pytest.mark.parametrize("project", ["Demo", "a/b", "-x", "my project", "projects/demo"])
def test_what_is_no_project_is_named(project):
    with pytest.raises(UserError, match="cannot be a project: give its ID"):
        connect(project)


@pytest.mark.parametrize("project", ["demo-water", "example.com:demo-water", "123456789"])
def test_nobody_signed_in_is_told(project):
    with pytest.raises(RefusedError, match=r"nobody has signed in to Earth Engine here, or .*: run `earthengine auth"):
        connect(project)
    assert not ee.data.is_initialized()


def signed_in(home, content='{"refresh_token": "very-secret"}'):
    """What `earthengine authenticate` leaves on a machine."""
    (home / ".config" / "earthengine").mkdir(parents=True)
    (home / ".config" / "earthengine" / "credentials").write_text(content)


@pytest.mark.parametrize("content", ["{", "[]", '"very-secret"', '{"refresh_token": "very-secret", "scopes": 1}'])
def test_a_damaged_sign_in_is_named_for_what_it_is(monkeypatch, tmp_path, content):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    signed_in(tmp_path, content)
    with pytest.raises(RefusedError, match="of `earthengine authenticate` on this machine cannot be read or used: run"):
        connect("demo-water")


def test_a_sign_in_that_expired_is_told(monkeypatch, tmp_path, tokens):
    monkeypatch.setattr(ee.oauth, "TOKEN_URI", tokens)
    signed_in(tmp_path)
    with pytest.raises(
        RefusedError, match="nobody has signed in to Earth Engine here, or the sign-in has expired: run"
    ):
        connect("demo-water")


def test_without_a_network_a_sign_in_is_not_called_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    signed_in(tmp_path)
    with pytest.raises(
        UnreachableError, match="connecting: Google cannot be reached to check the credentials"
    ) as error:
        connect("demo-water")
    assert str(error.value).endswith("; try again later")
    assert "very-secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_never_comes_does_not_keep_the_client(monkeypatch):
    with serve() as server, socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(ee.deprecation, "_DEPRECATED_ASSETS_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setattr(earthengine, "LIST_SECONDS", 0.2)
        monkeypatch.setenv("EARTHENGINE_URL", server.url)
        ee.deprecation.Reset()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            connect("demo-water", limits=QUICK)  # else it waits for ever
        assert socket.getdefaulttimeout() is None
        assert ee.Number(1).add(2).getInfo() == 3


@pytest.mark.parametrize("content", [None, "{", "{}", '{"type": "service_account", "private_key": "very-secret"}'])
def test_a_key_file_that_is_none_is_named_without_its_content(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(RefusedError, match="which is no key file of Google's that can be read") as error:
        connect("demo-water")
    assert "very-secret" not in str(error.value)
    assert error.value.__suppress_context__


def test_expired_credentials_are_told_without_secrets(monkeypatch, tmp_path, tokens, capfd):
    secret = key_file(tmp_path / "key.json", tokens).splitlines()[1]
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("EARTHENGINE_URL", "https://earthengine.invalid")
    with pytest.raises(RefusedError, match=r"the credentials are expired or were withdrawn .*revoked") as error:
        connect("demo-water", limits=QUICK)
    assert "\n" not in str(error.value)
    assert not ee.data.is_initialized()
    assert secret not in str(error.value) + "".join(capfd.readouterr())


def test_credentials_go_to_no_server_that_listens_in_clear(monkeypatch):
    for url in ("http://earthengine.example", "http://127.0.0.1.example:80", "ftp://localhost.example"):
        monkeypatch.setenv("EARTHENGINE_URL", url)
        with pytest.raises(UserError, match="EARTHENGINE_URL must be https://HOST"):
            connect("demo-water")


def test_a_server_that_cannot_be_reached_is_told_and_the_client_is_as_before(monkeypatch):
    monkeypatch.setenv("EARTHENGINE_URL", "http://127.0.0.1:1")
    with pytest.raises(EarthEngineError, match=r"connecting: .* 2 attempts, the last: ConnectError"):
        connect("demo-water", limits=QUICK)
    assert not ee.data.is_initialized()


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault("value", "error", 401, "Expired."), RefusedError, "doing it: the credentials are expired"),
        (Fault("value", "error", 403, "Not you."), RefusedError, "doing it: Earth Engine answers 403: Not you.: see "),
        (Fault("value", "error", 400, "No such band."), EarthEngineError, "Earth Engine answers 400: No such band."),
        (Fault("value", "error", 429, "Too many."), UnreachableError, r"2 attempts, the last: the server answers 429"),
        (
            Fault("value", "error", 403, "Quota exceeded."),
            UnreachableError,
            "2 attempts, the last: the server answers 403",
        ),
        (Fault("value", "cut"), UnreachableError, "2 attempts, the last: RemoteProtocolError"),
        (Fault("value", "slow", seconds=20), UnreachableError, "2 attempts, the last: no answer within 5 s"),
    ],
)
def test_what_the_service_says_is_told_in_one_line(monkeypatch, fault, kind, words):
    fault.times = 9
    limits = replace(QUICK, silent_seconds=5 if fault.answer == "slow" else 30)
    with serve(faults=[fault]) as server:
        monkeypatch.setenv("EARTHENGINE_URL", server.url)
        connect("demo-water", limits=limits)
        with pytest.raises(kind) as error, explained("doing it"):
            ee.Number(1).add(2).getInfo()
    assert words in str(error.value)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)


def test_the_client_is_imported_only_when_it_is_used():
    program = (
        "import sys, waterscape.sources.landsat.export, waterscape.sources.earthengine; print('ee' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_usual_limits_are_within_the_quota():
    assert earthengine.LIMITS.at_once < earthengine.MOST_AT_ONCE == 40
    assert earthengine.LIMITS.per_second <= 100
