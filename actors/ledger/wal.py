"""The write-ahead record: what one atomic call leaves in the store, and how it is read back.

A record is a stream entry of the fields `b` (the canonical body), `m` (its MAC) and, for what is
too large for an entry, `e` (evidence) and `o` (overflow), which the body names by digest. The
same call remembers the decision for the replay window, and the promise of its delivery.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from actors.ledger.canonical import digest_of
from actors.ledger.entry import BODY_MAX, EntryError
from actors.ledger.errors import WalRecordError
from actors.ledger.overflow import About, about
from cluster.store import keys
from cluster.store.client import Call, Script

RECORDS_MAX: Final = 1024  # records in one read
HELD_MAX: Final = 20_000  # messages of one tenant that may wait for people
WAITING_MAX: Final = 500_000  # records of one tenant that may wait for the sequencer
READ_BYTES_MAX: Final = 8 << 20  # bytes after which a read stops


def mac(key: bytes, tenant: str, body: bytes) -> bytes:
    """Return the proof that a holder of the key wrote this body for this tenant."""
    return hmac.digest(key, b"acgs wal v1\n%b\n%b" % (tenant.encode(), body), sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One decision on its way into the write-ahead stream.

    `message_id` is what it answers (see entry.answers) and `memory` what a repetition is answered
    from (see remember); `parcel` and `waits_in` the message and the hash where it waits for its
    delivery or its review; `beside` what waits beside it, if there is room below `held_max`;
    `releases` the held decision that this one lets go; `wrapped_key` the subject's key as it must
    still lie in the store.
    """

    tenant: str
    subject: str
    message_id: str
    decision_id: str
    body: bytes
    memory: bytes
    wrapped_key: bytes
    evidence: bytes = b""
    overflow: bytes = b""
    parcel: bytes = b""
    waits_in: str = ""
    beside: bytes = b""
    held_max: int = HELD_MAX
    releases: str = ""


# One slot, one call: look up, append, remember, promise. Replies {0, remembered, record} when the
# message was decided before, {1, id} when it is now, {2} when the subject's key is another,
# {3, reason} when the log takes no more, and {4} when what it would let go is not held any more.
_APPEND: Final = Script("""
local seen = redis.call('GET', KEYS[2])
if seen then
  local id = string.match(seen, '^[^\\n]+')
  return {0, seen, redis.call('XRANGE', KEYS[1], id, id)}
end
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then return {2} end
local halted = redis.call('GET', KEYS[5])
if halted then return {3, halted} end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[10]) then
  return {3, 'the sequencer is too far behind; see why it does not run'}
end
if ARGV[13] ~= '' and redis.call('HLEN', KEYS[6]) >= tonumber(ARGV[14]) then
  return {3, 'too many messages wait for their review; decide on some, or cancel them'}
end
if ARGV[15] ~= '' and redis.call('HDEL', KEYS[7], ARGV[15]) == 0 then return {4} end
local record = {'b', ARGV[3], 'm', ARGV[4]}
if ARGV[5] ~= '' then record[#record + 1] = 'e'; record[#record + 1] = ARGV[5] end
if ARGV[6] ~= '' then record[#record + 1] = 'o'; record[#record + 1] = ARGV[6] end
local id = redis.call('XADD', KEYS[1], '*', unpack(record))
redis.call('SET', KEYS[2], id .. '\\n' .. ARGV[7], 'EX', ARGV[8])
redis.call('SET', KEYS[4], ARGV[9], 'EX', ARGV[8])
if ARGV[11] ~= '' then redis.call('HSET', KEYS[6], ARGV[11], ARGV[12]) end
if ARGV[13] ~= '' then redis.call('HSET', KEYS[6], ARGV[11] .. ':review', ARGV[13]) end
return {1, id}
""")


def append_call(append: Append, *, wal_key: bytes, replay_window_s: int) -> Call:
    """Return the call that records a decision once."""
    tenant = append.tenant
    names = [
        keys.wal(tenant),
        keys.message(tenant, append.message_id),
        keys.subject_keys(tenant),
        keys.decision(tenant, append.decision_id),
        keys.halted(tenant),
        append.waits_in or keys.outbox(tenant),
        keys.held(tenant),
    ]
    args: list[str | bytes | int | float] = [
        append.subject,
        append.wrapped_key,
        append.body,
        mac(wal_key, tenant, append.body),
        append.evidence,
        append.overflow,
        append.memory,
        replay_window_s,
        append.message_id,
        WAITING_MAX,
        append.decision_id if append.waits_in else "",
        append.parcel,
        append.beside,
        append.held_max,
        append.releases,
    ]
    return Call(_APPEND, names, args)


