"""Whatever a policy can see is in the key of its verdict (REFERENCE, defect 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import Finding
from policies.message import Message, MessageType, Priority
from policies.principal import Principal
from serve_app.judges.cache import cache_key
from serve_app.judges.question import UNSEEN, policy_input
from serve_app.ports import Question

from builders import NOW, a_finding, a_message, a_principal

REVISION: Final = "sha256:" + "1" * 64
FINDING: Final = a_finding()
QUESTION: Final = Question(
    principal=a_principal(), message=a_message(), findings=(FINDING,), target=None
)

# Every field of what a question is made of, and another value for it.
PRINCIPAL: Final[Mapping[str, Any]] = {
    "tenant": "other",
    "agent": "other",
    "roles": frozenset({"agent", "executive"}),
    "scopes": frozenset({"messages:send"}),
    "token_id": "token-2",
    "expires_at_s": 1.0,
    "owner": "olga",
}
MESSAGE: Final[Mapping[str, Any]] = {
    "id": "message-2",
    "conversation_id": "conversation-2",
    "session_id": "session-2",
    "tenant": "other",
    "sender": "other",
    "recipient": "*",
    "type": MessageType.QUERY,
    "priority": Priority.CRITICAL,
    "constitutional_hash": "0000000000000000",
    "content": {"action": "email.send", "resource": "inbox/42", "args": {"subject": "other"}},
    "content_digest": "sha256:" + "3" * 64,
    "args_digest": "sha256:" + "4" * 64,
    "content_size": 7,
    "metadata": {"labels": ["restricted"]},
    "sent_at": NOW + timedelta(seconds=1),
    "expires_at": NOW + timedelta(hours=2),
}
FINDINGS: Final[Mapping[str, Any]] = {
    "kind": "secret",
    "detector": "phone",
    "path": "/args/to",
    "start": 1,
    "end": 9,
}
QUESTIONS: Final[Mapping[str, Any]] = {
    "principal": a_principal(agent="other"),
    "message": a_message(tenant="other"),
    "findings": (),
    "target": {"known": True, "agent": "judge", "roles": ["judicial"]},
}


def key_of(question: Question, revision: str = REVISION) -> bytes:
    return cache_key(revision, policy_input(question))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(Principal, PRINCIPAL), (Message, MESSAGE), (Finding, FINDINGS), (Question, QUESTIONS)],
    ids=["principal", "message", "finding", "question"],
)
def test_no_field_is_forgotten_here(kind: Any, changes: Mapping[str, Any]) -> None:
    assert {field.name for field in fields(kind)} == set(changes)


@pytest.mark.parametrize("name", sorted(PRINCIPAL.keys() - UNSEEN["principal"]))
def test_defect_4_any_field_of_the_principal_changes_the_key(name: str) -> None:
    changed = replace(QUESTION.principal, **{name: PRINCIPAL[name]})
    assert key_of(replace(QUESTION, principal=changed)) != key_of(QUESTION)


@pytest.mark.parametrize("name", sorted(MESSAGE.keys() - UNSEEN["message"]))
def test_defect_4_any_field_of_the_message_changes_the_key(name: str) -> None:
    changed = replace(QUESTION.message, **{name: MESSAGE[name]})
    assert key_of(replace(QUESTION, message=changed)) != key_of(QUESTION)


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_defect_4_any_field_of_a_finding_changes_the_key(name: str) -> None:
    changed = replace(FINDING, **{name: FINDINGS[name]})
    assert key_of(replace(QUESTION, findings=(changed,))) != key_of(QUESTION)


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_defect_4_any_part_of_the_question_changes_the_key(name: str) -> None:
    assert key_of(replace(QUESTION, **{name: QUESTIONS[name]})) != key_of(QUESTION)


def test_defect_4_another_revision_changes_the_key() -> None:
    assert key_of(QUESTION, "sha256:" + "2" * 64) != key_of(QUESTION)


@pytest.mark.parametrize(
    ("part", "name"),
    [(part, name) for part, names in UNSEEN.items() for name in sorted(names)],
)
def test_what_only_tells_two_messages_apart_is_not_shown_to_the_policy_at_all(
    part: str, name: str
) -> None:
    # So no verdict can depend on it: equal bytes in, equal verdict out.
    value = {"principal": PRINCIPAL, "message": MESSAGE}[part][name]
    changed = replace(getattr(QUESTION, part), **{name: value})
    assert policy_input(replace(QUESTION, **{part: changed})) == policy_input(QUESTION)


names = st.text('ab"\\,:{}[] \n\0é', max_size=6)
questions = st.builds(
    lambda principal, message, found, target: Question(
        principal=principal, message=message, findings=tuple(found), target=target
    ),
    st.builds(
        lambda agent, roles: a_principal(agent=agent, roles=frozenset(roles)),
        names,
        st.sets(names, max_size=3),
    ),
    st.builds(
        lambda sender, args, labels, priority: a_message(
            sender=sender,
            content={"action": "a", "args": args, "labels": labels},
            priority=priority,
        ),
        names,
        st.dictionaries(names, st.integers(-2, 2) | names | st.lists(names, max_size=2)),
        st.lists(names, max_size=2),
        st.sampled_from(Priority),
    ),
    st.lists(st.builds(a_finding, names, names), max_size=2),
    st.none() | st.builds(lambda agent: {"agent": agent, "roles": [], "known": True}, names),
)


@given(questions, questions)
def test_two_questions_share_a_key_only_if_they_are_equal(one: Question, other: Question) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)
