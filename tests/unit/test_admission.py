"""What comes in, and with which words the rest is turned away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cluster import constants
from policies import admission
from policies.admission import Limits, admit, check_shape, same_tenant
from policies.errors import RefusalError
from policies.message import Message

from builders import NOW, MessageChanges, a_message, a_principal

LIMITS = Limits()


def refused(message: Message, limits: Limits = LIMITS) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        admit(message, a_principal(), now=NOW, limits=limits)
    return caught.value.code, caught.value.status


def nested(depth: int) -> dict[str, object]:
    root: dict[str, object] = {}
    inner = root
    for _ in range(depth):
        step: dict[str, object] = {}
        inner["a"] = step
        inner = step
    return root


def test_a_sound_message_comes_in() -> None:
    admit(a_message(), a_principal(), now=NOW, limits=LIMITS)


def test_the_hash_enforced_here_is_the_one_of_the_specification() -> None:
    assert admission.CONSTITUTIONAL_HASH == constants.CONSTITUTIONAL_HASH


@pytest.mark.parametrize(
    "given", ["", "cdd01ef066bc6cf", "CDD01EF066BC6CF2", " cdd01ef066bc6cf2", "\ud800", "é"]
)
def test_defect_08_the_constitutional_hash_is_checked_as_it_came(given: str) -> None:
    assert refused(a_message(constitutional_hash=given)) == ("constitution.mismatch", 403)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (MessageChanges(tenant="other"), "auth.tenant_mismatch"),
        (MessageChanges(tenant="none"), "auth.tenant_mismatch"),
        (MessageChanges(tenant=""), "auth.tenant_mismatch"),
        (MessageChanges(sender="mailer"), "auth.sender_mismatch"),
    ],
)
def test_nothing_in_a_message_outranks_the_token(changes: MessageChanges, code: str) -> None:
    assert refused(a_message(**changes)) == (code, 403)


def test_defect_06_a_tenant_called_none_is_a_tenant_like_any_other() -> None:
    message = a_message(tenant="none")
    admit(message, a_principal(tenant="none"), now=NOW, limits=LIMITS)


@pytest.mark.parametrize("given", ["acme", " acme ", "ACME", "\tAcme\n"])
def test_defect_06_tenants_are_compared_trimmed_and_in_lower_case(given: str) -> None:
    assert same_tenant(given, "acme")


@pytest.mark.parametrize("given", ["", "none", "acme2", "ac me"])
def test_another_tenant_is_another_tenant(given: str) -> None:
    assert not same_tenant(given, "acme")


@pytest.mark.parametrize("handle", ["", " ", "a b", "-a", "a" * 129, "a\n", "a/b", "ä", "a\x00"])
def test_an_id_that_a_client_gives_is_short_and_printable(handle: str) -> None:
    assert refused(a_message(id=handle)) == ("message.bad_id", 422)
    assert refused(a_message(conversation_id=handle)) == ("message.bad_id", 422)
    assert refused(a_message(session_id=handle)) == ("message.bad_id", 422)


@pytest.mark.parametrize("handle", ["a", "0198a7c2-4f5e-7abc-8def-0123456789ab", "A.b_c:d-1"])
def test_ids_of_every_usual_kind_come_in(handle: str) -> None:
    message = a_message(id=handle, session_id=handle)
    admit(message, a_principal(), now=NOW, limits=LIMITS)


def test_a_message_that_outlived_itself_is_refused() -> None:
    assert refused(a_message(expires_at=NOW)) == ("message.expired", 400)
    assert refused(a_message(expires_at=NOW - timedelta(days=1))) == ("message.expired", 400)


def test_a_message_may_not_live_for_ever() -> None:
    too_long = NOW + timedelta(seconds=LIMITS.ttl_max_s + 2)
    assert refused(a_message(expires_at=too_long)) == ("message.ttl_out_of_range", 422)
    just_right = NOW + timedelta(seconds=LIMITS.ttl_max_s)
    admit(a_message(expires_at=just_right), a_principal(), now=NOW, limits=LIMITS)


def test_a_message_of_one_mebibyte_comes_in_and_one_byte_more_does_not() -> None:
    admit(a_message(content_size=1 << 20), a_principal(), now=NOW, limits=LIMITS)
    assert refused(a_message(content_size=(1 << 20) + 1)) == ("message.too_large", 413)


def test_what_is_nested_too_deep_is_refused_and_never_a_crash() -> None:
    message = a_message(
        content=nested(10_000), content_digest="sha256:00", args_digest="", content_size=10
    )
    assert refused(message) == ("message.too_deep", 422)


def test_what_has_too_many_parts_is_refused() -> None:
    message = a_message(content={"a": [0] * LIMITS.nodes_max})
    assert refused(message) == ("message.too_complex", 422)


def test_metadata_is_measured_like_content() -> None:
    assert refused(a_message(metadata=nested(100))) == ("message.too_deep", 422)
    with pytest.raises(RefusalError):
        check_shape({"a": [0] * 100}, limits=Limits(nodes_max=50))


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(RefusalError) as caught:
        admit(a_message(constitutional_hash="x"), a_principal(), now=NOW, limits=LIMITS)
    assert "send that constitutional_hash" in str(caught.value)
