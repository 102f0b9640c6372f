"""One record of the ledger, as bytes: of a decision, a refusal, a review, an authority, a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from actors.ledger.canonical import assembled, canonical, fragment
from actors.ledger.errors import LedgerError
from actors.ledger.tiles import ENTRY_MAX
from policies.decision import Decision, Effect, Finding, Impact, Lane, Obligation, Reason

VERSION: Final = 1
WAL_ID_MAX: Final = 41  # two 64-bit numbers and a hyphen
BODY_MAX: Final = ENTRY_MAX - len(b'{"body":,"wal_id":""}') - WAL_ID_MAX


SEALED: Final = b'{"body":'  # how every sealed entry begins


class Kind(StrEnum):
    """What an entry is about; the value is `kind` in its body."""

    DECISION = "decision"
    REFUSAL = "refusal"
    ERASURE = "erasure"
    KEY_ROTATION = "key_rotation"
    REVIEW = "review"
    REVEAL = "reveal"  # somebody saw, unmasked, what a review holds
    AUTHORITY = "authority"


class EntryError(LedgerError):
    """These bytes are not an entry that this build can read."""

    code = "ledger.entry_malformed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the entry is malformed: {self.detail}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as read: its kind, its write-ahead position, and its body."""

    kind: Kind
    wal_id: str
    body: Mapping[str, Any]


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 UTC with all six digits, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """Return the time that `timestamp` wrote."""
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} is not a UTC time")
    return datetime.fromisoformat(text)


def decision_fields(decision: Decision) -> dict[str, object]:
    """Return every field of the decision as a JSON value."""
    return {
        "decision_id": decision.decision_id,
        "message_id": decision.message_id,
        "conversation_id": decision.conversation_id,
        "session_id": decision.session_id,
        "tenant": decision.tenant,
        "agent": decision.agent,
        "roles": list(decision.roles),
        "recipient": decision.recipient,
        "message_type": decision.message_type,
        "priority": decision.priority,
        "action": decision.action,
        "tool": decision.tool,
        "resource": decision.resource,
        "content_digest": decision.content_digest,
        "args_digest": decision.args_digest,
        "effect": decision.effect.value,
        "lane": decision.lane.value,
        "reasons": [_plain(reason) for reason in decision.reasons],
        "obligations": [_plain(obligation) for obligation in decision.obligations],
        "findings": [_plain(finding) for finding in decision.findings],
        "impact": _plain(decision.impact),
        "constitutional_hash": decision.constitutional_hash,
        "constitution_digest": decision.constitution_digest,
        "policy_revision": decision.policy_revision,
        "engine": decision.engine,
        "decided_at": timestamp(decision.decided_at),
        "expires_at": timestamp(decision.expires_at),
        "delivers": decision.delivers,
        "owner": decision.owner,
        "review_id": decision.review_id,
        "approvers": list(decision.approvers),
    }


def answers(message_id: str, review_id: str | None) -> str:
    """Return what a decision is an answer to: a message, or the review that let it go.

    No message can have the second form as its id.
    """
    return message_id if review_id is None else f"release/{review_id}"


def _plain(part: Reason | Obligation | Finding | Impact) -> dict[str, object]:
    plain = {name: getattr(part, name) for name in _NAMES[type(part)]}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            plain[name] = dict(value)
    return plain


_NAMES: Final = {
    part: tuple(field.name for field in fields(part))
    for part in (Reason, Obligation, Finding, Impact)
}


def decision_from(record: Mapping[str, Any]) -> Decision:
    """Return the decision whose fields these are. Raises EntryError when they are not."""
    try:
        return Decision(
            **{
                **record,
                "roles": tuple(record["roles"]),
                "approvers": tuple(record.get("approvers", ())),
                "effect": Effect(record["effect"]),
                "lane": Lane(record["lane"]),
                "reasons": tuple(Reason(**reason) for reason in record["reasons"]),
                "obligations": tuple(Obligation(**duty) for duty in record["obligations"]),
                "findings": tuple(Finding(**finding) for finding in record["findings"]),
                "impact": _impact(record["impact"]),
                "decided_at": moment(record["decided_at"]),
                "expires_at": moment(record["expires_at"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EntryError(repr(error)) from error


def _impact(record: Mapping[str, Any]) -> Impact:
    # RFC 8785 writes 1.0 as 1.
    factors = {name: float(weight) for name, weight in record["factors"].items()}
    return Impact(**{**record, "score": float(record["score"]), "factors": factors})


def decision_core(record: Mapping[str, object]) -> bytes:
    """Return the canonical form of what `decision_fields` returned."""
    ready = dict(record)
    for name in ("impact", "obligations"):  # these hold floats, and values that policies chose
        ready[name] = fragment(ready[name])
    try:
        return assembled(ready)
    except TypeError:
        return canonical(record)  # which says what is wrong with a string


def decision_body(core: bytes, *, evidence: bytes, identity: str, overflow: bytes = b"") -> bytes:
    """Return the canonical body of a decision entry from parts that are canonical already.

    `core` are the decision's fields, `evidence` and `overflow` are objects or `null`, and
    `identity` is the hex digest of what the sender asked for.
    """
    return (
        b'{"decision":%b,"evidence":%b,"identity":"%b","kind":"decision","overflow":%b,"v":%d}'
        % (
            core,
            evidence,
            identity.encode(),
            overflow or b"null",
            VERSION,
        )
    )


def other_body(kind: Kind, facts: Mapping[str, object]) -> bytes:
    """Return the canonical body of an entry that is not a decision."""
    assert kind is not Kind.DECISION, "decision_body makes those"
    return canonical({**facts, "kind": kind.value, "v": VERSION})


def seal(body: bytes, wal_id: str) -> bytes:
    """Return the entry: the body, and the write-ahead position that makes every entry unique."""
    assert len(body) <= BODY_MAX, "the writer of a body keeps it within BODY_MAX"
    return b'{"body":%b,"wal_id":"%b"}' % (body, wal_id.encode())


def open_entry(data: bytes) -> Entry:
    """Return what a sealed entry says. Raises EntryError."""
    try:
        outer = orjson.loads(data)
        wal_id, body = outer["wal_id"], outer["body"]
        kind, version = Kind(body["kind"]), body["v"]
    except (KeyError, TypeError, ValueError) as error:
        raise EntryError(repr(error)) from error
    if version != VERSION or not isinstance(wal_id, str):
        raise EntryError(f"it is of version {version!r}, not {VERSION}")
    return Entry(kind, wal_id, body)
