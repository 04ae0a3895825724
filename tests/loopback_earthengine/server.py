"""The service's HTTP, on the loopback: discovery, algorithms, values, pixels, exports, operations, assets."""

from __future__ import annotations

import json
import re
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_earthengine import pixel_files, signatures
from loopback_earthengine.assumptions import Assumptions
from loopback_earthengine.evaluator import Expression
from loopback_earthengine.exports import Exports, Operation
from loopback_earthengine.faults import Fault, ServiceError
from loopback_earthengine.images import Image, Raster
from loopback_earthengine.operations import World
from loopback_earthengine.values import answer, as_image

LARGEST_REQUEST = 10 * 2**20
"""Bytes of a request's JSON."""


class Server:
    """A running loopback: its `url`, what it was asked and answered (path, bytes), and what it holds (`exports`).

    `most_at_once` requests were under way at a moment: had come, and had not begun to be answered.
    """

    def __init__(self, world: World, exports: Exports, faults: Sequence[Fault]) -> None:
        self.world, self.exports, self.faults = world, exports, list(faults)
        self.requests: list[tuple[str, int]] = []
        self.answers: list[tuple[str, int]] = []
        self.under_way = self.most_at_once = 0
        self.lock, self._counting = threading.Lock(), threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"service": self}))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def connect(self, project: str = "demo-water") -> None:
        """Initialise the real client for this server, anonymously."""
        import ee
        from google.auth.credentials import AnonymousCredentials

        ee.Reset()
        ee.data.setMaxRetries(0)  # a refusal is one at once
        ee.Initialize(credentials=AnonymousCredentials(), project=project, url=self.url)

    def count(self, path: str) -> int:
        """How many requests had this in their path."""
        return sum(path in asked for asked, _ in self.requests)

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Mapping[str, Any]) -> Any:
        """What a request is answered with: JSON, or bytes with their type. Raises `ServiceError`."""
        if path.startswith("/$discovery/"):
            return json.loads((signatures.WHEEL / "cloud_api_discovery_document.json").read_text())
        path = re.sub(r"^/v1(alpha|beta)?/", "", path)
        if method == "GET" and path.endswith("/algorithms"):
            return {"algorithms": list(signatures.algorithms().values())}
        if method == "POST" and path.endswith("/value:compute"):
            return {"result": answer(self.value(body))}
        if method == "POST" and path.endswith("/image:computePixels"):
            return pixel_files.compute(body, as_image(self.value(body)), self.world.assumptions)
        if method == "POST" and path.endswith("/image:export"):
            return self._export(path, body)
        if "/operations" in path:
            return self._operations(method, path, query)
        if "/assets" in path or path.endswith(":listAssets"):
            return self._assets(method, path, query, body)
        raise ServiceError(404, f"The loopback has no {method} {path}.")

    def count_under_way(self, more: int) -> None:
        """One has come (1), or is about to be answered (−1)."""
        with self._counting:
            self.under_way += more
            self.most_at_once = max(self.most_at_once, self.under_way)

    def value(self, body: Mapping[str, Any]) -> Any:
        """The value of the expression of a request."""
        return Expression(body["expression"], self.world).value()

    def _export(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        def image() -> Image:
            return as_image(self.value(body))

        operation: Operation = self.exports.start(path.split("/")[1], body, image)
        for fault in self.faults:
            if fault.answer == "fails" and fault.befalls(body.get("description", "") + path):
                operation.fails = fault.message
        return operation.described()

    def _operations(self, method: str, path: str, query: Mapping[str, list[str]]) -> dict[str, Any]:
        if method == "POST" and path.endswith(":cancel"):
            self.exports.cancel(path.removesuffix(":cancel"))
            return {}
        if method == "GET":
            self.exports.tick()
            if not path.endswith("/operations"):
                return self.exports.find(path).described()
            every = [operation.described() for operation in self.exports.operations.values()][::-1]
            size, start = int(query.get("pageSize", ["100"])[0]), int(query.get("pageToken", ["0"])[0])
            more = {"nextPageToken": str(start + size)} if start + size < len(every) else {}
            return {"operations": every[start : start + size], **more}
        raise ServiceError(404, f"The loopback has no {method} {path}.")

    def _assets(self, method: str, path: str, query: Mapping[str, list[str]], body: Mapping[str, Any]) -> dict:
        if path.endswith(":listAssets"):
            name = path.removesuffix(":listAssets")
            return {"assets": self.exports.listed(name if "/assets" in name else f"{name}/assets")}
        if method == "GET":
            return self.exports.described(path)
        if method == "DELETE":
            self.exports.delete(path)
            return {}
        if method == "POST" and path.endswith("/assets"):
            return self.exports.create(f"{path}/{query['assetId'][0]}", body.get("type", "FOLDER"))
        raise ServiceError(404, f"The loopback has no {method} {path}.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Server

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, *_: Any) -> None:
        """No lines in the tests' output."""

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.service.requests.append((f"{method} {path}", len(text)))
        self.service.count_under_way(1)
        try:
            fault, status, made = self._made(method, path, parse_qs(url.query), text)
        finally:
            self.service.count_under_way(-1)
        if fault and fault.answer == "lost":
            self.close_connection = True
            self.connection.close()
            return
        self._send(status, made, cut=bool(fault and fault.answer == "cut"))

    def _made(
        self, method: str, path: str, query: Mapping[str, list[str]], text: bytes
    ) -> tuple[Fault | None, int, Any]:
        """What befalls a request, and what it is answered with."""
        befallen = [f for f in self.service.faults if f.answer != "fails" and f.befalls(f"{method} {path}")]
        fault = befallen[0] if befallen else None
        if fault and fault.gate:
            fault.gate.wait()
        if fault and fault.seconds:
            time.sleep(fault.seconds)
        if fault and fault.answer == "error":
            return fault, fault.status, ServiceError(fault.status, fault.message).body()
        status, made = self._answer(method, path, query, text)
        if fault and fault.answer == "nonsense":
            made = (b"<html>Sorry, something went wrong.</html>", "text/html")
        return fault, status, made

    def _answer(self, method: str, path: str, query: Mapping[str, list[str]], text: bytes) -> tuple[int, Any]:
        try:
            if len(text) > LARGEST_REQUEST:
                message = f"Request payload size exceeds the limit: {LARGEST_REQUEST} bytes."
                raise ServiceError(400, message)
            with self.service.lock:
                return 200, self.service.answer(method, path, query, json.loads(text) if text else {})
        except ServiceError as error:
            return error.status, error.body()
        except Exception:  # a fault of the loopback itself: say where
            return 500, ServiceError(500, f"the loopback failed: {traceback.format_exc()}").body()

    def _send(self, status: int, made: Any, cut: bool = False) -> None:
        body, kind = made if isinstance(made, tuple) else (json.dumps(made).encode(), "application/json; charset=UTF-8")
        self.service.answers.append((self.path, len(body)))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()
        except OSError:
            self.close_connection = True  # the client did not wait


@contextmanager
def serve(
    assets: Mapping[str, Raster] | None = None,
    collections: Mapping[str, Sequence[Raster]] | None = None,
    faults: Iterable[Fault] = (),
    assumptions: Assumptions | None = None,
    **exports: Any,
) -> Iterator[Server]:
    """A loopback Earth Engine that answers until the block ends.

    Args:
        assets: images by asset name.
        collections: images of each collection, by its name; or features of a table.
        faults: what goes wrong.
        assumptions: the world; by default the assumed one.
        exports: `running`, `polls`, `most_queued`, `drive` of `Exports`; `containers` that exist (name → type).
    """
    held = dict(assets or {})
    world = World(held, collections or {}, assumptions or Assumptions())
    server = Server(world, Exports(world, held, **exports), list(faults))
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
