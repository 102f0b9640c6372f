"""What the tests at the front door share: a tenant of one's own, and what a problem looks like."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from running import RunningBus, a_body
from token_builders import Signer

from actors.ledger.entry import open_entry
from actors.ledger.tiles import unbundle
from cluster.clock import SystemClock

SETTLED_WITHIN_S: Final = 30.0
PROBLEM_FIELDS: Final = {"type", "title", "status", "detail", "code", "request_id"}


@dataclass(frozen=True)
class Account:
    """What became of a tenant's requests, as its own auditor and recipient see it."""

    decided: list[str]
    delivered: list[str]
    refused: list[dict[str, Any]]

    @property
    def codes(self) -> list[str]:
        return [refusal["code"] for refusal in self.refused]


@dataclass
class Tenant:
    """A tenant that no other test uses, with `tools` registered."""

    bus: RunningBus
    name: str
    clients: contextlib.ExitStack
    _known: dict[tuple[str, tuple[str, ...]], httpx.Client] = field(default_factory=dict)

    def client(self, agent: str = "planner", *roles: str) -> httpx.Client:
        """A client that is closed after the test."""
        found = self._known.get((agent, roles))
        if found is None:
            found = self.clients.enter_context(self.bus.client(agent, *roles, tenant=self.name))
            self._known[agent, roles] = found
        return found

    def with_token(self, token: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.clients.enter_context(
            httpx.Client(base_url=self.bus.url, headers=headers, timeout=30)
        )

    def send(self, *, agent: str = "planner", **changes: Any) -> httpx.Response:
        return self.client(agent).post("/v1/messages", json=a_body(**changes))

    def receive(self, agent: str = "tools", **params: Any) -> list[dict[str, Any]]:
        answer = self.client(agent).get("/v1/mailbox", params={"max": 100, **params})
        assert answer.status_code == httpx.codes.OK, answer.text
        envelopes: list[dict[str, Any]] = answer.json()["messages"]
        return envelopes

    def account(self) -> Account:
        """What was decided, delivered and refused so far, except for the marker of this look.

        The marker is a message of its own: once it is in the tree and in the mailbox, whatever
        came before it would be there too.
        """
        self._marked()
        entries = [entry for entry in self.entries() if entry.get("kind") != "decision"]
        return Account(
            decided=[one["message_id"] for one in self.decisions() if one["agent"] != "marker"],
            delivered=[one for one in self._drained() if not one.startswith("marker-")],
            refused=[entry["refusal"] for entry in entries if entry["kind"] == "refusal"],
        )

    def decisions(self) -> list[dict[str, Any]]:
        page = self.client("auditor", "auditor").get("/v1/decisions", params={"limit": 500})
        assert page.status_code == httpx.codes.OK, page.text
        found: list[dict[str, Any]] = page.json()["decisions"]
        return found

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the tenant's log, read as any auditor of its tiles reads them."""
        auditor = self.client("auditor", "auditor")
        note = auditor.get(f"/t/{self.name}/checkpoint")
        assert note.status_code == httpx.codes.OK, note.text
        size = int(note.text.split("\n")[1])
        found: list[dict[str, Any]] = []
        for number in range(-(-size // 256)):
            width = min(256, size - number * 256)
            path = f"{number:03}" if width == 256 else f"{number:03}.p/{width}"
            bundle = auditor.get(f"/t/{self.name}/tile/entries/{path}")
            assert bundle.status_code == httpx.codes.OK, bundle.text
            found += [dict(open_entry(each).body) for each in unbundle(bundle.content)]
        return found

    def _marked(self) -> str:
        """Send one more message, wait until the signed tree has it, and return its id."""
        deadline_s = time.monotonic() + SETTLED_WITHIN_S
        while True:
            marker = f"marker-{uuid4().hex}"
            answer = self.send(agent="marker", message_id=marker)
            assert answer.status_code == httpx.codes.OK, answer.text
            if answer.json()["effect"] == "allow":
                break
            assert time.monotonic() < deadline_s, answer.text
        while marker not in [one["message_id"] for one in self.decisions()]:
            assert time.monotonic() < deadline_s, f"{marker} is not in the tree"
            time.sleep(0.02)
        return marker

    def _drained(self) -> Iterator[str]:
        while envelopes := self.receive():
            for envelope in envelopes:
                self.client("tools").post(
                    f"/v1/mailbox/{envelope['lease_id']}:ack"
                ).raise_for_status()
                yield envelope["message"]["message_id"]


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Require a whole problem with this status and code; return it."""
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document.keys() - {"errors"} == PROBLEM_FIELDS
    assert document["code"] == code, document
    assert document["status"] == status
    assert document["type"] == f"urn:acgs:problem:{code}"
    assert [document["request_id"]] == answer.headers.get_list("x-request-id")
    assert document["title"]
    assert document["detail"]
    if status == httpx.codes.UNAUTHORIZED:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="acgs", error="')
    _leaks_nothing(answer.text)
    return document


def _leaks_nothing(text: str) -> None:
    for trace in ("Traceback", 'File "', ".py", "127.0.0.1", "/tmp", ".sock", "redis", "valkey"):
        assert trace not in text, f"{trace!r} in {text[:500]}"


def bus_signer(bus: RunningBus) -> Signer:
    """The bus's own development key: what it signs is believed, so only the claims can be wrong."""
    pem = (bus.settings.data_dir / "keys" / "identity.pem").read_bytes()
    private = load_pem_private_key(pem, password=None)
    assert isinstance(private, Ed25519PrivateKey)
    return Signer(jwt.get_unverified_header(bus.token("planner"))["kid"], "EdDSA", private)


def claims(bus: RunningBus, of: str, /, **changes: object) -> dict[str, object]:
    """Sound claims of `planner` for the next hour, with these changes."""
    now = SystemClock().now()
    return {
        "iss": bus.settings.jwt_issuer,
        "aud": "acgs",
        "sub": "planner",
        "tenant": of,
        "roles": ["agent"],
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "jti": f"token-{uuid4().hex}",
        **changes,
    }
