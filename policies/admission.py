"""May this message come in at all: its form, its size, its name and its time.

Laws: the constitutional hash is compared as it came on the wire; nothing in a body outranks the
token; whatever is not admitted is refused with its own code, and nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Final

from policies.errors import RefusalError
from policies.message import Message
from policies.principal import Principal
from policies.shape import measure

CONSTITUTIONAL_HASH: Final = "cdd01ef066bc6cf2"  # cluster/constants.py: a test holds them equal
HANDLE: Final = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a message may measure. Bytes, seconds, and counts of JSON values."""

    bytes_max: int = 1 << 20
    depth_max: int = 32
    nodes_max: int = 10_000
    ttl_default_s: int = 3600
    ttl_max_s: int = 7 * 86_400


def admit(message: Message, principal: Principal, *, now: datetime, limits: Limits) -> None:
    """Return if the message may come in; raise RefusalError with what is wrong if not.

    `constitution.mismatch` (403), `auth.tenant_mismatch` and `auth.sender_mismatch` (403),
    `message.bad_id` (422), `message.too_large` (413), `message.expired` (400),
    `message.ttl_out_of_range` (422), and what `check_shape` raises.

    A mismatched constitution is 403 and not 400: the request is well formed and understood, and
    it is refused because of the law it was sent under; the same bytes are right for another bus.
    """
    _require_constitution(message)
    _require_own_name(message, principal)
    _require_handles(message)
    _require_time(message, now=now, limits=limits)
    if message.content_size > limits.bytes_max:
        raise RefusalError(
            "message.too_large",
            f"the message is over {limits.bytes_max} bytes; send a digest of large content",
            413,
        )
    check_shape(message.content, limits=limits)
    check_shape(message.metadata, limits=limits)


def check_shape(value: Mapping[str, object], *, limits: Limits) -> None:
    """Refuse JSON that is `message.too_deep` or `message.too_complex` (422 both)."""
    shape = measure(value, depth_max=limits.depth_max, nodes_max=limits.nodes_max)
    if shape.depth > limits.depth_max:
        raise RefusalError(
            "message.too_deep", f"nested deeper than {limits.depth_max} levels; flatten it", 422
        )
    if shape.nodes > limits.nodes_max:
        raise RefusalError(
            "message.too_complex", f"more than {limits.nodes_max} JSON values; split it", 422
        )


def same_tenant(given: str, tenant: str) -> bool:
    """Say whether a tenant id from a body is the token's, once trimmed and lower-cased."""
    return given.strip().lower() == tenant


def _require_constitution(message: Message) -> None:
    given = message.constitutional_hash.encode(errors="surrogatepass")
    if not compare_digest(given, CONSTITUTIONAL_HASH.encode()):
        raise RefusalError(
            "constitution.mismatch",
            f"this bus enforces the constitution {CONSTITUTIONAL_HASH}; "
            "send that constitutional_hash, or ask a bus that enforces yours",
            403,
        )


def _require_own_name(message: Message, principal: Principal) -> None:
    if message.tenant != principal.tenant:
        raise RefusalError("auth.tenant_mismatch", "the message names another tenant", 403)
    if message.sender != principal.agent:
        raise RefusalError("auth.sender_mismatch", "the message names another sender", 403)


def _require_handles(message: Message) -> None:
    handles = {
        "message_id": message.id,
        "conversation_id": message.conversation_id,
        "session_id": message.session_id,
    }
    for name, handle in handles.items():
        if handle is not None and HANDLE.match(handle) is None:
            raise RefusalError(
                "message.bad_id", f"{name} is 1 to 128 of A-Z a-z 0-9 . _ : - and no other", 422
            )


def _require_time(message: Message, *, now: datetime, limits: Limits) -> None:
    left_s = (message.expires_at - now).total_seconds()
    if left_s <= 0:
        raise RefusalError(
            "message.expired", f"the message expired {-left_s:.1f} s ago; send it anew", 400
        )
    if left_s > limits.ttl_max_s + 1:
        raise RefusalError(
            "message.ttl_out_of_range", f"a message lives at most {limits.ttl_max_s} s", 422
        )
