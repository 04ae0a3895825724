"""Earth Engine as only a service account reaches it: a server of tokens, and TLS before a loopback."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from loopback import Answering, Loopback

HOST = "earthengine.example"
TOKEN = "a-token-for-an-hour"


class Tokens(Loopback):
    """Gives a token to whoever asks with signed claims, which it keeps."""

    def __init__(self):
        self.claims = []
        self.listen(_Tokens, "tokens")


class _Tokens(Answering, BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        claims = form["assertion"][0].split(".")[1]
        self.tokens.claims.append(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))))
        body = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.begin(200, len(body), Content_Type="application/json")
        self.wfile.write(body)


class Front(Loopback):
    """A proxy, at which the way to `HOST` ends: TLS is taken off there, and who bears the token gets to a loopback."""

    def __init__(self, certificate, behind):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.behind, self.let_in = urlsplit(behind).netloc, 0
        self.listen(_Front, "front")


class _Front(Answering, BaseHTTPRequestHandler):
    def do_CONNECT(self):
        if self.path != f"{HOST}:443":
            self.send_error(502)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.connection = self.front.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def do_GET(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            body = json.dumps({"error": {"code": 401, "message": "Request is missing credentials."}}).encode()
            self.begin(401, len(body), Content_Type="application/json")
            self.wfile.write(body)
            return
        self.front.let_in += 1
        behind = http.client.HTTPConnection(self.front.behind)
        behind.request(self.command, self.path, content, dict(self.headers))
        answer = behind.getresponse()
        body = answer.read()
        self.begin(answer.status, len(body), Content_Type=answer.headers["Content-Type"])
        self.wfile.write(body)
        behind.close()

    def do_POST(self):
        self.do_GET()
