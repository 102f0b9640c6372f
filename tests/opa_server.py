"""An OPA server as somebody else would run it: a double that speaks the data API over real sockets.

It evaluates with the embedded library, and says what OPA says: `result` left out when undefined, a
500 `internal_error` when a built-in fails under `strict-builtin-errors`, `provenance` when asked
for, 400 `invalid_parameter` for what is no input. `fault` makes it misbehave from then on:

    with OpaServer(bundle) as server:
        engine = RestEngine(server.url, expected_revision=bundle.revision)
        server.fault = Fault(status=500, body=b"oops")
"""

from __future__ import annotations

import socketserver
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import orjson

from cluster.opa.engine import ENTRYPOINT, Bundle, EvaluationError, UndefinedError
from cluster.opa.native import NativeEngine

HANG_S: Final = 30.0


@dataclass(frozen=True)
class Fault:
    """What the server does in place of answering; a `delay_s` alone answers late."""

    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    hangs: bool = False
    drops: bool = False
    half: bool = False  # promises a body and closes in the middle of it


class OpaServer:
    """Serves one bundle on a free port, or on a unix socket."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        entrypoint: str = ENTRYPOINT,
        token: str | None = None,
        socket: Path | None = None,
    ) -> None:
        self.revision: str | None = bundle.revision
        self.token = token
        self.fault: Fault | None = None
        self.requests: list[str] = []
        self.connections = 0
        self.path = "/v1/data/" + entrypoint.replace(".", "/")
        self.woken = threading.Event()
        self._engine = NativeEngine(bundle, entrypoint)
        self._lock = threading.Lock()
        made = (
            _UnixServer(str(socket), _Handler) if socket else _TcpServer(("127.0.0.1", 0), _Handler)
        )
        made.opa = self
        self._server = made
        port = made.socket.getsockname()[1]
        self.url = f"unix://{socket}" if socket else f"http://127.0.0.1:{port}"
        self._thread = threading.Thread(
            target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.woken.set()
        self._server.shutdown()
        self._server.server_close()

    def evaluate(self, document: bytes) -> object:
        with self._lock:
            return self._engine.evaluate(document)


class _TcpServer(ThreadingHTTPServer):
    opa: OpaServer
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what these tests are about."""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    opa: OpaServer
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write an answer

    def setup(self) -> None:
        super().setup()
        self._opa.connections += 1

    @property
    def _opa(self) -> OpaServer:
        return cast("_TcpServer", self.server).opa

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        if self._misbehaved():
            return
        self._answer(200, {} if urlsplit(self.path).path == "/health" else {"result": {}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        url = urlsplit(self.path)
        options = parse_qs(url.query, keep_blank_values=True)
        self._opa.requests.append(self.path)
        if self._misbehaved():
            return
        if self._opa.token and self.headers.get("Authorization") != f"Bearer {self._opa.token}":
            message = "request rejected by administrative policy"
            self._answer(401, {"code": "unauthorized", "message": message})
            return
        self._answer(*self._decide(url.path, body, options))

    def _decide(self, path: str, body: bytes, options: dict[str, list[str]]) -> tuple[int, Any]:
        answer: dict[str, object] = {}
        if _asked(options, "provenance"):
            answer["provenance"] = self._provenance()
        try:
            document = orjson.loads(body)["input"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            message = "body contains malformed input document: invalid JSON"
            return 400, {"code": "invalid_parameter", "message": message}
        if path != self._opa.path:
            return 200, answer
        try:
            answer["result"] = self._opa.evaluate(orjson.dumps(document))
        except UndefinedError:
            pass
        except EvaluationError as error:
            if _asked(options, "strict-builtin-errors"):
                return 500, _internal_error(error)
        return 200, answer

    def _provenance(self) -> dict[str, object]:
        built = {
            "version": "1.20.2",
            "build_commit": "",
            "build_timestamp": "",
            "build_hostname": "",
        }
        if self._opa.revision is None:
            return dict(built)
        return built | {"bundles": {"governance": {"revision": self._opa.revision}}}

    def _misbehaved(self) -> bool:
        fault = self._opa.fault
        if fault is None:
            return False
        time.sleep(fault.delay_s)
        if fault.hangs:
            self._opa.woken.wait(HANG_S)
        elif fault.half:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        elif fault.status:
            self._write(fault.status, fault.body, fault.headers)
            return True
        elif not fault.drops:
            return False
        self.close_connection = True
        return True

    def _answer(self, status: int, fields: Any) -> None:
        self._write(status, orjson.dumps(fields), (("Content-Type", "application/json"),))

    def _write(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """The base class asks for a port that a unix socket does not have."""
        return "client"


def _asked(options: dict[str, list[str]], name: str) -> bool:
    return options.get(name, ["false"])[-1] in ("", "true")


def _internal_error(error: EvaluationError) -> dict[str, object]:
    location = {"file": "governance.rego", "row": 1, "col": 1}
    return {
        "code": "internal_error",
        "message": "error(s) occurred while evaluating query",
        "errors": [{"code": "eval_builtin_error", "message": error.detail, "location": location}],
    }
