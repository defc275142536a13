"""A stand-in for S3 that fails when told to: a proxy on this machine before another stand-in."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

#: What a store says in words where it refuses or fails.
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{words}</Message></Error>"


@dataclass(frozen=True)
class Failure:
    """What goes wrong with a request."""

    status: int | None = None  #: that is answered; None: the answer is that of the store
    code: str = ""  #: of S3, for the status
    words: str = "as the test wants it"  #: of S3, for the status
    bytes: int | None = None  #: after so many of the body the connection is cut
    silent: bool = False  #: there is no answer until the client leaves


@dataclass
class Proxy:
    """What is asked of the store, and what is answered.

    Args:
        store: address of the store behind it.
        fails: called with method and path; what goes wrong with this request, if anything.
    """

    store: str
    fails: Callable[[str, str], Failure | None] = lambda method, path: None
    page: int | None = None  #: keys in a page of a listing; None: as the store has it
    requests: list[tuple[str, str]] = field(default_factory=list)  #: method and path, in order
    address: str = ""

    def asked(self, method: str, part: str = "") -> int:
        """How many requests of a method have a part in their path."""
        return sum(m == method and part in path for m, path in list(self.requests))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    closing: threading.Event

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.requests.append((self.command, self.path))
        failure = self.proxy.fails(self.command, self.path) or Failure()
        if failure.silent:
            self.closing.wait(60)
            self.close_connection = True
            return
        if failure.status is not None:
            text = _ERROR.format(code=failure.code, words=failure.words).encode()
            self._answer(failure.status, [], b"" if self.command == "HEAD" else text, len(text))
            return
        to = urlsplit(self.proxy.store)
        with_host = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        connection = http.client.HTTPConnection(str(to.hostname), to.port, timeout=60)
        try:
            paged = self.proxy.page and "list-type=2" in self.path and "max-keys" not in self.path
            path = f"{self.path}&max-keys={self.proxy.page}" if paged else self.path
            connection.request(self.command, path, body, with_host)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _OWN]
        length = int(answer.headers.get("Content-Length") or len(data))
        if failure.bytes is not None:
            self._answer(answer.status, kept, data[: failure.bytes], length)
            self.close_connection = True
        else:
            self._answer(answer.status, kept, data, length)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, length: int
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at what was asked."""


#: Headers that the proxy writes itself.
_OWN = ("content-length", "connection", "transfer-encoding", "date", "server")


@contextmanager
def proxy(store: str) -> Iterator[Proxy]:
    """A proxy before the store at an address."""
    made = Proxy(store)
    closing = threading.Event()
    handler = type("Handler", (_Handler,), {"proxy": made, "closing": closing})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


#: What decides by method and path what goes wrong with a request, if anything.
Fails = Callable[[str, str], Failure | None]


def failing(failure: Failure, method: str, part: str, after: int = 0, times: int = 10**9) -> Fails:
    """Fails requests of a method that have a part in their path: so many, after the first few."""
    seen = 0

    def fails(asked: str, path: str) -> Failure | None:
        nonlocal seen
        if asked != method or part not in path:
            return None
        seen += 1
        return failure if after < seen <= after + times else None

    return fails
