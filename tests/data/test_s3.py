"""A set in a bucket: the S3 protocol (HEAD, GET with Range, ListObjectsV2) by s3fs, from a small loopback server."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order

pytest.importorskip("s3fs", reason="needs s3fs, which is the user's own: pip install s3fs")


class Bucket(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gets: list[tuple[str, str | None]]

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        path, _, query = self.path.partition("?")
        file = self.root / path.strip("/")
        if "list-type=2" in query:
            content, status = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>", 200
        elif not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256"):
            content, status = b"<Error><Code>AccessDenied</Code></Error>", 403
        elif not file.is_file():
            content, status = b"<Error><Code>NoSuchKey</Code></Error>", 404
        else:
            content, status = file.read_bytes(), 200
        whole, asked = len(content), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if body and status == 200:
            self.gets.append((path, self.headers.get("Range")))
        first = 0
        if asked and status == 200:
            first, status = int(asked[1]), 206
            content = content[first : int(asked[2]) + 1 if asked[2] else None]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{first + len(content) - 1}/{whole}")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(water, tmp_path, monkeypatch):
    handler = type("Bound", (Bucket,), {"root": water.parent, "gets": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield handler
    server.shutdown()
    server.server_close()


def test_a_set_in_a_bucket_is_read_and_each_tar_is_fetched_once(bucket):
    shards = ShardSet("s3://water", "train")
    batches = Batches(shards, ["label.npy"], batch=5, order=Order.sequential(shards.counts), stop=33)
    labels = [label for loaded in batches for label in loaded.columns["label.npy"].tolist()]
    assert labels == [number for number in range(41) if number % 5 != 4]
    tars = [path for path, _ in bucket.gets if path.endswith(".tar")]
    assert len(tars) == len(set(tars)) == 6
