"""A question as the policy reads it. The one place that knows the shape of `input`.

    {"principal": {"tenant", "agent", "roles": [...], "scopes": [...]},
     "message": {"tenant", "sender", "recipient", "type", "priority": 0 to 3,
                 "constitutional_hash", "action", "tool", "resource", "args": {...}, "args_digest",
                 "content_digest", "content_size", "metadata": {...}},
     "findings": [{"kind", "detector", "path", "start", "end"}],
     "target": {"agent", "roles", "known"} or null}

Roles and scopes are sorted; a recipient or target that is not there is null. A policy never sees
the free text of the content, which grows to a mebibyte: it sees what the scans found in it, and
its digest. It sees nothing that only tells two messages apart, so equal questions are equal bytes.
Nor does it see who answers for an agent: only reviews ask that, and they do not ask the policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from policies.decision import Finding
from policies.message import Message
from policies.principal import Principal
from serve_app.ports import Question

# Facts of the envelope: no rule can tell two messages apart by them, so a verdict may be shared.
UNSEEN: Final[Mapping[str, frozenset[str]]] = {
    "principal": frozenset({"token_id", "expires_at_s", "owner"}),
    "message": frozenset({"id", "conversation_id", "session_id", "sent_at", "expires_at"}),
}


def policy_input(question: Question) -> bytes:
    """Return the input document in JSON, equal for equal questions.

    Raises ValueError for a question that JSON cannot hold.
    """
    document = {
        "principal": _principal(question.principal),
        "message": _message(question.message),
        "findings": _findings(question.findings),
        "target": question.target,
    }
    try:
        return orjson.dumps(document, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _slowly(document)


def _principal(principal: Principal) -> dict[str, object]:
    return {
        "tenant": principal.tenant,
        "agent": principal.agent,
        "roles": sorted(principal.roles),
        "scopes": sorted(principal.scopes),
    }


def _message(message: Message) -> dict[str, object]:
    return {
        "tenant": message.tenant,
        "sender": message.sender,
        "recipient": message.recipient,
        "type": message.type.value,
        "priority": int(message.priority),
        "constitutional_hash": message.constitutional_hash,
        "action": message.action,
        "tool": message.tool,
        "resource": message.resource,
        "args": message.args,
        "args_digest": message.args_digest,
        "content_digest": message.content_digest,
        "content_size": message.content_size,
        "metadata": message.metadata,
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [
        {
            "kind": finding.kind,
            "detector": finding.detector,
            "path": finding.path,
            "start": finding.start,
            "end": finding.end,
        }
        for finding in findings
    ]


def _slowly(document: Mapping[str, object]) -> bytes:
    """Encode what orjson does not: integers of more than 64 bits."""
    try:
        text = json.dumps(
            document,
            allow_nan=False,
            default=_plain,
            ensure_ascii=False,
            separators=(",", ":"),
            sort_keys=True,
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the message cannot be shown to the policy: {error}") from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