# By decision, or by message when ARGV[1] is empty: what is remembered, and its record if it is
# still in the stream. The message's key has the tenant's hash tag, so it is in this slot.
_LOOK_UP: Final = Script("""
local name = KEYS[2]
if ARGV[1] ~= '' then
  local message = redis.call('GET', KEYS[2])
  if not message then return nil end
  name = ARGV[1] .. message
end
local seen = redis.call('GET', name)
if not seen then return nil end
local id = string.match(seen, '^[^\\n]+')
return {0, seen, redis.call('XRANGE', KEYS[1], id, id)}
""")


def by_message_call(tenant: str, message_id: str) -> Call:
    """Return the call that answers what is remembered of a message: {0, remembered, record}."""
    return Call(_LOOK_UP, [keys.wal(tenant), keys.message(tenant, message_id)], [""])


def by_decision_call(tenant: str, decision_id: str) -> Call:
    """Return the call that answers the same for a decision."""
    names = [keys.wal(tenant), keys.decision(tenant, decision_id)]
    return Call(_LOOK_UP, names, [keys.message(tenant, "")])


# Any other entry: optionally delete a field first, in the same breath. Replies the id, or nil
# when there was nothing to delete.
_NOTE: Final = Script("""
if KEYS[2] and redis.call('HDEL', KEYS[2], ARGV[3]) == 0 then return nil end
return redis.call('XADD', KEYS[1], '*', 'b', ARGV[1], 'm', ARGV[2])
""")


# What comes before something is done must not wait behind a log that has stopped.
_NOTE_BEFORE: Final = Script("""
local halted = redis.call('GET', KEYS[2])
if halted then return {3, halted} end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return {3, 'the sequencer is too far behind; see why it does not run'}
end
return redis.call('XADD', KEYS[1], '*', 'b', ARGV[1], 'm', ARGV[2])
""")


def note_before_call(tenant: str, body: bytes, *, wal_key: bytes) -> Call:
    """Return the call that records an entry of another kind before what it is about is done.

    It replies {3, reason} when the log takes no more, as a decision's does.
    """
    names = [keys.wal(tenant), keys.halted(tenant)]
    return Call(_NOTE_BEFORE, names, [body, mac(wal_key, tenant, body), WAITING_MAX])


def note_call(tenant: str, body: bytes, *, wal_key: bytes, forget: str = "") -> Call:
    """Return the call that records an entry of another kind.

    With `forget`, it also deletes that subject's key, and records nothing if there was none.
    """
    names, args = [keys.wal(tenant)], [body, mac(wal_key, tenant, body)]
    if forget:
        return Call(_NOTE, [*names, keys.subject_keys(tenant)], [*args, forget])
    return Call(_NOTE, names, args)


# A subject's key: the one that is there, or else the one offered.
_SUBJECT_KEY: Final = Script("""
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
""")


def subject_key_call(tenant: str, subject: str, *, offered: bytes) -> Call:
    """Return the call that answers a subject's wrapped key, storing the offered one if needed."""
    return Call(_SUBJECT_KEY, [keys.subject_keys(tenant)], [subject, offered])


# After the checkpoint: remember each decision's leaf for those who repeat it, then trim. What is
# remembered may have expired, or be a later decision on the same id: neither gets this leaf.
_SETTLE: Final = Script("""
for i = 2, #KEYS do
  local id, leaf = string.match(ARGV[i], '^(%S+) (.+)$')
  if redis.call('GETRANGE', KEYS[i], 0, #id) == id .. '\\n' then
    redis.call('APPEND', KEYS[i], '\\n' .. leaf)
  end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1])
""")


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a decision's record went: which message it answers, and its leaf in the tree."""

    message_id: str
    entry_id: str
    leaf_hash: str
    leaf_index: int


