"""A parcel gives back the message that was put in."""

from datetime import UTC, datetime

import pytest

from policies.message import Message, MessageType, Priority
from policies.parcel import DamagedParcelError, open_parcel, parcel, parcel_decision_id


def _message() -> Message:
    return Message(
        id="m-1",
        conversation_id="c-1",
        session_id=None,
        tenant="acme",
        sender="writer",
        recipient="mailer",
        type=MessageType.COMMAND,
        priority=Priority.CRITICAL,
        constitutional_hash="cdd01ef066bc6cf2",
        content={"action": "email.send", "text": "zażółć \ud800", "args": {"n": 2**70, "f": 0.1}},
        content_digest="sha256:00",
        args_digest="sha256:01",
        content_size=12,
        metadata={"a": [1, None, True]},
        sent_at=datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC),
        expires_at=datetime(2026, 11, 23, 13, tzinfo=UTC),
    )


def test_an_opened_parcel_equals_the_message_that_was_packed() -> None:
    packed = parcel(_message(), "d-1")
    assert open_parcel(packed) == _message()
    assert parcel_decision_id(packed) == "d-1"


@pytest.mark.parametrize("packed", [b"", b"[]", b"{}", b'{"v":1}', b'{"v":2}', b"\xff"])
def test_anything_else_is_refused_as_damaged(packed: bytes) -> None:
    with pytest.raises(DamagedParcelError):
        open_parcel(packed)
    with pytest.raises(DamagedParcelError):
        parcel_decision_id(packed)
