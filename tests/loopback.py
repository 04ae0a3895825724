"""An HTTP server on the loopback, and what the handlers of all such servers share."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import Self


class Loopback:
    """A service, as a context: requests wait from `listen` on and are answered within the block."""

    def listen(self, handler: type[Answering], name: str) -> None:
        """Bind a free port. The handlers know this service by the name."""
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {name: self}))
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


class Answering:
    """To be derived from before `BaseHTTPRequestHandler`: without a word of each request on the terminal."""

    protocol_version = "HTTP/1.1"

    def begin(self, status: int, length: int, **headers: str) -> None:
        """The status line and the headers, whose names are written with underscores."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