def settle_call(tenant: str, last_id: str, settled: Sequence[Settled]) -> Call:
    """Return the call that tells remembered messages their leaf, and trims what is integrated.

    The last integrated record itself stays, so that ids never start again from a lower one.
    """
    names = [keys.message(tenant, each.message_id) for each in settled]
    leaves = [f"{each.entry_id} {each.leaf_hash} {each.leaf_index}" for each in settled]
    return Call(_SETTLE, [keys.wal(tenant), *names], [last_id, *leaves])


# Reads in steps, so that a few large records do not become one enormous reply.
_READ: Final = Script("""
local out, bytes, from = {}, 0, '(' .. ARGV[1]
repeat
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 32)
  for _, entry in ipairs(some) do
    out[#out + 1] = entry
    for _, field in ipairs(entry[2]) do bytes = bytes + #field end
    from = '(' .. entry[1]
  end
until #some < 32 or #out >= tonumber(ARGV[2]) or bytes >= tonumber(ARGV[3])
return out
""")


# What an earlier run integrated and could not settle any more.
_LEFT: Final = Script("return redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', ARGV[2])")


def left_call(tenant: str, last_id: str, *, count: int) -> Call:
    """Return the call that answers the records up to this id, oldest first."""
    return Call(_LEFT, [keys.wal(tenant)], [last_id, count])


def read_call(tenant: str, after: str) -> Call:
    """Return the call that answers the records after this id, oldest first."""
    return Call(_READ, [keys.wal(tenant)], [after, RECORDS_MAX, READ_BYTES_MAX])


@dataclass(frozen=True, slots=True)
class Record:
    """A write-ahead record that one of us wrote, and what it is about.

    `outside` is what was too large for the entry, by the digest that the entry names.
    """

    entry_id: str
    body: bytes
    about: About
    outside: Mapping[str, bytes]


def position(entry_id: str) -> tuple[int, int]:
    """Return a stream id as two numbers, which order as the stream does."""
    millis, _, serial = entry_id.partition("-")
    return int(millis), int(serial or 0)


def checked(reply: object, *, tenant: str, wal_key: bytes) -> Record:
    """Return the record in one stream entry.

    Raises WalRecordError, naming the entry: `wal.malformed`, `wal.mac_invalid`.
    """
    entry_id, fields = entry_fields(reply)
    body, claimed = fields.get(b"b"), fields.get(b"m")
    if body is None or claimed is None or not fields.keys() <= {b"b", b"m", b"e", b"o"}:
        raise WalRecordError("wal.malformed", entry_id, "it lacks its body or its MAC")
    if not hmac.compare_digest(claimed, mac(wal_key, tenant, body)):
        raise WalRecordError(
            "wal.mac_invalid", entry_id, "no holder of the write-ahead key wrote it"
        )
    if len(body) > BODY_MAX:
        raise WalRecordError("wal.malformed", entry_id, f"its body has {len(body)} bytes")
    try:
        facts = orjson.loads(body)
        outside = _outside(entry_id, fields, facts)
        return Record(entry_id, body, about(facts, fields.get(b"o")), outside)
    except (EntryError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WalRecordError("wal.malformed", entry_id, repr(error)) from error


def _outside(
    entry_id: str, fields: Mapping[bytes, bytes], facts: Mapping[str, Any]
) -> Mapping[str, bytes]:
    """Return what lies beside the body, if it is exactly what the body names."""
    wanted = [_digest(facts.get("evidence")), _digest(facts.get("overflow"))]
    found = [fields.get(b"e", b""), fields.get(b"o", b"")]
    if not any(wanted) and not any(found):
        return {}
    if [digest_of(data) if data else "" for data in found] != wanted:
        raise WalRecordError("wal.malformed", entry_id, "its body names other evidence")
    return {digest: data for digest, data in zip(wanted, found, strict=True) if digest}


def _digest(part: object) -> str:
    return part.get("digest", "") if isinstance(part, dict) else ""


def entry_fields(reply: object) -> tuple[str, dict[bytes, bytes]]:
    """Return the id and the fields of a stream entry. Raises WalRecordError for anything else."""
    match reply:
        case [bytes() as entry_id, list() as flat] if len(flat) % 2 == 0:
            pairs = zip(flat[::2], flat[1::2], strict=True)
            return entry_id.decode(), dict(pairs)
        case _:
            raise WalRecordError("wal.malformed", repr(reply)[:64], "it is not a stream entry")
