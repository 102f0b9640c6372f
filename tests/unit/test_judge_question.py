"""The input document: its exact shape, and equal bytes for equal questions."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from policies.message import MessageType, Priority
from serve_app.judges.question import policy_input
from serve_app.ports import Question

from builders import a_finding, a_message, a_principal, digest_of


def a_question(**changes: Any) -> Question:
    question = Question(principal=a_principal(), message=a_message(), findings=(), target=None)
    return replace(question, **changes)


def test_the_shape_of_the_input() -> None:
    content = {"action": "email.send", "args": {"to": "b"}, "text": "long"}
    question = Question(
        principal=a_principal(roles=frozenset({"b", "a"}), scopes=frozenset({"messages:send"})),
        message=a_message(
            type=MessageType.QUERY,
            priority=Priority.HIGH,
            content=content,
            metadata={"labels": ["restricted"], "trace": "t"},
        ),
        findings=(a_finding(start=3, end=9),),
        target={"agent": "judge", "roles": ["judicial"], "known": True},
    )
    assert orjson.loads(policy_input(question)) == {
        "principal": {
            "tenant": "acme",
            "agent": "writer",
            "roles": ["a", "b"],
            "scopes": ["messages:send"],
        },
        "message": {
            "tenant": "acme",
            "sender": "writer",
            "recipient": "mailer",
            "type": "query",
            "priority": 2,
            "constitutional_hash": "cdd01ef066bc6cf2",
            "action": "email.send",
            "tool": "email.send",
            "resource": "",
            "args": {"to": "b"},
            "args_digest": digest_of({"to": "b"}),
            "content_digest": digest_of(content),
            "content_size": len(json.dumps(content, separators=(",", ":"))),
            "metadata": {"labels": ["restricted"], "trace": "t"},
        },
        "findings": [{"kind": "pii", "detector": "email", "path": "/text", "start": 3, "end": 9}],
        "target": {"agent": "judge", "roles": ["judicial"], "known": True},
    }


def test_equal_questions_are_equal_bytes_whatever_order_they_were_made_in() -> None:
    one = a_message(content={"action": "a", "args": {"x": 1, "y": {"a": 1, "b": 2}}})
    other = a_message(content={"args": {"y": {"b": 2, "a": 1}, "x": 1}, "action": "a"})
    assert policy_input(a_question(message=one)) == policy_input(a_question(message=other))


def test_any_mapping_is_an_object() -> None:
    content = MappingProxyType({"action": "a", "args": MappingProxyType({"x": 1})})
    message = replace(a_message(), content=content)
    assert orjson.loads(policy_input(a_question(message=message)))["message"]["args"] == {"x": 1}


def test_a_large_integer_is_shown_whole() -> None:
    message = replace(a_message(), content={"action": "pay", "args": {"amount": 10**30}})
    document = policy_input(a_question(message=message))
    assert json.loads(document)["message"]["args"] == {"amount": 10**30}


def test_free_text_is_not_shown() -> None:
    message = a_message(content={"action": "say", "text": "x" * 100_000})
    assert len(policy_input(a_question(message=message))) < 1500


@pytest.mark.parametrize("value", ["\ud800", object(), {1, 2}])
def test_what_is_no_json_is_refused_and_never_shown_as_something_else(value: object) -> None:
    message = replace(a_message(), content={"action": "a", "args": {"x": value}})
    with pytest.raises(ValueError, match="cannot be shown"):
        policy_input(a_question(message=message))
