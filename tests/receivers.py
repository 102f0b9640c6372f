"""Real servers of this machine that channels speak to: HTTP and SMTP, with answers as told."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cluster.session import free_port


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


@dataclass(frozen=True)
class Reply:
    """What to answer; `after` is waited for before anything is said."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    after: threading.Event | None = None
    endless: bool = False  # the body comes again and again, until nobody reads it


Answering = Callable[[Heard], Reply]


@dataclass
class Receiver:
    """An HTTP server that keeps what it hears, and can be away for a while on the same port."""

    answering: Answering = field(default=lambda _: Reply())
    port: int = field(default_factory=free_port)
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                heard = Heard(self.path, headers, body)
                reply = receiver.answering(heard)
                receiver.heard.append(heard)
                if reply.after is not None:
                    reply.after.wait(30)
                with contextlib.suppress(OSError):
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    if not reply.endless:
                        self.send_header("content-length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    while reply.endless:
                        self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextlib.contextmanager
def a_receiver(answering: Answering | None = None) -> Iterator[Receiver]:
    receiver = Receiver() if answering is None else Receiver(answering)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


class FakeSlack:
    """What Slack answers, as far as channels ask it: it gives out times, and remembers messages."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.ephemeral: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, heard: Heard) -> Reply:
        said = heard.json()
        with self._lock:
            match heard.path.rpartition("/")[2]:
                case "chat.postMessage":
                    stamp = f"1700000000.{len(self.messages):06}"
                    self.messages[stamp] = said
                    return _ok(channel=said["channel"], ts=stamp)
                case "chat.update":
                    if said["ts"] not in self.messages:
                        return Reply(body=b'{"ok": false, "error": "message_not_found"}')
                    self.messages[said["ts"]] = said
                    return _ok(channel=said["channel"], ts=said["ts"])
                case "chat.postEphemeral":
                    self.ephemeral.append(said)
                    return _ok()
                case "views.open":
                    self.views.append(said)
                    return _ok()
                case method:
                    return Reply(body=json.dumps({"ok": False, "error": method}).encode())


def _ok(**facts: object) -> Reply:
    return Reply(body=json.dumps({"ok": True, **facts}).encode())


# -- mail -----------------------------------------------------------------------------------------


@dataclass
class PostOffice:
    """An SMTP server that keeps what it takes. `refusal` is what it says to a letter instead."""

    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refusal: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)  # recipient -> what it is told
    signed_in: list[str] = field(default_factory=list)
    tls: bool = False
    port: int = field(default_factory=free_port)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name and shape
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        said = self.refused.get(address)
        if said is not None:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.refusal:
            return self.refusal
        content = envelope.content
        assert isinstance(content, bytes)
        self.tls = session.ssl is not None
        self.recipients.append(list(envelope.rcpt_tos))
        letter = message_from_bytes(content, policy=policy.default)
        self.letters.append(letter)
        return "250 OK"

    def authenticate(  # aiosmtpd's shape
        self, _server: object, _session: object, _envelope: object, _mechanism: str, proof: Any
    ) -> AuthResult:
        assert isinstance(proof, LoginPassword)
        self.signed_in.append(proof.login.decode())
        known = proof.password == b"open-sesame-7"
        return AuthResult(success=known, handled=known)  # else the server says 535 itself


@contextlib.contextmanager
def a_post_office(
    *, context: ssl.SSLContext | None = None, signs_in: bool = False, port: int | None = None
) -> Iterator[PostOffice]:
    """An SMTP server; with a context it offers STARTTLS, with `signs_in` it wants a password."""
    office = PostOffice() if port is None else PostOffice(port=port)
    controller = Controller(
        office,
        hostname="127.0.0.1",
        port=office.port,
        tls_context=context,
        require_starttls=context is not None,
        auth_required=signs_in,
        auth_require_tls=context is not None,
        authenticator=office.authenticate if signs_in else None,
    )
    controller.start()
    try:
        yield office
    finally:
        controller.stop()
