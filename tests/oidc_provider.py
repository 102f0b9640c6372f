"""A real identity provider on this machine: discovery, a page to sign in on, codes, signed tokens.

It checks what a provider must (client, redirect, PKCE, each code once), and lies when told to.
"""

from __future__ import annotations

import html
import json
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256, sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit
from uuid import uuid4

import httpx
from token_builders import GONE, Signer, a_jwks, a_signer

CLIENT_ID: Final = "console"
CLIENT_SECRET: Final = "a client's own, with a / and a +"


@dataclass
class Lies:
    """What the provider says instead of the truth; a change to `GONE` leaves it out."""

    discovery: dict[str, object] = field(default_factory=dict)
    id_claims: dict[str, object] = field(default_factory=dict)
    access_claims: dict[str, object] = field(default_factory=dict)
    tokens: dict[str, object] = field(default_factory=dict)
    signer: Signer | None = None  # signs ID tokens with another key
    iss: str | None = None  # in the answer to the browser; empty for none
    status: int | None = None  # of every answer
    error: str | None = None  # refuses to sign in
    moved: bool = False  # sends who asks to another address, where the truth is
    held: threading.Event | None = None  # answers nothing before this is set


@dataclass
class Provider:
    """One provider and the person who sits in front of it."""

    url: str
    now: Callable[[], datetime]
    signer: Signer
    person: dict[str, object]
    secret: str | None = CLIENT_SECRET
    methods: list[str] = field(default_factory=lambda: ["client_secret_basic"])
    lies: Lies = field(default_factory=Lies)
    asked: list[dict[str, str]] = field(default_factory=list)
    redeemed: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def discovery(self) -> dict[str, object]:
        return _changed(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize?theme=plain",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": self.methods,
                "authorization_response_iss_parameter_supported": True,
            },
            self.lies.discovery,
        )

    def access_token(self, **claims: object) -> str:
        """A token for the bus, as the person gets one."""
        now_s = int(self.now().timestamp())
        sound: dict[str, Any] = {
            "iss": self.url,
            "aud": ["acgs", "other"],
            "iat": now_s,
            "exp": now_s + 3600,
            "jti": uuid4().hex,
            **self.person,
        }
        return self.signer.token({"typ": "at+jwt"}, **{**sound, **claims})

    def authorized(self, query: Mapping[str, str]) -> str:
        """Where the browser goes once the person has agreed."""
        self.asked.append(dict(query))
        back: dict[str, str] = {"state": query["state"]}
        iss = self.url if self.lies.iss is None else self.lies.iss
        if iss:
            back["iss"] = iss
        if self.lies.error:
            back["error"] = self.lies.error
        else:
            back["code"] = token_urlsafe(24)
            self._codes[back["code"]] = dict(query)
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def redeem(self, form: Mapping[str, str], authorization: str) -> tuple[int, dict[str, object]]:
        """The answer to a code."""
        self.redeemed.append(dict(form))
        if not self._is_client(form, authorization):
            return 401, {"error": "invalid_client"}
        query = self._codes.pop(form.get("code", ""), None)
        challenge = _base64url(sha256(form.get("code_verifier", "").encode()).digest())
        if (
            query is None
            or query["redirect_uri"] != form.get("redirect_uri")
            or (query["code_challenge"], query["code_challenge_method"]) != (challenge, "S256")
        ):
            return 400, {"error": "invalid_grant"}
        access = self.access_token(**self.lies.access_claims)
        answer = {
            "access_token": access,
            "id_token": self._id_token(query, access),
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return 200, _changed(answer, self.lies.tokens)

    def approve(self, address: str) -> str:
        """Sign in as the person, over HTTP as a browser does; return where one is sent back to."""
        with httpx.Client() as browser:
            page = browser.get(address)
            assert page.status_code == httpx.codes.OK, page.text
            answer = browser.post(f"{self.url}/authorize", data=dict(parse_qsl(_query(address))))
            assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
            return answer.headers["location"]

    def _is_client(self, form: Mapping[str, str], authorization: str) -> bool:
        if self.secret is None:
            return not authorization and form.get("client_id") == CLIENT_ID
        if "client_secret_basic" in self.methods:
            scheme, _, pair = authorization.partition(" ")
            known = b64decode(pair).decode().split(":")
            wanted = [CLIENT_ID, self.secret]
            return scheme == "Basic" and [unquote_plus(part) for part in known] == wanted
        posted = form.get("client_id"), form.get("client_secret")
        return not authorization and posted == (CLIENT_ID, self.secret)

    def _id_token(self, query: Mapping[str, str], access: str) -> str:
        now_s = int(self.now().timestamp())
        signer = self.lies.signer or self.signer
        digest = sha512 if signer.algorithm == "EdDSA" else sha256
        hashed = digest(access.encode()).digest()
        sound: dict[str, Any] = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": self.person["sub"],
            "iat": now_s,
            "exp": now_s + 60,
            "nonce": query.get("nonce"),
            "at_hash": _base64url(hashed[: len(hashed) // 2]),
            **dict.fromkeys(("tenant", "roles", "jti"), GONE),
        }
        return signer.token(**{**sound, **self.lies.id_claims})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_GET(self) -> None:
        provider = self.provider
        if self._misled():
            return
        match urlsplit(self.path).path.removeprefix("/moved"):
            case "/.well-known/openid-configuration":
                self._json(200, provider.discovery())
            case "/keys":
                self._send(200, a_jwks(provider.signer.jwk()), kind="application/json")
            case "/authorize":
                fields = parse_qsl(_query(self.path))
                hidden = "".join(
                    f'<input type="hidden" name="{html.escape(n)}" value="{html.escape(v)}">'
                    for n, v in fields
                )
                who = html.escape(str(provider.person["sub"]))
                form = f'<form method="post" action="/authorize">{hidden}<button>I am {who}'
                self._send(200, f"<!doctype html><title>Sign in</title>{form}".encode())
            case "/favicon.ico":  # browsers ask for it
                self._send(200, b"", kind="image/x-icon")
            case _:
                self._send(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(parse_qsl(body, strict_parsing=True))
        if self._misled():
            return
        match urlsplit(self.path).path.removeprefix("/moved"):
            case "/authorize":
                self._send(303, b"", location=self.provider.authorized(form))
            case "/token":
                self._json(*self.provider.redeem(form, self.headers.get("Authorization", "")))
            case _:
                self._send(404, b"")

    def log_message(self, *_: object) -> None:
        pass

    def _misled(self) -> bool:
        lies = self.provider.lies
        self.provider.paths.append(self.path)
        if lies.held is not None:
            lies.held.wait()
        is_asked = lies.moved and not self.path.startswith(("/moved", "/authorize"))
        if is_asked:
            self._send(307, b"", location=f"/moved{self.path}")
        return is_asked

    def _json(self, status: int, answer: Mapping[str, object]) -> None:
        self._send(status, json.dumps(answer).encode(), kind="application/json")

    def _send(
        self, status: int, body: bytes, *, kind: str = "text/html", location: str = ""
    ) -> None:
        self.send_response(self.provider.lies.status or status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked waited long enough
            self.end_headers()
            self.wfile.write(body)


@contextmanager
def serving(
    now: Callable[[], datetime], *, host: str = "127.0.0.1", port: int = 0, **person: Any
) -> Iterator[Provider]:
    """Run a provider for as long as the block lasts; `person` are the claims of who signs in."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    sound = {"sub": "rita", "tenant": "acme", "roles": ["reviewer"]}
    Handler.provider = Provider(
        url=f"http://{host}:{server.server_port}",
        now=now,
        signer=a_signer("ES256", kid="provider"),
        person={**sound, **person},
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Handler.provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _changed(said: dict[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    merged = {**said, **changes}
    return {name: value for name, value in merged.items() if value is not GONE}


def _query(address: str) -> str:
    return urlsplit(address).query


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
